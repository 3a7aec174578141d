//! Texts of a policy with wildcards and variables, and how a text of a request is compared with them.
//!
//! Invariants:
//! - What a variable stands for is compared byte by byte: a `*` in a user's name or in a header of the
//!   request is no wildcard.
//! - A variable without a value equals nothing, so the whole pattern matches nothing.
//! - Matching uses no recursion and no memory. Between two wildcards `*` it goes on at the next place
//!   where the text behind them occurs, and never goes back beyond the last `*`. Patterns of texts and
//!   `*` take time in proportion to the text; others at most to the product of both lengths.

use super::key::{ConditionKey, Kind};
use memchr::memmem;
use std::borrow::Cow;

/// The most variables that one text of a policy has.
pub const VARIABLES_MAX: usize = 8;

/// The most `?` of one text of a policy. Each place of a request's text may be tried with all of them.
const ONES_MAX: usize = 32;

/// What is special in a text of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Syntax {
    /// `*` and `?` stand for other characters.
    pub wildcards: bool,
    /// `${…}` is a variable: version 2012-10-17 alone has them.
    pub variables: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// `?`: one character.
    One,
    /// `*`: any number of characters, also none.
    Many,
    /// The variable with this number.
    Variable(usize),
}

impl Piece {
    fn is_literal(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Variable(_))
    }
}

/// A variable: `${key}`, or `${key, 'default'}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub key: ConditionKey,
    pub default: Option<Box<str>>,
}

/// The values of the variables of one pattern.
type Resolved<'a> = [Option<Cow<'a, str>>];

/// The forms that most patterns have, and that one comparison decides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    All,
    Whole(Box<str>),
    Start(Box<str>),
    /// Texts and variables, and anything behind them if it is open.
    Literals {
        open: bool,
    },
    Pieces,
}

/// A text of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    form: Form,
    pieces: Box<[Piece]>,
    variables: Box<[Variable]>,
}

impl Pattern {
    /// Compiles a text. The error says what is wrong with it.
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut variables = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let inside = if syntax.variables { rest.strip_prefix("${") } else { None };
            if let Some(inside) = inside {
                let (variable, behind) = inside
                    .split_once('}')
                    .ok_or_else(|| format!("{text:?} has a \"${{\" without its \"}}\""))?;
                match variable {
                    "*" | "?" | "$" => plain.push_str(variable),
                    _ => {
                        flush(&mut plain, &mut pieces);
                        pieces.push(Piece::Variable(variables.len()));
                        variables.push(parse_variable(variable)?);
                    }
                }
                rest = behind;
                continue;
            }
            rest = &rest[character.len_utf8()..];
            match character {
                '*' if syntax.wildcards => {
                    flush(&mut plain, &mut pieces);
                    if pieces.last() != Some(&Piece::Many) {
                        pieces.push(Piece::Many);
                    }
                }
                '?' if syntax.wildcards => {
                    flush(&mut plain, &mut pieces);
                    // `*?` is `?*`, which is found sooner.
                    let many = pieces.pop_if(|piece| *piece == Piece::Many);
                    pieces.push(Piece::One);
                    pieces.extend(many);
                }
                _ => plain.push(character),
            }
        }
        flush(&mut plain, &mut pieces);
        let ones = pieces.iter().filter(|piece| **piece == Piece::One).count();
        if ones > ONES_MAX {
            return Err(format!("{text:?} has {ones} times \"?\"; the limit is {ONES_MAX}: write \"*\""));
        }
        if variables.len() > VARIABLES_MAX {
            return Err(format!("{text:?} has more than {VARIABLES_MAX} variables"));
        }
        let form = match pieces.as_slice() {
            [] => Form::Whole("".into()),
            [Piece::Many] => Form::All,
            [Piece::Text(text)] => Form::Whole(text.clone()),
            [Piece::Text(start), Piece::Many] => Form::Start(start.clone()),
            [literals @ .., Piece::Many] if literals.iter().all(Piece::is_literal) => {
                Form::Literals { open: true }
            }
            literals if literals.iter().all(Piece::is_literal) => Form::Literals { open: false },
            _ => Form::Pieces,
        };
        Ok(Self { form, pieces: pieces.into(), variables: variables.into() })
    }

    /// Returns the variables.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Returns whether the pattern is one text: it has neither wildcards nor variables.
    pub fn is_fixed(&self) -> bool {
        matches!(self.form, Form::Whole(_))
    }

    /// Returns the text, if the pattern is one.
    pub fn fixed(&self) -> Option<&str> {
        match &self.form {
            Form::Whole(text) => Some(text),
            _ => None,
        }
    }

    /// Returns whether the pattern matches `text`. `value` says what a variable's key stands for.
    pub fn matches<'a>(&self, text: &str, value: impl FnMut(&ConditionKey) -> Option<Cow<'a, str>>) -> bool {
        match &self.form {
            Form::All => true,
            Form::Whole(whole) => **whole == *text,
            Form::Start(start) => text.starts_with(&**start),
            Form::Literals { open } => {
                self.behind_literals(text, value).is_some_and(|rest| *open || rest.is_empty())
            }
            // Most patterns that do not match differ at their start.
            Form::Pieces if !self.may_start(text) => false,
            Form::Pieces if self.variables.is_empty() => matches_pieces(&self.pieces, text, &[]),
            Form::Pieces if self.variables.len() == 1 => self.matches_with::<1>(text, value),
            Form::Pieces => self.matches_with::<VARIABLES_MAX>(text, value),
        }
    }

    /// Returns whether the text is the same but for the case of letters. The pattern has no wildcards.
    pub fn equals_ignoring_case<'a>(
        &self,
        text: &str,
        value: impl FnMut(&ConditionKey) -> Option<Cow<'a, str>>,
    ) -> bool {
        let mut values = [const { None }; VARIABLES_MAX];
        if !self.resolve(value, &mut values) {
            return false;
        }
        let own = self.pieces.iter().flat_map(|piece| match piece {
            Piece::Text(text) => text.chars(),
            Piece::Variable(number) => values[*number].as_deref().unwrap_or_default().chars(),
            Piece::One | Piece::Many => "".chars(),
        });
        own.flat_map(char::to_lowercase).eq(text.chars().flat_map(char::to_lowercase))
    }

    /// Returns what stands behind all texts and variables, if the text begins with them. A variable is asked
    /// for only where what stands before it matches.
    fn behind_literals<'a, 't>(
        &self,
        text: &'t str,
        mut value: impl FnMut(&ConditionKey) -> Option<Cow<'a, str>>,
    ) -> Option<&'t str> {
        self.pieces.iter().try_fold(text, |rest, piece| match piece {
            Piece::Text(text) => rest.strip_prefix(&**text),
            Piece::Variable(number) => {
                let Variable { key, default } = &self.variables[*number];
                match value(key) {
                    Some(found) => rest.strip_prefix(&*found),
                    None => rest.strip_prefix(default.as_deref()?),
                }
            }
            Piece::One | Piece::Many => Some(rest),
        })
    }

    /// Matches with room for the values of `N` variables.
    fn matches_with<'a, const N: usize>(
        &self,
        text: &str,
        value: impl FnMut(&ConditionKey) -> Option<Cow<'a, str>>,
    ) -> bool {
        let mut values = [const { None }; N];
        self.resolve(value, &mut values) && matches_pieces(&self.pieces, text, &values)
    }

    fn may_start(&self, text: &str) -> bool {
        match self.pieces.first() {
            Some(Piece::Text(start)) => text.starts_with(&**start),
            _ => true,
        }
    }

    /// Finds the values of all variables. Returns whether each has one.
    fn resolve<'a>(
        &self,
        mut value: impl FnMut(&ConditionKey) -> Option<Cow<'a, str>>,
        values: &mut Resolved<'a>,
    ) -> bool {
        values.iter_mut().zip(&self.variables).all(|(slot, variable)| {
            let default = || variable.default.as_deref().map(|text| Cow::Owned(text.to_owned()));
            *slot = value(&variable.key).or_else(default);
            slot.is_some()
        })
    }

    /// Returns whether there are values of its variables with which the pattern matches `start` itself,
    /// or `start`, a `/` and something behind it.
    pub fn may_match_below(&self, start: &str) -> bool {
        let start = format!("{start}/");
        let start = start.as_bytes();
        let bucket_len = start.len() - 1;
        let columns = start.len() + 1;
        let mut seen = vec![false; (self.pieces.len() + 1) * columns];
        let mut open = vec![(0, 0)];
        while let Some((piece, at)) = open.pop() {
            if at >= start.len() || (piece == self.pieces.len() && at == bucket_len) {
                return true;
            }
            if std::mem::replace(&mut seen[piece * columns + at], true) {
                continue;
            }
            match self.pieces.get(piece) {
                None => {}
                Some(Piece::Text(text)) => {
                    let len = text.len().min(start.len() - at);
                    if text.as_bytes()[..len] == start[at..at + len] {
                        open.push((piece + 1, at + len));
                    }
                }
                Some(Piece::One) => open.push((piece + 1, at + 1)),
                Some(Piece::Many | Piece::Variable(_)) => open.extend([(piece + 1, at), (piece, at + 1)]),
            }
        }
        false
    }
}

fn flush(plain: &mut String, pieces: &mut Vec<Piece>) {
    if !plain.is_empty() {
        pieces.push(Piece::Text(std::mem::take(plain).into()));
    }
}

/// Parses what stands between `${` and `}`.
fn parse_variable(text: &str) -> Result<Variable, String> {
    let (name, default) = match text.split_once(',') {
        None => (text, None),
        Some((name, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            let default = quoted.filter(|inner| !inner.contains('\''));
            let wrong = || format!("the default value of \"${{{text}}}\" does not stand in single quotes");
            (name, Some(default.ok_or_else(wrong)?.into()))
        }
    };
    let name = name.trim();
    let key = ConditionKey::parse(name).ok_or_else(|| format!("the variable \"${{{name}}}\" is unknown"))?;
    if !key.is_answered() {
        return Err(format!("the variable \"${{{name}}}\" never has a value here: remove it"));
    }
    if key.kind() == Kind::Texts {
        return Err(format!("\"{name}\" has several values and can not be a variable"));
    }
    Ok(Variable { key, default })
}

/// Returns the text of a piece, if it stands for one.
fn literal_of<'a>(piece: &'a Piece, values: &'a Resolved<'_>) -> Option<&'a str> {
    match piece {
        Piece::Text(text) => Some(text),
        Piece::Variable(number) => Some(values[*number].as_deref().unwrap_or_default()),
        Piece::One | Piece::Many => None,
    }
}

fn matches_pieces(pieces: &[Piece], text: &str, values: &Resolved<'_>) -> bool {
    let literal = |piece| literal_of(piece, values);
    // Where to go on if what follows does not match: the piece behind the last `*`, and the first
    // place of the text that was not tried for it.
    let mut again: Option<(usize, usize)> = None;
    let (mut piece, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        let step = match pieces.get(piece) {
            None if rest.is_empty() => return true,
            None => None,
            Some(Piece::Many) => {
                again = Some((piece + 1, at));
                None
            }
            Some(Piece::One) => rest.chars().next().map(char::len_utf8),
            Some(other) => literal(other).filter(|expected| rest.starts_with(expected)).map(str::len),
        };
        if let Some(length) = step {
            (piece, at) = (piece + 1, at + length);
            continue;
        }
        let Some((behind, from)) = again else { return false };
        // The next place where the piece behind the `*` matches.
        let found = match pieces.get(behind) {
            None => return true,
            Some(last) if behind + 1 == pieces.len() && literal(last).is_some() => {
                let expected = literal(last).unwrap_or_default();
                return text[from..].ends_with(expected);
            }
            Some(next) => match literal(next) {
                Some(expected) => memmem::find(&text.as_bytes()[from..], expected.as_bytes()),
                None if from < text.len() => Some(0),
                None => None,
            },
        };
        let Some(found) = found else { return false };
        (piece, at) = (behind, from + found);
        // A later place is tried from the next character on; behind the end there is none.
        let width = text[at..].chars().next().map_or(1, char::len_utf8);
        again = if at < text.len() { Some((behind, at + width)) } else { None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIKE: Syntax = Syntax { wildcards: true, variables: true };
    const EQUALS: Syntax = Syntax { wildcards: false, variables: true };
    const OLD: Syntax = Syntax { wildcards: true, variables: false };

    fn parse(text: &str, syntax: Syntax) -> Pattern {
        Pattern::parse(text, syntax).unwrap()
    }

    /// The user is `bob`, and sends a header with a `*`; nothing else has a value.
    fn value(key: &ConditionKey) -> Option<Cow<'static, str>> {
        match key {
            ConditionKey::UserName => Some("bob".into()),
            ConditionKey::Referer => Some("*".into()),
            _ => None,
        }
    }

    fn like(pattern: &str, text: &str) -> bool {
        parse(pattern, LIKE).matches(text, value)
    }

    #[test]
    fn wildcards_stand_for_what_the_reference_says() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("?", "", false),
            ("?", "é", true),
            ("?", "ab", false),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a**b", "ab", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("*aab", "aaab", true),
            ("*a?b*", "aaxb", true),
            ("*a?c", "abcabc", true),
            ("*?a", "a", false),
            ("a*?", "a", false),
            ("a*?", "ab", true),
            ("*é?", "ééa", true),
            ("b/*/x", "b/a/y/x", true),
            ("A", "a", false),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern:?} and {text:?}");
        }
        assert!(!parse("a*", EQUALS).matches("ab", value) && parse("a*", EQUALS).matches("a*", value));
    }

    #[test]
    fn variables_stand_for_values_and_their_stars_for_stars() {
        assert!(
            like("home/${aws:username}/*", "home/bob/x") && !like("home/${aws:username}/*", "home/eve/x")
        );
        assert!(like("${AWS:UserName}", "bob"), "the case of a key does not matter");
        assert!(like("${aws:Referer}", "*") && !like("${aws:Referer}", "anything"), "a value is no pattern");
        assert!(!like("${s3:prefix}", "") && !like("${s3:prefix}*", "a"), "no value: nothing matches");
        assert!(like("${s3:prefix, 'all'}/*", "all/x") && like("${aws:username,'all'}", "bob"));
        assert!(like("a${*}", "a*") && !like("a${*}", "ab") && like("${?}${$}", "?$"));
        assert!(like("$a$", "$a$"), "a sign without a brace is a character");
        let old = parse("${aws:username}", OLD);
        assert!(
            old.matches("${aws:username}", value) && !old.matches("bob", value),
            "2008-10-17 has no variables"
        );
    }

    #[test]
    fn a_variable_that_is_not_understood_is_refused() {
        for text in [
            "${aws:username",
            "${}",
            "${unknown}",
            "${aws:PrincipalTag/team}",
            "${aws:SourceVpc}",
            "${s3:RequestObjectTagKeys}",
            "${aws:username, all}",
            "${aws:username, 'a'b'}",
            &"${aws:username}".repeat(VARIABLES_MAX + 1),
        ] {
            assert!(Pattern::parse(text, LIKE).is_err(), "{text}");
        }
    }

    #[test]
    fn case_is_ignored_for_all_letters() {
        let pattern = parse("STRASSE ${aws:username} É", EQUALS);
        assert!(pattern.equals_ignoring_case("strasse BOB é", value));
        assert!(!pattern.equals_ignoring_case("strasse BOB é ", value));
        assert!(!parse("${s3:prefix}", EQUALS).equals_ignoring_case("", value));
    }

    #[test]
    fn a_resource_is_of_the_bucket_if_something_of_it_could_match() {
        for (pattern, expected) in [
            ("bucket", true),
            ("bucket/*", true),
            ("bucket/a", true),
            ("bucket/", true),
            ("*", true),
            ("b*", true),
            ("*/*", true),
            ("*t/a", true),
            ("buck??", true),
            ("buck??/x", true),
            ("${aws:username}/x", true),
            ("bucket${aws:username}", true),
            ("bucket2", false),
            ("bucke", false),
            ("bucket2/*", false),
            ("?ucket2/*", false),
            ("a*", false),
            ("", false),
        ] {
            assert_eq!(parse(pattern, LIKE).may_match_below("bucket"), expected, "{pattern}");
        }
    }

    /// The definition of a match, by recursion.
    fn matches_slowly(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), None) => matches_slowly(rest, text),
            (Some(('*', rest)), Some((_, behind))) => {
                matches_slowly(rest, text) || matches_slowly(pattern, behind)
            }
            (Some(('?', rest)), Some((_, behind))) => matches_slowly(rest, behind),
            (Some((expected, rest)), Some((found, behind))) if expected == found => {
                matches_slowly(rest, behind)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

        #[test]
        fn matching_is_what_the_definition_says(pattern in "[abé*?]{0,8}", text in "[abé]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(like(&pattern, &text), matches_slowly(&chars(&pattern), &chars(&text)));
        }
    }
}
