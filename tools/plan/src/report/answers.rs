//! This module writes the answers that a reader wants first, in a few sentences.

use super::table::Table;
use super::words::{self, amount, money, percent};
use crate::month::Month;
use crate::result::{MonthPlan, Plan, Use, WhenFull};

/// Returns the months that are shown in detail: the first, the one that was asked for, and the
/// last.
pub fn looked_at(plan: &Plan, at: Option<Month>) -> Vec<&MonthPlan> {
    let mut chosen: Vec<&MonthPlan> = Vec::new();
    let asked = plan.months.iter().find(|month| Some(month.month) == at);
    for month in [plan.months.first(), asked, plan.months.last()].into_iter().flatten() {
        if chosen.iter().all(|other| other.month != month.month) {
            chosen.push(month);
        }
    }
    chosen.sort_by_key(|month| month.month);
    chosen
}

pub fn table(plan: &Plan, at: Option<Month>) -> Table {
    let mut table = Table::facts("Answers");
    for month in looked_at(plan, at) {
        table.fact(format!("Needed in {}", month.month), needed(plan, month));
    }
    if let Some(first) = plan.months.first() {
        table.fact(format!("Limits in {}", first.month), limits(plan.nodes, first));
    }
    for (name, when) in [("80% full", &plan.fill.at_80_percent), ("100% full", &plan.fill.at_100_percent)] {
        table.fact(name, full(plan, when));
    }
    table.fact("Drive life", life(plan));
    let loss = words::probability(plan.durability.data_loss_probability_per_year);
    table.fact("Losing any object", format!("{loss}, within a year, by the failure of drives"));
    table.fact("Cost", cost(plan));
    if !plan.notes.is_empty() {
        let notes = words::counted(&plan.notes.len().to_string(), "note");
        table.fact("Mind", format!("{notes} at the end: what was assumed, and what is not modelled"));
    }
    table
}

fn needed(plan: &Plan, month: &MonthPlan) -> String {
    let range = if (month.nodes_p5, month.nodes_p95) == (month.needed.nodes, month.needed.nodes) {
        String::new()
    } else {
        format!(" (5% to 95% of the samples: {} to {} nodes)", month.nodes_p5, month.nodes_p95)
    };
    let all = words::nodes_and_drives(month.needed.nodes, month.needed.drives);
    let one_down =
        words::nodes_and_drives(month.needed_with_one_down.nodes, month.needed_with_one_down.drives);
    let also = match month.needed_with_one_down.binding {
        binding if binding == month.needed.binding => String::new(),
        binding => format!(", where {} binds", binding.title()),
    };
    let first = if plan.months.first() == Some(month) && plan.nodes != month.needed.nodes {
        format!(" The plan has {}.", words::counted(&amount(f64::from(plan.nodes)), "node"))
    } else {
        String::new()
    };
    format!(
        "{all}{range}: {} binds. To go on with one node down: {one_down}{also}.{first}",
        month.needed.binding.title()
    )
}

/// Lists the uses of the limits, the highest first.
fn limits(nodes: u32, month: &MonthPlan) -> String {
    let mut uses: Vec<&Use> = month.uses.iter().collect();
    uses.sort_by(|left, right| right.use_of_limit.total_cmp(&left.use_of_limit));
    let Some((tightest, others)) = uses.split_first() else {
        return "nothing is used".to_owned();
    };
    let headroom = |one: &Use| format!("{} {}", one.constraint.title(), percent(one.headroom()));
    let others: Vec<String> = others.iter().map(|one| headroom(one)).collect();
    let nodes = words::counted(&amount(f64::from(nodes)), "node");
    format!(
        "{} binds: {} of its limit used with {nodes}, {} left. Left of the others: {}",
        tightest.constraint.title(),
        percent(tightest.use_of_limit),
        percent(tightest.headroom()),
        others.join(", ")
    )
}

/// Says when the drives are full, with the interval.
pub fn full(plan: &Plan, when: &WhenFull) -> String {
    let date = |days: f64| date(plan, days);
    let reached = format!("{} of the samples get there within the horizon", percent(when.share_of_samples));
    match (when.days_p5, when.days_p50, when.days_p95) {
        (_, Some(middle), _) if middle <= 0.0 => "from the first day on".to_owned(),
        (early, Some(middle), late) => {
            let early = early.map_or_else(|| "the start".to_owned(), date);
            let late = late.map_or_else(|| format!("beyond the horizon; {reached}"), date);
            format!("{} (90% of the samples: {early} to {late})", date(middle))
        }
        (Some(early), None, _) => {
            format!("not within the horizon in most samples, but 5% are there by {}; {reached}", date(early))
        }
        (None, None, _) => format!("not within the horizon of {}; {reached}", horizon(plan)),
    }
}

fn horizon(plan: &Plan) -> String {
    words::counted(&plan.months.len().to_string(), "month")
}

/// Returns the day that is `days` after the start of the first month.
pub fn date(plan: &Plan, days: f64) -> String {
    words::day(plan.workload.horizon.start, days).unwrap_or_else(|| "beyond the calendar".to_owned())
}

fn life(plan: &Plan) -> String {
    let wanted = words::years(plan.hardware.drives.wanted_life_years);
    match (plan.endurance.life_years, plan.hardware.drives.endurance_bytes) {
        (Some(life), _) => {
            let short = life < plan.hardware.drives.wanted_life_years;
            let verdict = if short { "less than the wanted" } else { "wanted:" };
            let worn = plan.hardware.drives.endurance_used_share > 0.0;
            let left = if worn { " from the start of the plan on" } else { "" };
            format!("{}{left} at the writes of the first month; {verdict} {wanted}", words::years(life))
        }
        (None, Some(_)) => "without end: nothing is written".to_owned(),
        (None, None) => "not known: the hardware file gives no endurance".to_owned(),
    }
}

fn cost(plan: &Plan) -> String {
    let currency = &plan.hardware.cost.currency;
    let cost = &plan.cost;
    let requests = cost
        .per_million_requests
        .map_or(String::new(), |each| format!(", {} per million requests", money(each, currency)));
    let usable = cost.per_usable_tb_month.map_or_else(
        || "objects have no bytes".to_owned(),
        |each| format!("{} per usable TB", money(each, currency)),
    );
    format!("{} a month: {usable}{requests}", money(cost.per_month, currency))
}
