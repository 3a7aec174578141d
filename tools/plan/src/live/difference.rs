//! This module compares a plan with one of its running nodes.
//!
//! Invariant: planned figures are those of one node in the month that is compared: stored amounts
//! on the day (interpolated between the month's start and its end), and rates as means of a day. A
//! note says where the node's figures mean something else.

use super::node::{Difference, DifferenceLine, DriveWear, LiveNode};
use super::operations::{Rates, rates};
use crate::model::demand::{Draw, MonthDemand, demand};
use crate::month::Month;
use crate::result::{Constraint, MonthPlan, Plan};
use ringbolt_tool_common::date;
use ringbolt_tool_common::units::{DAY_S, DAYS_PER_YEAR, MONTH_S};

const HOURS_PER_YEAR: f64 = DAYS_PER_YEAR * 24.0;
/// Rates over a shorter time are not the mean of a day.
const SHORT_S: f64 = 3600.0;
/// If capacities differ by more, the drives are different ones.
const CAPACITY_SHARE: f64 = 0.02;

/// Compares the node with the month of `plan` that contains `now_unix_s`, or the nearest one.
pub fn difference(plan: &Plan, live: &LiveNode, now_unix_s: u64) -> Difference {
    let now = Month::of_unix_s(now_unix_s);
    let mut notes = live.notes.clone();
    let (at, passed_share) = nearest(plan, now, share_of_month(now_unix_s), &mut notes);
    let compared = Compared::new(plan, live, at, passed_share);
    let mut lines = compared.stored();
    lines.extend(compared.requests());
    lines.extend(compared.drives());
    lines.extend(compared.cpu());
    lines.extend(live.wear.iter().filter_map(|wear| compared.wear(wear, &mut notes)));
    compared.remark(&mut notes);
    let month = compared.month.map_or(plan.workload.horizon.start, |month| month.month);
    Difference { live: live.clone(), month, lines, notes }
}

/// Returns the share of its month that has passed.
fn share_of_month(unix_s: u64) -> f64 {
    let day = date::utc(unix_s).day();
    let second = f64::from(day - 1) * DAY_S + (unix_s % DAY_S as u64) as f64;
    (second / MONTH_S).min(1.0)
}

/// Returns the index of the month of `plan` that is compared, and how much of it has passed.
fn nearest(plan: &Plan, now: Month, passed_share: f64, notes: &mut Vec<String>) -> (usize, f64) {
    let (first, last) = (plan.months.first(), plan.months.last());
    if let Some(first) = first.filter(|first| now < first.month) {
        notes.push(format!("{now} is before the plan begins: it is compared with {}", first.month));
        return (0, 0.0);
    }
    if let Some(last) = last.filter(|last| now > last.month) {
        notes.push(format!("{now} is after the end of the plan: it is compared with {}", last.month));
        return (plan.months.len() - 1, 1.0);
    }
    (plan.months.iter().position(|month| month.month == now).unwrap_or_default(), passed_share)
}

struct Compared<'a> {
    plan: &'a Plan,
    live: &'a LiveNode,
    nodes: f64,
    at: usize,
    /// This is the share of the month that has passed.
    passed_share: f64,
    /// This is `None` if the plan has no months.
    month: Option<&'a MonthPlan>,
    demand: MonthDemand,
    first: MonthDemand,
    rates: Option<Rates>,
}

fn line(name: &str, planned: f64, live: Option<f64>) -> DifferenceLine {
    DifferenceLine { name: name.to_owned(), planned, live }
}

impl<'a> Compared<'a> {
    fn new(plan: &'a Plan, live: &'a LiveNode, at: usize, passed_share: f64) -> Self {
        let demands = demand(&plan.workload, &Draw::MEAN);
        Self {
            plan,
            live,
            nodes: f64::from(plan.nodes.max(1)),
            at,
            passed_share,
            month: plan.months.get(at),
            demand: demands.get(at).copied().unwrap_or_default(),
            first: demands.first().copied().unwrap_or_default(),
            rates: rates(live),
        }
    }

    /// Interpolates a level that changes from `start` to `end` within the month.
    fn level(&self, start: f64, end: f64) -> f64 {
        start + (end - start) * self.passed_share
    }

    fn stored(&self) -> Vec<DifferenceLine> {
        let (live, layout) = (self.live, &self.plan.layout);
        let objects = self.level(self.demand.objects_at_start, self.demand.objects_at_end) / self.nodes;
        // A node counts what is live once, without further copies and parity.
        let redundancy = self.plan.hardware.redundancy;
        let by_older_program = || {
            let all = layout.redundant_bytes_per_object;
            all.unwrap_or(layout.stored_bytes_per_object * redundancy.overhead())
                / f64::from(redundancy.copies)
        };
        let stored_bytes_per_object = layout.counted_bytes_per_object.unwrap_or_else(by_older_program);
        let per_object = |bytes: f64| (live.objects > 0.0).then(|| bytes / live.objects);
        vec![
            line("objects", objects, Some(live.objects)),
            line("stored_bytes", objects * stored_bytes_per_object, Some(live.live_bytes)),
            line("stored_bytes_per_object", stored_bytes_per_object, per_object(live.live_bytes)),
            line("index_bytes_per_object", layout.index_bytes_per_object, per_object(live.index_bytes)),
        ]
    }

    fn requests(&self) -> Vec<DifferenceLine> {
        let of = |name: &str, planned: f64, live: fn(&Rates) -> f64| {
            line(name, planned / self.nodes, self.rates.as_ref().map(live))
        };
        vec![
            of("put_per_s", self.demand.put_per_s, |rates| rates.put),
            of("get_per_s", self.demand.get_per_s, |rates| rates.get),
            of("head_per_s", self.demand.head_per_s, |rates| rates.head),
            of("list_per_s", self.demand.list_per_s, |rates| rates.list),
            of("delete_per_s", self.demand.delete_per_s, |rates| rates.delete),
        ]
    }

    fn drives(&self) -> Vec<DifferenceLine> {
        let (plan, live) = (self.plan, self.live);
        let endurance = &plan.endurance;
        let drives = f64::from(plan.hardware.drives.count.max(1));
        // The plan has these rates for the first month; they grow with the puts.
        let grown =
            if self.first.put_per_s > 0.0 { self.demand.put_per_s / self.first.put_per_s } else { 1.0 };
        let fill = |at: usize| plan.fill.months.get(at).map_or(0.0, |fill| fill.fill_p50);
        let can_be_live = usable_once_bytes(plan, live.capacity_bytes);
        vec![
            line("write_amplification", endurance.write_amplification, live.write_amplification()),
            line(
                "host_bytes_per_day_per_drive",
                endurance.host_bytes_per_day_per_drive * grown,
                Some(live.written_bytes_per_s * DAY_S / drives),
            ),
            line(
                "fill_share",
                self.level(fill(self.at), fill(self.at + 1)),
                (can_be_live > 0.0).then(|| live.live_bytes / can_be_live),
            ),
        ]
    }

    /// Compares CPU use. The plan has that of the busiest seconds, as a share of what its limits
    /// allow.
    fn cpu(&self) -> Option<DifferenceLine> {
        let used = self.month?.uses.iter().find(|used| used.constraint == Constraint::Cpu)?;
        let hardware = &self.plan.hardware;
        let peak_cores = used.use_of_limit * hardware.limits.cpu * f64::from(hardware.node.cores);
        let peak = self.plan.workload.day.peak();
        (peak > 0.0 && peak_cores.is_finite())
            .then(|| line("cpu_cores", peak_cores / peak, self.live.cpu_cores))
    }

    /// Compares the share of a drive's endurance that a year uses up.
    fn wear(&self, wear: &DriveWear, notes: &mut Vec<String>) -> Option<DifferenceLine> {
        let drives = &self.plan.hardware.drives;
        let device = &wear.device;
        let Some(years) = self.plan.endurance.life_years else {
            notes.push(format!(
                "the plan knows no end of its drives' life: the wear of {device} is not compared"
            ));
            return None;
        };
        let (used, how) = wear.endurance_used(drives)?;
        let age_years = wear.power_on_hours.filter(|hours| *hours > 0.0).map(|hours| hours / HOURS_PER_YEAR);
        notes.push(format!("the wear of {device} is taken from {how} (by {})", wear.program));
        let name = format!("endurance_share_per_year of {device}");
        Some(line(
            &name,
            (1.0 - drives.endurance_used_share) / years,
            age_years.map(|age_years| used / age_years),
        ))
    }

    /// Notes what limits the comparison.
    fn remark(&self, notes: &mut Vec<String>) {
        let (plan, live) = (self.plan, self.live);
        if live.seconds < SHORT_S {
            notes.push(format!(
                "rates and CPU of the node are of {:.0} s, those of the plan are the mean of a day",
                live.seconds
            ));
        }
        if let Some(age_s) = live.process_age_s.filter(|age_s| *age_s < DAY_S) {
            notes.push(format!(
                "the process is {:.1} h old: its write amplification is of a short time, and the cleaner may not have begun",
                age_s / 3600.0
            ));
        }
        if live.write_amplification().is_none() {
            notes.push(
                "nothing was stored since the node started: it has no write amplification yet".to_owned(),
            );
        }
        if self.rates.is_none() {
            notes.push("the node does not count its requests by operation".to_owned());
        }
        let planned_bytes = plan.node.raw_bytes - plan.node.format_bytes;
        if planned_bytes > 0.0 && (live.capacity_bytes / planned_bytes - 1.0).abs() > CAPACITY_SHARE {
            notes.push(format!(
                "the node's drives have {:.0} bytes, those of the plan {planned_bytes:.0}: fill_share is of its own",
                live.capacity_bytes
            ));
        }
        if self.at > 0 {
            notes.push(
                "write_amplification and host_bytes_per_day_per_drive are planned for the first month; the latter grows here \
                 with the puts"
                    .to_owned(),
            );
        }
    }
}

/// Returns what can be live on drives of `capacity_bytes`, without further copies and parity, if the
/// plan's shares apply to them.
fn usable_once_bytes(plan: &Plan, capacity_bytes: f64) -> f64 {
    let node = &plan.node;
    let copies = f64::from(plan.hardware.redundancy.copies);
    let once = node.usable_once_bytes.unwrap_or(node.usable_bytes / copies);
    let planned = node.raw_bytes - node.format_bytes;
    if planned > 0.0 { capacity_bytes * once / planned } else { 0.0 }
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
