//! This module computes what is stored and requested in each month.
//!
//! Invariants: objects are conserved: the number at the end of a month is the number at its
//! beginning, plus new puts, less deletes and expiries; it is never negative. Each object leaves
//! once: one that was deleted does not expire.

use crate::workload::Workload;
use ringbolt_tool_common::units::{DAYS_PER_MONTH, MONTH_S};

/// Holds the values of the uncertainties in one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// This is added to the growth of each month.
    pub growth: f64,
    /// This is a factor of all rates.
    pub rates: f64,
}

impl Draw {
    /// Takes the values as stated.
    pub const MEAN: Self = Self { growth: 0.0, rates: 1.0 };
}

/// Describes one month by the mean of its days.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MonthDemand {
    pub objects_at_start: f64,
    pub objects_at_end: f64,
    pub put_per_s: f64,
    pub get_per_s: f64,
    pub head_per_s: f64,
    pub list_per_s: f64,
    /// Includes the expiries of the retention.
    pub delete_per_s: f64,
    /// This is the share of the puts that replace something that dies in the same month.
    pub dying_share: f64,
}

/// Returns the months of the horizon.
pub fn demand(workload: &Workload, draw: &Draw) -> Vec<MonthDemand> {
    let requests = &workload.requests;
    let mut objects = workload.objects.count as f64;
    let mut ages = Ages::of(workload);
    let mut months = Vec::new();
    for month in 0..workload.horizon.months {
        let growth = (1.0 + workload.growth.requests_share_per_month + draw.growth).max(0.0);
        let factor = draw.rates * growth.powi(month as i32);
        let put_per_s = requests.put_per_s * factor;
        let new = put_per_s * (1.0 - requests.overwrite_share) * MONTH_S;
        let deleted = (requests.delete_per_s * factor * MONTH_S).min(objects + new);
        let expired = ages.expired(month, objects, new, deleted).min(objects + new - deleted);
        let end = match workload.growth.stored_share_per_month {
            Some(stored) => objects * (1.0 + stored + draw.growth).max(0.0),
            None => (objects + new - deleted - expired).max(0.0),
        };
        let puts = put_per_s * MONTH_S;
        let gained = (end - objects).max(0.0);
        months.push(MonthDemand {
            objects_at_start: objects,
            objects_at_end: end,
            put_per_s,
            get_per_s: requests.get_per_s * factor,
            head_per_s: requests.head_per_s * factor,
            list_per_s: requests.list_per_s * factor,
            delete_per_s: (deleted + expired) / MONTH_S,
            dying_share: if puts > 0.0 { (1.0 - gained / puts).clamp(0.0, 1.0) } else { 0.0 },
        });
        objects = end;
    }
    months
}

/// Counts the stored objects by the month in which they arrived. The ages of the initial objects
/// are even; those of a month arrive evenly over it; DELETEs hit all objects alike.
struct Ages {
    /// This is the retention in months; `None` means that nothing expires.
    retention: Option<f64>,
    /// This is the number of initial objects that there would be without DELETEs, and the share of
    /// them that DELETEs left.
    start: (f64, f64),
    arrived: Vec<(f64, f64)>,
}

impl Ages {
    fn of(workload: &Workload) -> Self {
        let retention = workload.retention_days.map(|days| days / DAYS_PER_MONTH);
        Self { retention, start: (workload.objects.count as f64, 1.0), arrived: Vec::new() }
    }

    /// Returns the number of objects whose retention ends in `month`, which begins with `objects`,
    /// and in which `new` arrive and `deleted` are deleted.
    fn expired(&mut self, month: u32, objects: f64, new: f64, deleted: f64) -> f64 {
        let Some(retention) = self.retention else { return 0.0 };
        let (start, end) = (f64::from(month), f64::from(month) + 1.0);
        let expiring = |at: f64| ((at + retention + 1.0).min(end) - (at + retention).max(start)).max(0.0);
        let of_month = |(at, (new, left)): (usize, &(f64, f64))| new * left * expiring(at as f64);
        let of_start = self.start.0 * self.start.1 * (end.min(retention) - start).max(0.0) / retention;
        let old = of_start + self.arrived.iter().enumerate().map(of_month).sum::<f64>();
        // An object that arrives or expires in the month is present for half of it.
        let stay = (objects - old).max(0.0);
        let pass = objects + new - stay;
        let of_stay = if stay + pass > 0.0 { deleted / (stay + pass / 2.0) } else { 0.0 };
        let (of_stay, of_pass) =
            if of_stay <= 1.0 { (of_stay, of_stay / 2.0) } else { (1.0, (deleted - stay) / pass) };
        for (_, left) in self.arrived.iter_mut().chain([&mut self.start]) {
            *left *= 1.0 - of_stay;
        }
        self.arrived.push((new, 1.0 - of_pass));
        (old + new * expiring(start)) * (1.0 - of_pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::workload;

    #[test]
    fn objects_are_conserved() {
        let mut workload = workload();
        workload.objects.count = 1_000_000;
        workload.requests.put_per_s = 10.0;
        workload.requests.overwrite_share = 0.5;
        workload.requests.delete_per_s = 1.0;
        workload.growth.requests_share_per_month = 0.0;
        let months = demand(&workload, &Draw::MEAN);
        let gain = 4.0 * MONTH_S;
        for (at, month) in months.iter().enumerate() {
            assert!((month.objects_at_start - (1e6 + gain * at as f64)).abs() < 1.0, "{month:?}");
            assert!((month.dying_share - 0.6).abs() < 1e-9, "{month:?}");
        }
        workload.requests.delete_per_s = 1e6;
        assert!(demand(&workload, &Draw::MEAN).iter().all(|month| month.objects_at_end == 0.0));
    }

    #[test]
    fn retention_bounds_what_is_stored() {
        let mut workload = workload();
        workload.objects.count = 0;
        workload.requests.put_per_s = 1.0;
        (workload.requests.overwrite_share, workload.requests.delete_per_s) = (0.0, 0.0);
        workload.growth.requests_share_per_month = 0.0;
        workload.retention_days = Some(3.0 * DAYS_PER_MONTH);
        workload.horizon.months = 12;
        let months = demand(&workload, &Draw::MEAN);
        // This is three full months of puts, and half a month on either side of the border.
        for month in &months[4..] {
            assert!((month.objects_at_end / MONTH_S - 3.0).abs() < 1e-6, "{month:?}");
            assert!((month.delete_per_s - 1.0).abs() < 1e-6, "{month:?}");
        }
        workload.objects.count = 3_000_000;
        workload.requests.put_per_s = 0.0;
        let months = demand(&workload, &Draw::MEAN);
        assert!((months[0].objects_at_end - 2e6).abs() < 1.0 && months[2].objects_at_end < 1.0);
    }

    /// With puts p, DELETEs d and a retention r, the number of objects n settles where p = d + p
    /// exp(-d r / n): the part d / n is deleted at each moment.
    #[test]
    fn what_is_deleted_does_not_expire_too() {
        let mut workload = workload();
        (workload.objects.count, workload.horizon.months) = (23_328_000, 60);
        workload.requests.put_per_s = 4.0;
        (workload.requests.overwrite_share, workload.requests.delete_per_s) = (0.0, 1.0);
        workload.growth.requests_share_per_month = 0.0;
        workload.retention_days = Some(90.0);
        let settled = 90.0 * 86_400.0 / (4.0_f64 / 3.0).ln();
        let months = demand(&workload, &Draw::MEAN);
        for month in &months[12..] {
            assert!((month.objects_at_end / settled - 1.0).abs() < 0.01, "{settled}: {month:?}");
            assert!((month.delete_per_s - 4.0).abs() < 0.01, "{month:?}");
        }
        assert!(months.iter().all(|month| month.objects_at_end > 23e6), "{months:?}");
    }

    #[test]
    fn growth_compounds() {
        let mut workload = workload();
        workload.growth.requests_share_per_month = 0.1;
        let months = demand(&workload, &Draw { growth: 0.1, rates: 2.0 });
        let first = workload.requests.get_per_s;
        assert!((months[2].get_per_s - 2.0 * first * 1.2 * 1.2).abs() < 1e-9);
        workload.growth.stored_share_per_month = Some(0.5);
        let months = demand(&workload, &Draw::MEAN);
        assert!((months[1].objects_at_end - workload.objects.count as f64 * 2.25).abs() < 1e-3);
    }
}
