//! What is stored and asked for in each month.
//!
//! Invariant: objects are conserved: what a month begins with, plus what is put anew, less what is deleted or expires,
//! is what it ends with; there are never fewer than none.

use crate::plan::units::{DAYS_PER_MONTH, MONTH_S};
use crate::plan::workload::Workload;

/// What the uncertainties came to in one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Added to the growth of each month.
    pub growth: f64,
    /// Times all rates.
    pub rates: f64,
}

impl Draw {
    /// As stated.
    pub const MEAN: Self = Self { growth: 0.0, rates: 1.0 };
}

/// One month: the mean of its days.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MonthDemand {
    pub objects_at_start: f64,
    pub objects_at_end: f64,
    pub put_per_s: f64,
    pub get_per_s: f64,
    pub head_per_s: f64,
    pub list_per_s: f64,
    /// With those of the retention.
    pub delete_per_s: f64,
    /// Of the puts: those that take the place of something that dies in the same month.
    pub dying_share: f64,
}

/// The months of the horizon.
pub fn demand(workload: &Workload, draw: &Draw) -> Vec<MonthDemand> {
    let requests = &workload.requests;
    let mut objects = workload.objects.count as f64;
    let mut arrived: Vec<f64> = Vec::new();
    let mut months = Vec::with_capacity(workload.horizon.months as usize);
    for month in 0..workload.horizon.months {
        let growth = (1.0 + workload.growth.requests_per_month + draw.growth).max(0.0);
        let factor = draw.rates * growth.powi(month as i32);
        let put_per_s = requests.put_per_s * factor;
        let new = put_per_s * (1.0 - requests.overwrite_share) * MONTH_S;
        arrived.push(new);
        let expired = expired(workload, &arrived, month).min(objects + new);
        let deleted = (requests.delete_per_s * factor * MONTH_S).min(objects + new - expired);
        let end = match workload.growth.stored_per_month {
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

/// Objects that come to the end of their retention in `month`. Those of the start are of all ages alike; those of a
/// month come evenly over it.
fn expired(workload: &Workload, arrived: &[f64], month: u32) -> f64 {
    let Some(days) = workload.retention_days else { return 0.0 };
    let retention = days / DAYS_PER_MONTH;
    let (start, end) = (f64::from(month), f64::from(month) + 1.0);
    let old = workload.objects.count as f64 * (end.min(retention) - start).max(0.0) / retention;
    let of_month = |(at, new): (usize, &f64)| {
        let expiring = at as f64 + retention;
        new * ((expiring + 1.0).min(end) - expiring.max(start)).max(0.0)
    };
    old + arrived.iter().enumerate().map(of_month).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::model::testing::workload;

    #[test]
    fn objects_are_conserved() {
        let mut workload = workload();
        workload.objects.count = 1_000_000;
        workload.requests.put_per_s = 10.0;
        workload.requests.overwrite_share = 0.5;
        workload.requests.delete_per_s = 1.0;
        workload.growth.requests_per_month = 0.0;
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
        workload.growth.requests_per_month = 0.0;
        workload.retention_days = Some(3.0 * DAYS_PER_MONTH);
        workload.horizon.months = 12;
        let months = demand(&workload, &Draw::MEAN);
        // Full months of puts that are there, and the half of a month on either side of the border.
        for month in &months[4..] {
            assert!((month.objects_at_end / MONTH_S - 3.0).abs() < 1e-6, "{month:?}");
            assert!((month.delete_per_s - 1.0).abs() < 1e-6, "{month:?}");
        }
        workload.objects.count = 3_000_000;
        workload.requests.put_per_s = 0.0;
        let months = demand(&workload, &Draw::MEAN);
        assert!((months[0].objects_at_end - 2e6).abs() < 1.0 && months[2].objects_at_end < 1.0);
    }

    #[test]
    fn growth_compounds() {
        let mut workload = workload();
        workload.growth.requests_per_month = 0.1;
        let months = demand(&workload, &Draw { growth: 0.1, rates: 2.0 });
        let first = workload.requests.get_per_s;
        assert!((months[2].get_per_s - 2.0 * first * 1.2 * 1.2).abs() < 1e-9);
        workload.growth.stored_per_month = Some(0.5);
        let months = demand(&workload, &Draw::MEAN);
        assert!((months[1].objects_at_end - workload.objects.count as f64 * 2.25).abs() < 1e-3);
    }
}
