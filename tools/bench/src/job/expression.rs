//! This module evaluates arithmetic in the place of a number: `(64k + 2) * $ncpus`.
//!
//! Invariants: only whole numbers occur, and each step is checked for overflow. Nesting is bounded,
//! because the parser is recursive.

use super::units::{Machine, number_and_suffix};

const DEPTH_MAX: usize = 32;

/// Returns whether a value is an expression: it begins with a parenthesis or names a property of
/// the machine.
pub fn is_one(text: &str) -> bool {
    text.starts_with('(') || text.contains('$')
}

/// Evaluates an expression. `unit` turns digits and the suffix behind them into a number.
///
/// # Errors
/// Returns the reason when the expression is not valid.
pub fn evaluate(
    text: &str,
    machine: &Machine,
    unit: &dyn Fn(u64, &str) -> Result<u64, String>,
) -> Result<u64, String> {
    let mut parser = Parser { rest: text, machine, unit, depth: 0 };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(format!("{:?} is left over in the expression", parser.rest)),
    }
}

struct Parser<'a> {
    rest: &'a str,
    machine: &'a Machine,
    unit: &'a dyn Fn(u64, &str) -> Result<u64, String>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let found = self.peek().filter(|character| wanted.contains(character))?;
        self.rest = &self.rest[found.len_utf8()..];
        Some(found)
    }

    fn sum(&mut self) -> Result<u64, String> {
        let mut left = self.product()?;
        while let Some(operator) = self.take(&['+', '-']) {
            let right = self.product()?;
            left = match operator {
                '+' => left.checked_add(right).ok_or("the sum is larger than a number of 64 bits")?,
                _ => left.checked_sub(right).ok_or_else(|| format!("{left}-{right} is below zero"))?,
            };
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<u64, String> {
        let mut left = self.power()?;
        while let Some(operator) = self.take(&['*', '/', '%']) {
            let right = self.power()?;
            left = match operator {
                '*' => left.checked_mul(right).ok_or("the product is larger than a number of 64 bits")?,
                '/' => left.checked_div(right).ok_or("division by zero")?,
                _ => left.checked_rem(right).ok_or("division by zero")?,
            };
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<u64, String> {
        let base = self.atom()?;
        if self.take(&['^']).is_none() {
            return Ok(base);
        }
        self.enter()?;
        let exponent = self.power()?;
        self.depth -= 1;
        u32::try_from(exponent)
            .ok()
            .and_then(|exponent| base.checked_pow(exponent))
            .ok_or_else(|| format!("{base}^{exponent} is larger than a number of 64 bits"))
    }

    fn atom(&mut self) -> Result<u64, String> {
        if self.take(&['(']).is_some() {
            self.enter()?;
            let value = self.sum()?;
            self.depth -= 1;
            self.take(&[')']).ok_or("a closing parenthesis is missing")?;
            return Ok(value);
        }
        let end = self.peek().map_or(0, |_| {
            self.rest.find(|character: char| "+-*/%^() \t".contains(character)).unwrap_or(self.rest.len())
        });
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "" => Err("a number is missing in the expression".to_owned()),
            "$pagesize" => Ok(self.machine.page_bytes),
            "$ncpus" => Ok(self.machine.cpus),
            "$mb_memory" => Ok(self.machine.memory_mib),
            _ if word.starts_with('$') => {
                Err(format!("{word} is not known: $pagesize, $ncpus and $mb_memory are, and ${{NAME}}"))
            }
            _ => {
                let (number, suffix) = number_and_suffix(word)?;
                (self.unit)(number, suffix)
            }
        }
    }

    fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("nested more than {DEPTH_MAX} deep"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<u64, String> {
        let machine = Machine { page_bytes: 4096, cpus: 2, memory_mib: 1000 };
        evaluate(text, &machine, &|number, suffix| match suffix {
            "" => Ok(number),
            "k" => Ok(number * 1024),
            _ => Err("no unit".to_owned()),
        })
    }

    #[test]
    fn operators_bind_as_in_school() {
        for (text, wanted) in [
            ("1+2*3", 7),
            ("(1+2)*3", 9),
            ("10-2-3", 5),
            ("2^3^2", 512),
            ("17%5 + 20/3", 8),
            ("( 4k )", 4096),
            ("$ncpus*$pagesize", 8192),
        ] {
            assert_eq!(value(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_has_no_value_says_why() {
        let deep = "(".repeat(10_000);
        for (text, part) in [
            ("1/0", "division by zero"),
            ("1%0", "division by zero"),
            ("1-2", "below zero"),
            ("(1", "closing parenthesis"),
            ("1)", "left over"),
            ("1+", "number is missing"),
            ("2^64", "64 bits"),
            ("2^9999999999", "64 bits"),
            ("$cpus", "is not known"),
            (deep.as_str(), "nested"),
        ] {
            let reason = value(text).expect_err(text);
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }
}
