//! This module writes a plan as CSV: one row per month, with units in the names of the columns.
//!
//! Invariant: a figure that is missing or infinite is an empty cell.

use super::words::name;
use crate::result::{Constraint, MonthPlan, Plan};
use csv::Writer;

const COLUMNS: [&str; 15] = [
    "month",
    "objects",
    "logical_bytes",
    "stored_bytes",
    "peak_put_per_s",
    "peak_get_per_s",
    "nodes",
    "drives",
    "binding",
    "nodes_with_one_down",
    "drives_with_one_down",
    "binding_with_one_down",
    "nodes_p5",
    "nodes_p50",
    "nodes_p95",
];
const OF_CONSTRAINT: [&str; 3] = ["use_of_limit", "use_of_limit_with_one_down", "nodes"];
const OF_FILL: [&str; 3] = ["fill_p5", "fill_p50", "fill_p95"];

pub fn csv(plan: &Plan) -> String {
    let mut header: Vec<String> = COLUMNS.map(str::to_owned).to_vec();
    for constraint in Constraint::ALL {
        header.extend(OF_CONSTRAINT.map(|figure| format!("{}_{figure}", name(constraint))));
    }
    header.extend(OF_FILL.map(str::to_owned));
    let rows = plan.months.iter().map(|month| row(plan, month));
    text(std::iter::once(header).chain(rows))
}

fn row(plan: &Plan, month: &MonthPlan) -> Vec<String> {
    let MonthPlan { needed, needed_with_one_down: one_down, .. } = month;
    let mut cells = vec![month.month.to_string()];
    cells.extend(
        [month.objects, month.logical_bytes, month.stored_bytes, month.peak_put_per_s, month.peak_get_per_s]
            .map(number),
    );
    for needed in [needed, one_down] {
        cells.extend([needed.nodes.to_string(), needed.drives.to_string(), name(needed.binding)]);
    }
    cells.extend([month.nodes_p5, month.nodes_p50, month.nodes_p95].map(|nodes| nodes.to_string()));
    for constraint in Constraint::ALL {
        let found = month.uses.iter().find(|one| one.constraint == constraint);
        cells.extend(found.map_or_else(Default::default, |one| {
            [number(one.use_of_limit), number(one.use_of_limit_with_one_down), one.nodes.to_string()]
        }));
    }
    let fill = plan.fill.months.iter().find(|fill| fill.month == month.month);
    cells.extend(
        fill.map_or_else(Default::default, |fill| [fill.fill_p5, fill.fill_p50, fill.fill_p95].map(number)),
    );
    cells
}

/// Writes a number with all digits, so that nothing is lost on the way into a spreadsheet.
pub fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

/// Writes rows as text, with quotes where necessary.
pub fn text(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    for row in rows {
        if let Err(error) = writer.write_record(&row) {
            unreachable!("rows have as many cells as the first, and memory takes them: {error}");
        }
    }
    match writer.into_inner().map(String::from_utf8) {
        Ok(Ok(text)) => text,
        other => unreachable!("what was written is text in memory: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    type Rows = Vec<std::collections::BTreeMap<String, String>>;

    fn parsed(text: &str) -> Rows {
        ::csv::Reader::from_reader(text.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn it_parses_back_to_the_months() {
        for plan in [sample::plan(), sample::with_months(240), sample::idle()] {
            let rows = parsed(&csv(&plan));
            assert_eq!(rows.len(), plan.months.len());
            for (row, month) in rows.iter().zip(&plan.months) {
                assert_eq!(row["month"], month.month.to_string());
                assert_eq!(row["stored_bytes"].parse::<f64>().unwrap(), month.stored_bytes);
                assert_eq!(row["nodes"], month.needed.nodes.to_string());
                assert_eq!(row["drives_with_one_down"], month.needed_with_one_down.drives.to_string());
                assert_eq!(row["binding"], name(month.needed.binding));
                assert_eq!(row["nodes_p95"], month.nodes_p95.to_string());
                assert_eq!(row["cpu_use_of_limit"].parse::<f64>().unwrap(), month.uses[5].use_of_limit);
                assert_eq!(row["ram_nodes"], month.uses[4].nodes.to_string());
            }
            assert_eq!(rows[0]["fill_p95"].parse::<f64>().unwrap(), plan.fill.months[0].fill_p95);
        }
    }

    #[test]
    fn infinity_is_an_empty_cell() {
        let rows = parsed(&csv(&sample::idle()));
        assert_eq!(rows[0]["capacity_use_of_limit_with_one_down"], "");
        assert_eq!(rows[0]["capacity_use_of_limit"], "0");
    }

    #[test]
    fn rows_with_missing_parts_have_all_cells() {
        let mut plan = sample::plan();
        plan.months[3].uses.clear();
        plan.fill.months.clear();
        assert_eq!(parsed(&csv(&plan)).len(), 24);
    }
}
