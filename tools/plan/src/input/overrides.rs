//! This module parses `--set` and `--sweep`: values of the command line that replace those in the
//! files.
//!
//! Invariant: the combinations of sweeps are counted before they are generated.

use super::error::InputError;
use std::fmt;
use std::str::FromStr;

/// A plan takes milliseconds to seconds, and nobody reads longer tables.
pub const COMBINATIONS_MAX: usize = 1000;

/// Replaces one value: `drives.count=12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// This is section and name; `objects.sizes.0.share` names an element of a list.
    pub path: String,
    /// This is TOML, or a text without quotes.
    pub value: String,
}

impl fmt::Display for Override {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.path, self.value)
    }
}

impl FromStr for Override {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let (path, value) = halves(text)?;
        Ok(Self { path, value })
    }
}

/// Lists several values of one key: `drives.size=7.68TB,15.36TB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub path: String,
    pub values: Vec<String>,
}

impl FromStr for Sweep {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        let (path, value) = halves(text)?;
        let values = items(&value);
        let wrong = |reason: String| InputError::Override { text: text.to_owned(), reason };
        if values.iter().any(String::is_empty) {
            return Err(wrong("values stand between commas, none of them empty".to_owned()));
        }
        if values.len() > COMBINATIONS_MAX {
            return Err(wrong(format!("{} values: a sweep has at most {COMBINATIONS_MAX}", values.len())));
        }
        match values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)) {
            Some((_, value)) => Err(wrong(format!("{value} is there twice: leave one out"))),
            None => Ok(Self { path, values }),
        }
    }
}

impl Sweep {
    /// Parses a sweep, like [`FromStr`].
    ///
    /// # Errors
    /// Fails when the text is not a key with values.
    pub fn parse(text: &str) -> Result<Self, InputError> {
        text.parse()
    }

    /// Returns all combinations of the values of the sweeps; the last sweep changes fastest.
    /// Without sweeps there is one empty combination.
    ///
    /// # Errors
    /// Fails when there are too many, or when a key is swept twice.
    pub fn combinations(sweeps: &[Self]) -> Result<Vec<Vec<Override>>, InputError> {
        for (at, sweep) in sweeps.iter().enumerate() {
            if sweeps[..at].iter().any(|earlier| earlier.path == sweep.path) {
                let reason = format!("{} is swept twice: put all values into one --sweep", sweep.path);
                return Err(InputError::Sweep(reason));
            }
        }
        let count = sweeps.iter().try_fold(1_usize, |count, sweep| count.checked_mul(sweep.values.len()));
        if count.is_none_or(|count| count > COMBINATIONS_MAX) {
            let factors: Vec<String> = sweeps.iter().map(|sweep| sweep.values.len().to_string()).collect();
            return Err(InputError::Sweep(format!(
                "{} combinations are more than {COMBINATIONS_MAX}: sweep over fewer values",
                factors.join(" × ")
            )));
        }
        let mut combinations = vec![Vec::new()];
        for Self { path, values } in sweeps {
            let longer = |combination: &Vec<Override>| {
                let combination = combination.clone();
                values.iter().map(move |value| {
                    let mut combination = combination.clone();
                    combination.push(Override { path: path.clone(), value: value.clone() });
                    combination
                })
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        Ok(combinations)
    }
}

fn halves(text: &str) -> Result<(String, String), InputError> {
    let wrong = |reason: &str| InputError::Override { text: text.to_owned(), reason: reason.to_owned() };
    let (path, value) =
        text.split_once('=').ok_or_else(|| wrong("write a key and its value, as in drives.count=12"))?;
    let (path, value) = (path.trim(), value.trim());
    if path.is_empty() {
        return Err(wrong("a key is needed before the `=`, as in drives.count=12"));
    }
    if value.is_empty() {
        return Err(wrong("a value is needed behind the `=`, as in drives.count=12"));
    }
    Ok((path.to_owned(), value.to_owned()))
}

/// Splits a text at commas, except in brackets and quotes.
fn items(text: &str) -> Vec<String> {
    let (mut items, mut depth, mut quote) = (vec![String::new()], 0_usize, None);
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(character);
        }
    }
    items.iter().map(|item| item.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sweeps_multiply_the_last_one_fastest() {
        let sweeps =
            ["drives.size=7.68TB,15.36TB", "drives.count=8, 12"].map(|text| Sweep::parse(text).unwrap());
        let shown: Vec<String> = Sweep::combinations(&sweeps)
            .unwrap()
            .iter()
            .map(|combination| combination.iter().map(Override::to_string).collect::<Vec<_>>().join(" "))
            .collect();
        let expected = [
            "drives.size=7.68TB drives.count=8",
            "drives.size=7.68TB drives.count=12",
            "drives.size=15.36TB drives.count=8",
            "drives.size=15.36TB drives.count=12",
        ];
        assert_eq!(shown, expected);
        assert_eq!(Sweep::combinations(&[]), Ok(vec![vec![]]));
    }

    #[test]
    fn commas_within_a_value_do_not_part_it() {
        let sweep =
            Sweep::parse("objects.sizes=[{ size = 1, share = 1 }], [{ size = \"2\", share = 1 }]").unwrap();
        assert_eq!(sweep.values.len(), 2);
        assert_eq!(Sweep::parse("plan.name=\"a,b\",c").unwrap().values, ["\"a,b\"", "c"]);
    }

    #[test]
    fn too_many_combinations_are_refused() {
        let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let sweep = |path: &str| Sweep { path: path.to_owned(), values: many.clone() };
        let refused = Sweep::combinations(&["a", "b", "c"].map(sweep)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "--sweep: 11 × 11 × 11 combinations are more than 1000: sweep over fewer values"
        );
        let endless: Vec<Sweep> = (0..40).map(|at| sweep(&at.to_string())).collect();
        assert!(Sweep::combinations(&endless).is_err());
        assert!(
            Sweep::combinations(&["a", "a"].map(sweep)).unwrap_err().to_string().contains("a is swept twice")
        );
    }

    #[test]
    fn what_is_no_override_says_how_one_is_written() {
        for text in ["", "drives.count", "=12", "drives.count="] {
            assert!(text.parse::<Override>().unwrap_err().to_string().contains("drives.count=12"), "{text}");
        }
        assert!(Sweep::parse("drives.count=1,,2").unwrap_err().to_string().contains("empty"));
        assert!(Sweep::parse("drives.count=1,2,1").unwrap_err().to_string().contains("1 is there twice"));
    }

    proptest! {
        #[test]
        fn overrides_read_back(path in "[a-z_.]{1,20}", value in "[^\\s]([ -~]{0,20}[^\\s])?") {
            let set = Override { path, value };
            prop_assert_eq!(set.to_string().parse::<Override>(), Ok(set));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", sweep in "[a-z.]{0,5}=[\\[\\]{}\"', 0-9]{0,30}") {
            let _ = (text.parse::<Override>(), Sweep::parse(&text), Sweep::parse(&sweep));
        }
    }
}
