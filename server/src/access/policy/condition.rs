//! The conditions of a statement: the operators, their values, and whether they hold.
//!
//! A condition holds by AWS's rules ("Condition operators", "Multivalued context keys"):
//!
//! | the request has | plain operator | `…IfExists` | `ForAnyValue:` | `ForAllValues:` |
//! |---|---|---|---|---|
//! | no value | only a negated one holds | holds | does not hold | holds |
//! | one value | it matches | it matches | it matches | it matches |
//! | several | an Allow: all match; a Deny: one does | the same | one matches | all match |
//!
//! A value matches a negated operator if it equals none of the policy's values, and any other operator
//! if it equals one of them. Both a prefix and `IfExists`: no value holds.
//!
//! So a Deny by `NotIpAddress` denies a request whose address is not known. AWS leaves open what a
//! plain operator makes of several values; the rule here is the one that never allows more.

use super::date::parse_date;
use super::key::{ConditionKey, Kind};
use super::pattern::{Pattern, Syntax, Variable};
use super::{Context, Effect, Values};
use crate::access::principal::Principal;
use crate::network::{Network, parse_address};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;
use std::cmp::Ordering;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds(self, found: Ordering) -> bool {
        match self {
            Self::Equal => found.is_eq(),
            Self::Less => found.is_lt(),
            Self::LessOrEqual => found.is_le(),
            Self::Greater => found.is_gt(),
            Self::GreaterOrEqual => found.is_ge(),
        }
    }
}

/// The operators of the reference, with what each tests and whether it is negated.
const OPERATORS: [(&str, Test, bool); 27] = [
    ("StringEquals", Test::Equals, false),
    ("StringNotEquals", Test::Equals, true),
    ("StringEqualsIgnoreCase", Test::EqualsIgnoreCase, false),
    ("StringNotEqualsIgnoreCase", Test::EqualsIgnoreCase, true),
    ("StringLike", Test::Like, false),
    ("StringNotLike", Test::Like, true),
    ("NumericEquals", Test::Number(Order::Equal), false),
    ("NumericNotEquals", Test::Number(Order::Equal), true),
    ("NumericLessThan", Test::Number(Order::Less), false),
    ("NumericLessThanEquals", Test::Number(Order::LessOrEqual), false),
    ("NumericGreaterThan", Test::Number(Order::Greater), false),
    ("NumericGreaterThanEquals", Test::Number(Order::GreaterOrEqual), false),
    ("DateEquals", Test::Date(Order::Equal), false),
    ("DateNotEquals", Test::Date(Order::Equal), true),
    ("DateLessThan", Test::Date(Order::Less), false),
    ("DateLessThanEquals", Test::Date(Order::LessOrEqual), false),
    ("DateGreaterThan", Test::Date(Order::Greater), false),
    ("DateGreaterThanEquals", Test::Date(Order::GreaterOrEqual), false),
    ("Bool", Test::Bool, false),
    ("BinaryEquals", Test::Binary, false),
    ("IpAddress", Test::Address, false),
    ("NotIpAddress", Test::Address, true),
    ("ArnEquals", Test::Arn, false),
    ("ArnLike", Test::Arn, false),
    ("ArnNotEquals", Test::Arn, true),
    ("ArnNotLike", Test::Arn, true),
    ("Null", Test::Null, false),
];

/// How an operator takes several values of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Plain,
    Any,
    All,
}

/// An operator with its prefix and its suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    test: Test,
    negated: bool,
    set: Set,
    if_exists: bool,
}

impl Operator {
    /// Parses an operator. The error says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, String> {
        let (set, rest) = match name.split_once(':') {
            None => (Set::Plain, name),
            Some(("ForAnyValue", rest)) => (Set::Any, rest),
            Some(("ForAllValues", rest)) => (Set::All, rest),
            Some((other, _)) => return Err(format!("{other:?} is neither ForAnyValue nor ForAllValues")),
        };
        let (rest, if_exists) = match rest.strip_suffix("IfExists") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let found = OPERATORS.iter().find(|(name, ..)| *name == rest);
        let (_, test, negated) = *found.ok_or_else(|| format!("the operator {name:?} is unknown"))?;
        if test == Test::Null && (if_exists || set != Set::Plain) {
            return Err(format!("{name:?} says nothing: write Null"));
        }
        Ok(Self { test, negated, set, if_exists })
    }

    /// Returns whether the operator can ever hold for values of this kind.
    fn fits(self, kind: Kind) -> bool {
        match self.test {
            Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Null => true,
            Test::Number(_) => matches!(kind, Kind::Number | Kind::Seconds),
            Test::Date(_) => matches!(kind, Kind::Date | Kind::Seconds),
            Test::Bool => kind == Kind::Bool,
            Test::Binary => matches!(kind, Kind::Text | Kind::Texts),
            Test::Address => kind == Kind::Address,
            Test::Arn => kind == Kind::Arn,
        }
    }
}

/// The values of a condition, compiled.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Texts(Box<[Pattern]>),
    Numbers(Box<[f64]>),
    Moments(Box<[i64]>),
    Bools(Box<[bool]>),
    Bytes(Box<[Vec<u8>]>),
    Networks(Box<[Network]>),
    Arns(Box<[ArnPattern]>),
}

/// An ARN with wildcards: each of its six components is compared by itself.
#[derive(Clone, Debug, PartialEq)]
enum ArnPattern {
    All,
    Components(Box<[Pattern; 6]>),
}

/// Splits an ARN at its first five colons, but not within variables. None: it has fewer.
pub fn components(text: &str) -> Option<[&str; 6]> {
    let mut found = [""; 6];
    let (mut number, mut start, mut depth) = (0, 0, 0_usize);
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && number < 5 => {
                found[number] = &text[start..at];
                (number, start) = (number + 1, at + 1);
            }
            _ => {}
        }
    }
    found[number] = &text[start..];
    (number == 5).then_some(found)
}

impl ArnPattern {
    fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let wrong =
            || format!("{text:?} is no ARN of six components; a String operator compares other texts");
        let parts = components(text).filter(|parts| parts[0] == "arn").ok_or_else(wrong)?;
        let parts = parts.map(|part| Pattern::parse(part, syntax));
        let [a, b, c, d, e, f] = parts;
        Ok(Self::Components(Box::new([a?, b?, c?, d?, e?, f?])))
    }

    fn patterns(&self) -> &[Pattern] {
        match self {
            Self::All => &[],
            Self::Components(components) => components.as_slice(),
        }
    }

    fn matches<'a>(&self, arn: &str, value: &dyn Fn(&ConditionKey) -> Option<Cow<'a, str>>) -> bool {
        match self {
            Self::All => true,
            Self::Components(patterns) => {
                // The last component may have colons of its own.
                let mut found = arn.splitn(6, ':');
                patterns.iter().all(|pattern| found.next().is_some_and(|part| pattern.matches(part, value)))
            }
        }
    }
}

/// One key under one operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    operator: Operator,
    key: ConditionKey,
    wanted: Wanted,
}

/// Returns the values of a key, as the principal or the request has them.
pub fn values_of<'a>(key: &ConditionKey, principal: &'a Principal, context: &'a dyn Context) -> Values<'a> {
    let values = match key.of_principal(principal) {
        Some(Some(value)) => Values::One(value),
        Some(None) => Values::Absent,
        None if key.is_answered() => context.values(key),
        None => Values::Absent,
    };
    match values {
        Values::Many(list) if list.is_empty() => Values::Absent,
        values => values,
    }
}

/// Returns the value of a variable: a key that has exactly one.
pub fn value_of<'a>(
    key: &ConditionKey,
    principal: &'a Principal,
    context: &'a dyn Context,
) -> Option<Cow<'a, str>> {
    if let Some(value) = key.of_principal(principal) {
        return value;
    }
    match context.values(key) {
        Values::One(value) if key.is_answered() => Some(value),
        _ => None,
    }
}

impl Condition {
    /// Compiles the values of a key. The error says what is wrong.
    pub fn parse(
        operator: Operator,
        name: &str,
        key: ConditionKey,
        values: &[Cow<'_, str>],
        variables: bool,
    ) -> Result<Self, String> {
        if !operator.fits(key.kind()) {
            return Err(format!("the operator never holds for {name:?}: use one for values of its kind"));
        }
        if key.kind() == Kind::Texts && operator.set == Set::Plain && operator.test != Test::Null {
            return Err(format!(
                "{name:?} has several values: write ForAnyValue: or ForAllValues: before the operator"
            ));
        }
        let wanted = match operator.test {
            Test::Equals | Test::EqualsIgnoreCase => {
                let syntax = Syntax { wildcards: false, variables };
                Wanted::Texts(each(values, |text| Pattern::parse(text, syntax))?)
            }
            Test::Like => {
                let syntax = Syntax { wildcards: true, variables };
                Wanted::Texts(each(values, |text| Pattern::parse(text, syntax))?)
            }
            Test::Arn => {
                let syntax = Syntax { wildcards: true, variables };
                Wanted::Arns(each(values, |text| ArnPattern::parse(text, syntax))?)
            }
            Test::Number(_) => Wanted::Numbers(each(values, |text| {
                parse_number(text).ok_or_else(|| format!("{text:?} is no number"))
            })?),
            Test::Date(_) => Wanted::Moments(each(values, |text| {
                parse_date(text)
                    .ok_or_else(|| format!("{text:?} is neither a date of ISO 8601 nor seconds since 1970"))
            })?),
            Test::Bool | Test::Null => Wanted::Bools(each(values, |text| {
                parse_bool(text).ok_or_else(|| format!("{text:?} is neither true nor false"))
            })?),
            Test::Binary => Wanted::Bytes(each(values, |text| {
                BASE64_STANDARD.decode(text).map_err(|_| format!("{text:?} is no base64"))
            })?),
            Test::Address => Wanted::Networks(each(values, |text| {
                Network::parse(text)
                    .ok_or_else(|| format!("{text:?} is neither an address nor a range of them (CIDR)"))
            })?),
        };
        Ok(Self { operator, key, wanted })
    }

    /// Returns whether the condition holds for a statement with this effect.
    pub fn holds(&self, effect: Effect, principal: &Principal, context: &dyn Context) -> bool {
        if let Some(found) = self.matches_typed(context) {
            return found != self.operator.negated;
        }
        let values = values_of(&self.key, principal, context);
        let Operator { test, negated, set, if_exists } = self.operator;
        if test == Test::Null {
            let absent = values == Values::Absent;
            return matches!(&self.wanted, Wanted::Bools(wanted) if wanted.contains(&absent));
        }
        let variable = |key: &ConditionKey| value_of(key, principal, context);
        let one = |value: &str| self.matches(value, &variable) != negated;
        match &values {
            _ if set != Set::Plain && is_empty(&values) => if_exists || set == Set::All,
            Values::Absent => if_exists || negated,
            Values::One(value) => one(value),
            Values::Many(list) => match (set, effect) {
                (Set::All, _) | (Set::Plain, Effect::Allow) => list.iter().all(|value| one(value)),
                (Set::Any, _) | (Set::Plain, Effect::Deny) => list.iter().any(|value| one(value)),
            },
        }
    }

    /// Returns whether the value that the request has with its type matches, if it has one.
    fn matches_typed(&self, context: &dyn Context) -> Option<bool> {
        match (&self.wanted, self.operator.test) {
            (Wanted::Moments(wanted), Test::Date(order)) => {
                let found = context.moment(&self.key)?;
                Some(wanted.iter().any(|wanted| order.holds(found.cmp(wanted))))
            }
            (Wanted::Networks(wanted), _) => {
                let found = context.address(&self.key)?;
                Some(wanted.iter().any(|wanted| wanted.contains(found)))
            }
            _ => None,
        }
    }

    /// Returns whether a value matches one of those that the policy has.
    fn matches<'a>(&self, value: &str, variable: &dyn Fn(&ConditionKey) -> Option<Cow<'a, str>>) -> bool {
        match (&self.wanted, self.operator.test) {
            (Wanted::Texts(wanted), Test::EqualsIgnoreCase) => {
                wanted.iter().any(|pattern| pattern.equals_ignoring_case(value, variable))
            }
            (Wanted::Texts(wanted), _) => wanted.iter().any(|pattern| pattern.matches(value, variable)),
            (Wanted::Arns(wanted), _) => wanted.iter().any(|pattern| pattern.matches(value, variable)),
            (Wanted::Numbers(wanted), Test::Number(order)) => parse_number(value).is_some_and(|found| {
                wanted.iter().any(|wanted| found.partial_cmp(wanted).is_some_and(|found| order.holds(found)))
            }),
            (Wanted::Moments(wanted), Test::Date(order)) => parse_date(value)
                .is_some_and(|found| wanted.iter().any(|wanted| order.holds(found.cmp(wanted)))),
            (Wanted::Bools(wanted), _) => parse_bool(value).is_some_and(|found| wanted.contains(&found)),
            (Wanted::Bytes(wanted), _) => wanted.iter().any(|wanted| wanted == value.as_bytes()),
            (Wanted::Networks(wanted), _) => {
                parse_address(value).is_some_and(|found| wanted.iter().any(|wanted| wanted.contains(found)))
            }
            (Wanted::Numbers(_) | Wanted::Moments(_), _) => unreachable!("numbers and dates have an order"),
        }
    }

    fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        let (texts, arns): (&[Pattern], &[ArnPattern]) = match &self.wanted {
            Wanted::Texts(texts) => (texts, &[]),
            Wanted::Arns(arns) => (&[], arns),
            _ => (&[], &[]),
        };
        texts.iter().chain(arns.iter().flat_map(ArnPattern::patterns))
    }

    /// Returns the variables of all values.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.patterns().flat_map(Pattern::variables)
    }

    /// Returns the key.
    pub fn key(&self) -> &ConditionKey {
        &self.key
    }

    /// Returns whether the condition holds only for few whom the policy fixes, so that a statement for
    /// everybody with it is not public. Source: "The meaning of public" in AWS's page on blocking
    /// public access.
    pub fn is_of_few(&self) -> bool {
        let by_key = matches!(
            self.key,
            ConditionKey::DataAccessPointAccount
                | ConditionKey::DataAccessPointArn
                | ConditionKey::PrincipalAccount
                | ConditionKey::PrincipalArn
                | ConditionKey::PrincipalOrgId
                | ConditionKey::SourceAccount
                | ConditionKey::SourceArn
                | ConditionKey::SourceIp
                | ConditionKey::SourceOrgId
                | ConditionKey::SourceOwner
                | ConditionKey::SourceVpc
                | ConditionKey::SourceVpcArn
                | ConditionKey::SourceVpce
                | ConditionKey::UserId
                | ConditionKey::XAmzServerSideEncryptionAwsKmsKeyId
        );
        let Operator { negated, set, if_exists, .. } = self.operator;
        if !by_key || negated || if_exists || set == Set::All {
            return false;
        }
        match &self.wanted {
            Wanted::Networks(networks) => networks.iter().all(|network| !network.is_broad()),
            // "anonymous" is the id of all who do not sign.
            Wanted::Texts(texts) => texts
                .iter()
                .all(|text| text.fixed().is_some_and(|text| !text.eq_ignore_ascii_case("anonymous"))),
            Wanted::Arns(arns) => {
                arns.iter().all(|arn| *arn != ArnPattern::All && arn.patterns().iter().all(Pattern::is_fixed))
            }
            Wanted::Numbers(_) | Wanted::Moments(_) | Wanted::Bools(_) | Wanted::Bytes(_) => false,
        }
    }
}

/// Returns whether there is nothing to compare: AWS takes empty texts for none in a set of values.
fn is_empty(values: &Values<'_>) -> bool {
    match values {
        Values::Absent => true,
        Values::One(value) => value.is_empty(),
        Values::Many(list) => list.iter().all(|value| value.is_empty()),
    }
}

fn each<T>(values: &[Cow<'_, str>], parse: impl Fn(&str) -> Result<T, String>) -> Result<Box<[T]>, String> {
    values.iter().map(|value| parse(value)).collect()
}

fn parse_number(text: &str) -> Option<f64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| is_number && number.is_finite())
}

fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}
