//! This module compares measured values with targets, prints the results, and remembers them, so
//! that a program can end with a failure.

use std::process::ExitCode;

/// Says which side of the target is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    AtLeast(Limit),
    AtMost(Limit),
}

/// This is a target in thousandths, so that bounds compare exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(i64);

/// Requires `measured >= limit`.
pub fn at_least(limit: f64) -> Bound {
    Bound::AtLeast(Limit((limit * 1000.0).round() as i64))
}

/// Requires `measured <= limit`.
pub fn at_most(limit: f64) -> Bound {
    Bound::AtMost(Limit((limit * 1000.0).round() as i64))
}

/// Holds the targets judged so far in this run.
#[derive(Debug, Default)]
pub struct Verdicts {
    lines: Vec<(bool, String)>,
}

impl Verdicts {
    /// Prints one line that begins with `PASS` or `FAIL`. A value that is not a number fails.
    pub fn judge(&mut self, name: &str, measured: f64, unit: &str, bound: Bound) {
        let (passed, sign, limit) = match bound {
            Bound::AtLeast(Limit(limit)) => (measured * 1000.0 >= limit as f64, ">=", limit),
            Bound::AtMost(Limit(limit)) => (measured * 1000.0 <= limit as f64, "<=", limit),
        };
        let word = if passed { "PASS" } else { "FAIL" };
        let line =
            format!("{word}  {name}: {measured:.3} {unit} (target {sign} {} {unit})", limit as f64 / 1000.0);
        println!("{line}");
        self.lines.push((passed, line));
    }

    /// Prints all lines again, and returns false if any target was missed.
    pub fn finish(&self) -> bool {
        println!("\nsummary");
        for (_, line) in &self.lines {
            println!("  {line}");
        }
        self.lines.iter().all(|(passed, _)| *passed)
    }
}

/// Returns the status that a measurement ends with: 0 when all passed, 1 when a target was missed, 2 when it
/// could not measure, which is said.
pub fn exit_code(program: &str, outcome: Result<bool, impl std::fmt::Display>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{program}: {error}");
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_nan_fails() {
        let mut verdicts = Verdicts::default();
        verdicts.judge("rate", 0.85, "", at_least(0.85));
        verdicts.judge("cost", 2.0, "", at_most(2.0));
        assert!(verdicts.finish());
        verdicts.judge("nothing measured", f64::NAN, "", at_most(2.0));
        assert!(!verdicts.finish());
    }

    #[test]
    fn a_missed_target_is_remembered() {
        let mut verdicts = Verdicts::default();
        verdicts.judge("rate", 0.84, "", at_least(0.85));
        verdicts.judge("cost", 1.0, "", at_most(2.0));
        assert!(!verdicts.finish());
    }
}
