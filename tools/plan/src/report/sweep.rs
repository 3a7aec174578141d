//! This module shows what-if analyses: one row for each combination of overrides, as table, CSV and
//! JSON.

use super::table::{Align, Column, Table, or_nothing};
use super::words::{self, amount};
use super::{answers, spreadsheet};
use crate::result::{Constraint, Plan, WhenFull};
use serde::Serialize;

const SCHEMA: &str = "ringbolt-plan-sweep";
const VERSION: u32 = 2;

/// Holds one combination and the figures of its plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepRow {
    pub overrides: Vec<SweepValue>,
    pub first: SweepMonth,
    pub last: SweepMonth,
    /// This is the number of nodes that all figures below refer to.
    pub nodes: u32,
    /// This is a calendar day; `None` means not within the horizon.
    pub full_80_percent_date: Option<String>,
    pub full_100_percent_date: Option<String>,
    pub full_100_percent: WhenFull,
    /// This is `None` if the endurance is not known, or if nothing is written.
    pub life_years: Option<f64>,
    pub data_loss_probability_per_year: f64,
    pub currency: String,
    pub cost_per_month: f64,
    pub cost_per_usable_tb_month: Option<f64>,
}

/// Holds a key and its value as they were written after `--set` or `--sweep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweepValue {
    pub path: String,
    pub value: String,
}

/// Holds what suffices in one month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepMonth {
    pub month: String,
    pub nodes: u32,
    pub drives: u32,
    pub binding: Constraint,
    pub nodes_with_one_down: u32,
    pub drives_with_one_down: u32,
}

impl SweepRow {
    /// Returns the row of a plan; `None` for a plan without months.
    pub fn of(overrides: Vec<SweepValue>, plan: &Plan) -> Option<Self> {
        let month = |month: &crate::result::MonthPlan| SweepMonth {
            month: month.month.to_string(),
            nodes: month.needed.nodes,
            drives: month.needed.drives,
            binding: month.needed.binding,
            nodes_with_one_down: month.needed_with_one_down.nodes,
            drives_with_one_down: month.needed_with_one_down.drives,
        };
        let date = |when: &WhenFull| when.days_p50.map(|days| answers::date(plan, days));
        Some(Self {
            overrides,
            first: plan.months.first().map(month)?,
            last: plan.months.last().map(month)?,
            nodes: plan.nodes,
            full_80_percent_date: date(&plan.fill.at_80_percent),
            full_100_percent_date: date(&plan.fill.at_100_percent),
            full_100_percent: plan.fill.at_100_percent,
            life_years: plan.endurance.life_years,
            data_loss_probability_per_year: plan.durability.data_loss_probability_per_year,
            currency: plan.hardware.cost.currency.clone(),
            cost_per_month: plan.cost.per_month,
            cost_per_usable_tb_month: plan.cost.per_usable_tb_month,
        })
    }
}

/// Returns the table for people.
pub fn text(rows: &[SweepRow]) -> String {
    let Some(head) = rows.first() else {
        return "no combinations\n".to_owned();
    };
    let mut table = Table::new("Combinations", &[]);
    let mut column = |title: String, align| table.columns.push(Column { title, align });
    for value in &head.overrides {
        // The section has a line of its own, because paths are long and values short.
        column(value.path.replace('.', ".\n"), Align::Right);
    }
    for month in [&head.first, &head.last] {
        column(format!("{}\nnodes", month.month), Align::Right);
        column("\ndrives".to_owned(), Align::Right);
    }
    column("binding\nat the end".to_owned(), Align::Left);
    column("100%\nfull".to_owned(), Align::Right);
    column("drive\nlife".to_owned(), Align::Right);
    column(format!("{}/usable\nTB-month", head.currency), Align::Right);
    column("loss\na year".to_owned(), Align::Right);
    for row in rows {
        let mut cells: Vec<String> = row.overrides.iter().map(|one| one.value.clone()).collect();
        for month in [&row.first, &row.last] {
            cells.extend([month.nodes, month.drives].map(|number| amount(f64::from(number))));
        }
        cells.push(row.last.binding.title().to_owned());
        cells.push(or_nothing(row.full_100_percent_date.clone()));
        cells.push(or_nothing(row.life_years.map(words::years)));
        cells.push(or_nothing(row.cost_per_usable_tb_month.map(amount)));
        cells.push(amount(row.data_loss_probability_per_year));
        table.rows.push(cells);
    }
    table.notes.push(format!(
        "Nodes and drives that suffice with all up; --json and --csv have those with one down too. {} in place of a \
         day: not full within the horizon, with the nodes of the first month.",
        words::NOTHING
    ));
    table.text().trim_end().to_owned() + "\n"
}

/// Returns the JSON for programs.
pub fn json(rows: &[SweepRow]) -> String {
    #[derive(Serialize)]
    struct File<'a> {
        schema: &'static str,
        version: u32,
        rows: &'a [SweepRow],
    }
    match serde_json::to_string_pretty(&File { schema: SCHEMA, version: VERSION, rows }) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("rows of plain fields are written: {error}"),
    }
}

const COLUMNS: [&str; 20] = [
    "first_month",
    "first_nodes",
    "first_drives",
    "first_binding",
    "first_nodes_with_one_down",
    "first_drives_with_one_down",
    "last_month",
    "last_nodes",
    "last_drives",
    "last_binding",
    "last_nodes_with_one_down",
    "last_drives_with_one_down",
    "nodes",
    "full_80_percent_date",
    "full_100_percent_date",
    "life_years",
    "data_loss_probability_per_year",
    "currency",
    "cost_per_month",
    "cost_per_usable_tb_month",
];

/// Returns the CSV for spreadsheets: a column for each path, then the figures.
pub fn csv(rows: &[SweepRow]) -> String {
    let paths = rows.first().map_or(&[][..], |row| &row.overrides);
    let header = paths.iter().map(|one| one.path.clone()).chain(COLUMNS.map(str::to_owned)).collect();
    spreadsheet::text(std::iter::once(header).chain(rows.iter().map(cells)))
}

fn cells(row: &SweepRow) -> Vec<String> {
    let mut cells: Vec<String> = row.overrides.iter().map(|one| one.value.clone()).collect();
    for month in [&row.first, &row.last] {
        cells.extend([
            month.month.clone(),
            month.nodes.to_string(),
            month.drives.to_string(),
            words::name(month.binding),
            month.nodes_with_one_down.to_string(),
            month.drives_with_one_down.to_string(),
        ]);
    }
    cells.extend([
        row.nodes.to_string(),
        row.full_80_percent_date.clone().unwrap_or_default(),
        row.full_100_percent_date.clone().unwrap_or_default(),
        row.life_years.map_or_else(String::new, spreadsheet::number),
        spreadsheet::number(row.data_loss_probability_per_year),
        row.currency.clone(),
        spreadsheet::number(row.cost_per_month),
        row.cost_per_usable_tb_month.map_or_else(String::new, spreadsheet::number),
    ]);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::report::table::WIDTH;

    fn rows() -> Vec<SweepRow> {
        let value = |path: &str, value: &str| SweepValue { path: path.to_owned(), value: value.to_owned() };
        let row = |size: &str, plan: &Plan| {
            SweepRow::of(vec![value("drives.size", size), value("drives.count", "8, \"9\"")], plan).unwrap()
        };
        vec![row("7.68TB", &sample::plan()), row("15.36TB", &sample::idle())]
    }

    #[test]
    fn text_has_a_row_for_each_combination() {
        let rows = rows();
        let text = text(&rows);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("7.68TB").contains(rows[0].full_100_percent_date.as_deref().unwrap()), "{text}");
        assert!(line("7.68TB").contains("9.6 years") && line("7.68TB").contains("drive IOPS"), "{text}");
        assert!(line("15.36TB").contains(" - "), "{text}");
        assert_eq!(super::text(&[]), "no combinations\n");
    }

    #[test]
    fn csv_and_json_parse_back() {
        let rows = rows();
        let text = csv(&rows);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        assert_eq!(&header[0], "drives.size");
        let records: Vec<::csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!((&records[0][1], records.len()), ("8, \"9\"", 2));
        let at = |name: &str| header.iter().position(|column| column == name).unwrap();
        assert_eq!(records[0][at("last_nodes")], rows[0].last.nodes.to_string());
        assert_eq!(&records[1][at("full_100_percent_date")], "");
        let json: serde_json::Value = serde_json::from_str(&json(&rows)).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["rows"][0]["overrides"][0]["path"], "drives.size");
        assert_eq!(json["rows"][1]["full_100_percent_date"], serde_json::Value::Null);
        assert_eq!(super::csv(&[]).lines().count(), 1);
    }
}
