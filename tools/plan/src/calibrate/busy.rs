//! This module detects whether the machine is busy with other programs, and which figures are then
//! not reliable.
//!
//! Invariant: a figure that is 0 or less is never written as measured.

use crate::constants::Constants;
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The machine is observed for this long before the measurements begin.
const WATCHED: Duration = Duration::from_millis(500);
/// A note says if others use more than this share of a core.
const BUSY_NOTED: f64 = 0.10;

/// Holds the times of a core in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    busy: u64,
    /// This is the time that the host of a virtual machine took.
    stolen: u64,
    all: u64,
}

/// Holds shares of a core's time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Busy {
    pub core: usize,
    pub busy: f64,
    pub stolen: f64,
}

/// Measures what other programs do on `cores` now; the list is empty if the kernel does not report
/// it.
pub fn watch(cores: [usize; 2]) -> Vec<Busy> {
    let before = read();
    // This is not a sleep that hides a race: it is the time over which the ticks are counted, and
    // nobody sends.
    _ = channel::<()>().1.recv_timeout(WATCHED);
    between(&before, &read(), cores)
}

/// Describes busy cores as text; `None` if the machine is idle.
pub fn warning(busy: &[Busy]) -> Option<String> {
    let of_core = |busy: &Busy| {
        let others =
            (busy.busy > BUSY_NOTED).then(|| format!("{:.0}% busy with other programs", busy.busy * 100.0));
        let stolen =
            (busy.stolen > BUSY_NOTED).then(|| format!("{:.0}% taken by the host", busy.stolen * 100.0));
        let words: Vec<String> = others.into_iter().chain(stolen).collect();
        (!words.is_empty()).then(|| format!("CPU {} is {}", busy.core, words.join(" and ")))
    };
    let words: Vec<String> = busy.iter().filter_map(of_core).collect();
    (!words.is_empty()).then(|| {
        format!(
            "{}: requests will look dearer than they are; let nothing else run, or take other CPUs by --server-core \
             and --client-core",
            words.join(", ")
        )
    })
}

/// Describes the cores for the fingerprint of the measurement.
pub fn in_words(busy: &[Busy]) -> String {
    let words = busy.iter().map(|busy| {
        format!("CPU {} {:.0}%, {:.0}% taken by the host", busy.core, busy.busy * 100.0, busy.stolen * 100.0)
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Replaces constants that are 0 or less by those of `shipped`, and returns their names. Nothing
/// can cost 0: the figure that such a cost was subtracted from was disturbed.
pub fn replace_nothing(constants: Constants, shipped: &Constants) -> (Constants, Vec<&'static str>) {
    let is_nothing = |value: f64| !value.is_finite() || value <= 0.0;
    let names = constants.all().into_iter().filter(|(_, constant)| is_nothing(constant.value));
    let names: Vec<&'static str> = names.map(|(name, _)| name).collect();
    if names.is_empty() {
        return (constants, names);
    }
    let as_json = |of: &Constants| serde_json::to_value(of).unwrap_or_default();
    let (mut all, shipped) = (as_json(&constants), as_json(shipped));
    for name in &names {
        all[*name] = shipped[*name].clone();
    }
    match serde_json::from_value(all) {
        Ok(replaced) => (replaced, names),
        Err(error) => unreachable!("what was written as constants is read as such: {error}"),
    }
}

fn read() -> BTreeMap<usize, Ticks> {
    std::fs::read_to_string("/proc/stat").map(|text| parse(&text)).unwrap_or_default()
}

/// Parses `cpu0 user nice system idle iowait irq softirq steal guest guest_nice`, proc(5); the last
/// two are included in the first two.
fn parse(text: &str) -> BTreeMap<usize, Ticks> {
    let of_line = |line: &str| {
        let mut words = line.strip_prefix("cpu")?.split(' ');
        let core = words.next()?.parse().ok()?;
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, idle, waiting, hard, soft, stolen] = *ticks.as_slice() else { return None };
        let busy = user + nice + system + hard + soft;
        Some((core, Ticks { busy, stolen, all: busy + idle + waiting + stolen }))
    };
    text.lines().filter_map(of_line).collect()
}

fn between(before: &BTreeMap<usize, Ticks>, after: &BTreeMap<usize, Ticks>, cores: [usize; 2]) -> Vec<Busy> {
    let of_core = |core: usize| {
        let (before, after) = (before.get(&core)?, after.get(&core)?);
        let all = after.all.checked_sub(before.all).filter(|all| *all > 0)? as f64;
        let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / all;
        Some(Busy { core, busy: share(before.busy, after.busy), stolen: share(before.stolen, after.stolen) })
    };
    cores.into_iter().filter_map(of_core).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::Source;

    #[test]
    fn what_others_do_is_told() {
        let before = parse(
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 10 0 0 100 0 0 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0 0 0\nintr 5\n",
        );
        let after = parse("cpu0 40 5 5 140 10 0 0 10 7 0\ncpu1 1 0 0 199 0 0 0 0 0 0\n");
        assert_eq!(before.len(), 2);
        let busy = between(&before, &after, [0, 1]);
        assert_eq!(busy[0], Busy { core: 0, busy: 0.4, stolen: 0.1 });
        assert_eq!(busy[1], Busy { core: 1, busy: 0.01, stolen: 0.0 });
        let told = warning(&busy).unwrap();
        assert!(
            told.starts_with("CPU 0 is 40% busy with other programs: ") && !told.contains("CPU 1"),
            "{told}"
        );
        let host = Busy { core: 1, busy: 0.2, stolen: 0.3 };
        assert!(warning(&[host]).unwrap().contains("20% busy with other programs and 30% taken by the host"));
        assert_eq!(warning(&busy[1..]), None);
        assert_eq!(between(&before, &after, [0, 7]).len(), 1, "a core that is not there");
        assert!(in_words(&busy).starts_with("CPU 0 40%, 10% taken by the host; CPU 1 1%"));
    }

    /// Regression: such figures were written as 0, measured.
    #[test]
    fn what_came_out_at_nothing_is_not_written_as_measured() {
        let shipped = Constants::shipped();
        let mut found = shipped.clone();
        for (value, constant) in [
            (0.0, &mut found.list_cpu_us_per_key),
            (f64::NAN, &mut found.commit_cpu_us),
            (0.5, &mut found.head_cpu_us),
        ] {
            constant.value = value;
            constant.source = Source::Measured { how: "here".into(), machine: "this one".into(), unix_ms: 1 };
        }
        let (replaced, names) = replace_nothing(found, &shipped);
        assert_eq!(names, ["commit_cpu_us", "list_cpu_us_per_key"]);
        assert_eq!(replaced.commit_cpu_us, shipped.commit_cpu_us);
        assert_eq!(replaced.list_cpu_us_per_key, shipped.list_cpu_us_per_key);
        assert_eq!(replaced.head_cpu_us.value, 0.5);
        let (same, none) = replace_nothing(shipped.clone(), &shipped);
        assert!(same == shipped && none.is_empty());
    }
}
