//! This module chooses the points that fit into the available time.
//!
//! Invariant: what is left out is reported. Depths and blocks at the ends of their range are left
//! out last, because the values in between can be estimated from them.

pub const BLOCKS: [u64; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];
pub const DEPTHS: [u32; 4] = [1, 8, 32, 128];
pub const READ_PERCENTS: [u32; 3] = [100, 70, 0];
pub const LOADS_PERCENT: [u32; 2] = [50, 80];
const SEQUENTIAL_BLOCK: u64 = 1 << 20;
const SEQUENTIAL_DEPTHS: [u32; 2] = [1, 8];
/// A point that is measured for a shorter time says nothing.
const POINT_S_MIN: f64 = 1.0;
const POINT_S_MAX: f64 = 20.0;
/// The time is divided into these shares.
const POINTS_SHARE: f64 = 0.55;
const LOAD_SHARE: f64 = 0.15;
const FLUSH_SHARE: f64 = 0.05;
const SUSTAINED_SHARE: f64 = 0.25;
/// Blocks and depths are left out in this order.
const OPTIONAL: [Optional; 4] =
    [Optional::Block(256 << 10), Optional::Block(16 << 10), Optional::Depth(8), Optional::Block(64 << 10)];

#[derive(Clone, Copy, Debug)]
enum Optional {
    Block(u64),
    Depth(u32),
}

/// This is one point of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub random: bool,
    pub block_bytes: u64,
    pub depth: u32,
    pub read_percent: u32,
}

/// Holds the measurements that fit, with their times in seconds.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub points: Vec<Point>,
    pub point_s: f64,
    /// This is the time of each open-loop run.
    pub load_s: f64,
    /// This is the time of each of the two ways to flush.
    pub flush_s: f64,
    pub sustained_s: f64,
    pub left_out: Vec<String>,
}

impl Schedule {
    /// Schedules the measurements for this many minutes.
    pub fn of(minutes: f64) -> Self {
        let seconds = minutes * 60.0;
        let (mut points, mut left_out) = (all_points(), Vec::new());
        for optional in OPTIONAL {
            if seconds * POINTS_SHARE >= points.len() as f64 * POINT_S_MIN {
                break;
            }
            match optional {
                Optional::Block(bytes) => {
                    points.retain(|point| !point.random || point.block_bytes != bytes);
                    left_out.push(format!("random blocks of {} KiB", bytes >> 10));
                }
                Optional::Depth(depth) => {
                    points.retain(|point| !point.random || point.depth != depth);
                    left_out.push(format!("random at depth {depth}"));
                }
            }
        }
        let point_s = (seconds * POINTS_SHARE / points.len() as f64).clamp(POINT_S_MIN, POINT_S_MAX);
        let loads = (LOADS_PERCENT.len() * 2) as f64;
        Self {
            point_s,
            load_s: (seconds * LOAD_SHARE / loads).max(POINT_S_MIN),
            flush_s: (seconds * FLUSH_SHARE / 2.0).max(POINT_S_MIN),
            sustained_s: seconds * SUSTAINED_SHARE,
            points,
            left_out,
        }
    }

    /// Returns the time of all measurements in seconds.
    pub fn seconds(&self) -> f64 {
        let loads = (LOADS_PERCENT.len() * 2) as f64;
        self.points.len() as f64 * self.point_s + loads * self.load_s + 2.0 * self.flush_s + self.sustained_s
    }
}

fn all_points() -> Vec<Point> {
    let mut points = Vec::new();
    for read_percent in READ_PERCENTS {
        for block_bytes in BLOCKS {
            let point = |depth| Point { random: true, block_bytes, depth, read_percent };
            points.extend(DEPTHS.map(point));
        }
    }
    for read_percent in [100, 0] {
        let point = |depth| Point { random: false, block_bytes: SEQUENTIAL_BLOCK, depth, read_percent };
        points.extend(SEQUENTIAL_DEPTHS.map(point));
    }
    points
}

/// Returns whether a rate has settled: the last three windows are within 5% of their mean.
pub fn has_settled(windows: &[f64]) -> bool {
    let Some(last) = windows.len().checked_sub(3).map(|from| &windows[from..]) else { return false };
    let mean = last.iter().sum::<f64>() / 3.0;
    last.iter().all(|rate| (rate - mean).abs() <= 0.05 * mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_keeps_to_its_time_and_says_what_it_left_out() {
        let long = Schedule::of(10.0);
        assert_eq!((long.points.len(), long.left_out.len()), (64, 0));
        let short = Schedule::of(1.0);
        assert!(!short.left_out.is_empty() && short.points.len() < 40, "{short:?}");
        assert!(short.points.iter().any(|point| point.block_bytes == 4096 && point.depth == 128));
        assert!(short.points.iter().any(|point| !point.random));
        for minutes in [1.0, 2.0, 5.0, 10.0, 60.0] {
            let schedule = Schedule::of(minutes);
            assert!(schedule.seconds() <= minutes * 60.0 + 1.0, "{minutes}: {} s", schedule.seconds());
            assert!(schedule.point_s >= POINT_S_MIN);
        }
    }

    #[test]
    fn a_rate_has_settled_when_its_last_windows_agree() {
        assert!(!has_settled(&[1.0, 1.0]));
        assert!(has_settled(&[9.0, 5.0, 1.0, 1.01, 0.99]));
        assert!(!has_settled(&[1.0, 1.0, 1.0, 0.8]));
    }
}
