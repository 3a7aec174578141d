//! A statement of a policy: what it names, compiled, and whether it applies to a request.

use super::condition::{Condition, Operator, components, value_of};
use super::json::Json;
use super::key::ConditionKey;
use super::pattern::{Pattern, Syntax};
use super::principals::{Named, Principals};
use super::{Effect, PolicyKind, Question};
use crate::access::action::{Action, ActionSet};
use std::borrow::Cow;

/// The most values that one element may list.
pub const VALUES_MAX: usize = 1_000;
/// The longest Sid, in characters.
const SID_CHARACTERS_MAX: usize = 128;

/// Which part of a statement is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub element: Cow<'static, str>,
    pub problem: String,
}

/// Makes the error for an element.
pub fn wrong(element: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Wrong {
    Wrong { element: element.into(), problem: problem.into() }
}

/// The resources of a statement. Each pattern is of what stands behind `arn:aws:s3:::`.
#[derive(Clone, Debug, PartialEq)]
enum Resources {
    Only(Box<[Pattern]>),
    AllBut(Box<[Pattern]>),
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub sid: Option<Box<str>>,
    pub effect: Effect,
    pub actions: ActionSet,
    principals: Principals,
    resources: Resources,
    conditions: Box<[Condition]>,
}

/// The elements of a statement, as they stand in the document.
#[derive(Default)]
struct Elements<'a> {
    sid: Option<&'a Json>,
    effect: Option<&'a Json>,
    principal: Option<&'a Json>,
    not_principal: Option<&'a Json>,
    action: Option<&'a Json>,
    not_action: Option<&'a Json>,
    resource: Option<&'a Json>,
    not_resource: Option<&'a Json>,
    condition: Option<&'a Json>,
}

impl<'a> Elements<'a> {
    fn of(json: &'a Json) -> Result<Self, Wrong> {
        let Json::Object(entries) = json else {
            return Err(wrong("Statement", format!("it is {}; a statement is an object", json.kind())));
        };
        let mut found = Self::default();
        for (name, value) in entries {
            let slot = match name.as_str() {
                "Sid" => &mut found.sid,
                "Effect" => &mut found.effect,
                "Principal" => &mut found.principal,
                "NotPrincipal" => &mut found.not_principal,
                "Action" => &mut found.action,
                "NotAction" => &mut found.not_action,
                "Resource" => &mut found.resource,
                "NotResource" => &mut found.not_resource,
                "Condition" => &mut found.condition,
                _ => {
                    let problem = "no statement has this element: remove it, or correct its spelling";
                    return Err(wrong(name.clone(), problem));
                }
            };
            *slot = Some(value);
        }
        Ok(found)
    }
}

/// Returns the one of two elements that a statement has, and whether it is the second.
fn either<'a>(
    names: [&'static str; 2],
    elements: [Option<&'a Json>; 2],
) -> Result<Option<(&'static str, &'a Json, bool)>, Wrong> {
    match elements {
        [None, None] => Ok(None),
        [Some(value), None] => Ok(Some((names[0], value, false))),
        [None, Some(value)] => Ok(Some((names[1], value, true))),
        [Some(_), Some(_)] => {
            Err(wrong(names[1], format!("it stands beside {}: a statement has one of them", names[0])))
        }
    }
}

/// Returns the texts of a value that is a string or a list of strings.
pub fn texts<'a>(element: &str, value: &'a Json) -> Result<Vec<&'a str>, Wrong> {
    let text = |value: &'a Json| match value {
        Json::Text(text) => Ok(text.as_str()),
        other => Err(wrong(element.to_owned(), format!("it has {} where a string is wanted", other.kind()))),
    };
    match value {
        Json::List(list) if list.is_empty() => {
            Err(wrong(element.to_owned(), "its list is empty: name a value, or remove the element"))
        }
        Json::List(list) if list.len() > VALUES_MAX => {
            Err(wrong(element.to_owned(), format!("it has {} values; the limit is {VALUES_MAX}", list.len())))
        }
        Json::List(list) => list.iter().map(text).collect(),
        other => Ok(vec![text(other)?]),
    }
}

impl Statement {
    /// Compiles a statement. `variables` says whether the version of the policy has them.
    pub fn parse(json: &Json, kind: PolicyKind<'_>, variables: bool) -> Result<Self, Wrong> {
        let elements = Elements::of(json)?;
        let effect = match elements.effect {
            Some(Json::Text(text)) if text == "Allow" => Effect::Allow,
            Some(Json::Text(text)) if text == "Deny" => Effect::Deny,
            Some(_) => return Err(wrong("Effect", "it is neither \"Allow\" nor \"Deny\"")),
            None => return Err(wrong("Effect", "it is missing: write \"Allow\" or \"Deny\"")),
        };
        let principals = parse_principals(&elements, kind, effect)?;
        let action = either(["Action", "NotAction"], [elements.action, elements.not_action])?;
        let (name, value, negated) =
            action.ok_or_else(|| wrong("Action", "it is missing: name at least one"))?;
        let actions = parse_actions(name, value, negated, kind)?;
        let resource = either(["Resource", "NotResource"], [elements.resource, elements.not_resource])?;
        let (name, value, negated) =
            resource.ok_or_else(|| wrong("Resource", "it is missing: name at least one"))?;
        let patterns = parse_resources(name, value, kind, variables)?;
        let resources = if negated { Resources::AllBut(patterns) } else { Resources::Only(patterns) };
        let conditions = match elements.condition {
            None => Box::default(),
            Some(json) => parse_conditions(json, kind, &actions, variables)?,
        };
        let sid = elements.sid.map(parse_sid).transpose()?.flatten();
        Ok(Self { sid, effect, actions, principals, resources, conditions })
    }

    /// Returns whether the statement applies to a request, whose action it has, and how it names the
    /// one who asks.
    pub fn applies(&self, asked: &Question<'_>) -> Named {
        let named = self.principals.name(asked.principal);
        if named == Named::No || !self.has_resource(asked) {
            return Named::No;
        }
        let hold = |condition: &Condition| condition.holds(self.effect, asked.principal, asked.context);
        if self.conditions.iter().all(hold) { named } else { Named::No }
    }

    fn has_resource(&self, asked: &Question<'_>) -> bool {
        let value = |key: &ConditionKey| value_of(key, asked.principal, asked.context);
        let among =
            |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(asked.resource, value));
        match &self.resources {
            Resources::Only(patterns) => among(patterns),
            Resources::AllBut(patterns) => !among(patterns),
        }
    }

    /// Returns whether the statement allows something to everybody.
    pub fn is_public(&self) -> bool {
        self.effect == Effect::Allow
            && self.principals.are_everybody()
            && !self.conditions.iter().any(Condition::is_of_few)
    }

    /// Returns whether a condition or a variable asks for the tags that the object has.
    pub fn asks_existing_tags(&self) -> bool {
        let is_tag = |key: &ConditionKey| matches!(key, ConditionKey::ExistingObjectTag(_));
        let (Resources::Only(patterns) | Resources::AllBut(patterns)) = &self.resources;
        let of_resources = patterns.iter().flat_map(Pattern::variables);
        let of_conditions = self.conditions.iter().flat_map(Condition::variables);
        self.conditions.iter().any(|condition| is_tag(condition.key()))
            || of_resources.chain(of_conditions).any(|variable| is_tag(&variable.key))
    }
}

/// Reads a Sid. An empty one is none. It appears in logs, so it has no control characters.
fn parse_sid(json: &Json) -> Result<Option<Box<str>>, Wrong> {
    let Json::Text(sid) = json else {
        return Err(wrong("Sid", format!("it is {}, not a string", json.kind())));
    };
    if sid.chars().count() > SID_CHARACTERS_MAX {
        return Err(wrong("Sid", format!("it is longer than {SID_CHARACTERS_MAX} characters")));
    }
    if sid.chars().any(char::is_control) {
        return Err(wrong("Sid", "it has a control character"));
    }
    Ok((!sid.is_empty()).then(|| sid.as_str().into()))
}

fn parse_principals(
    elements: &Elements<'_>,
    kind: PolicyKind<'_>,
    effect: Effect,
) -> Result<Principals, Wrong> {
    let principal = either(["Principal", "NotPrincipal"], [elements.principal, elements.not_principal])?;
    match (kind, principal) {
        (PolicyKind::Identity, None) => Ok(Principals::Holder),
        (PolicyKind::Identity, Some((name, ..))) => {
            Err(wrong(name, "a policy of an identity is about that identity: remove the element"))
        }
        (PolicyKind::Bucket { .. }, None) => {
            Err(wrong("Principal", "it is missing: a bucket policy says who it is about"))
        }
        (PolicyKind::Bucket { .. }, Some((name, _, true))) if effect == Effect::Allow => Err(wrong(
            name,
            "with Allow it would allow everybody else: name those who are allowed by Principal",
        )),
        (PolicyKind::Bucket { .. }, Some((name, value, negated))) => Principals::parse(name, value, negated),
    }
}

/// Returns the actions of S3 that an element names. Those of other services are of no effect here; a
/// bucket policy must not name them.
fn parse_actions(
    element: &'static str,
    value: &Json,
    negated: bool,
    kind: PolicyKind<'_>,
) -> Result<ActionSet, Wrong> {
    let mut named = ActionSet::default();
    for text in texts(element, value)? {
        if text == "*" {
            named = ActionSet::default().complement();
            continue;
        }
        let unknown = || wrong(element, format!("S3 has no action {text:?}: correct its spelling"));
        let (service, name) = text.split_once(':').ok_or_else(unknown)?;
        if !service.eq_ignore_ascii_case("s3") {
            let plausible = !service.is_empty()
                && service.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?".contains(&byte));
            if !plausible {
                return Err(unknown());
            }
            if kind != PolicyKind::Identity {
                return Err(wrong(
                    element,
                    format!("{text:?} is no action of S3: a bucket policy has no others"),
                ));
            }
            continue;
        }
        // Case does not matter, and names are ASCII.
        let syntax = Syntax { wildcards: true, variables: false };
        let pattern = Pattern::parse(&name.to_ascii_lowercase(), syntax).map_err(|_| unknown())?;
        let matches = |action: &&Action| {
            let name = action.name().strip_prefix("s3:").unwrap_or_default();
            pattern.matches(&name.to_ascii_lowercase(), |_| None)
        };
        let mut found = Action::ALL.iter().filter(matches).peekable();
        if found.peek().is_none() {
            return Err(unknown());
        }
        found.for_each(|action| named.insert(*action));
    }
    Ok(if negated { named.complement() } else { named })
}

/// Returns the patterns of the resources of S3 that an element names.
fn parse_resources(
    element: &'static str,
    value: &Json,
    kind: PolicyKind<'_>,
    variables: bool,
) -> Result<Box<[Pattern]>, Wrong> {
    let syntax = Syntax { wildcards: true, variables };
    let mut patterns = Vec::new();
    for text in texts(element, value)? {
        let no_arn = || {
            wrong(element, format!("{text:?} is neither \"*\" nor an ARN such as arn:aws:s3:::bucket/key*"))
        };
        let resource = if text == "*" {
            text
        } else {
            let [arn, partition, service, region, account, resource] = components(text).ok_or_else(no_arn)?;
            if arn != "arn" || !matches!(partition, "aws" | "*") || resource.is_empty() {
                return Err(no_arn());
            }
            if service != "s3" {
                if kind == PolicyKind::Identity && !service.is_empty() && !service.contains(['*', '?', '$']) {
                    continue;
                }
                return Err(wrong(
                    element,
                    format!("{text:?} is no resource of S3: write arn:aws:s3:::bucket"),
                ));
            }
            if !matches!(region, "" | "*") || !matches!(account, "" | "*") {
                let problem =
                    "this server has buckets and objects alone, whose ARNs have no region and no account";
                return Err(wrong(element, format!("{text:?}: {problem}")));
            }
            resource
        };
        let pattern = Pattern::parse(resource, syntax).map_err(|problem| wrong(element, problem))?;
        if let PolicyKind::Bucket { name } = kind
            && !pattern.may_match_below(name)
        {
            let problem =
                format!("{text:?} is not of this bucket: write arn:aws:s3:::{name} or arn:aws:s3:::{name}/*");
            return Err(wrong(element, problem));
        }
        patterns.push(pattern);
    }
    Ok(patterns.into())
}

fn parse_conditions(
    json: &Json,
    kind: PolicyKind<'_>,
    actions: &ActionSet,
    variables: bool,
) -> Result<Box<[Condition]>, Wrong> {
    let Json::Object(operators) = json else {
        return Err(wrong(
            "Condition",
            format!("it is {}; it has to be an object of operators", json.kind()),
        ));
    };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let in_operator = |problem: String| wrong(format!("Condition/{name}"), problem);
        let operator = Operator::parse(name).map_err(in_operator)?;
        let Json::Object(keys) = keys else {
            return Err(in_operator(format!("it is {}; it has to be an object of keys", keys.kind())));
        };
        for (key_name, values) in keys {
            let in_key = |problem: String| wrong(format!("Condition/{name}/{key_name}"), problem);
            let Some(key) = ConditionKey::parse(key_name) else {
                if kind == PolicyKind::Identity && actions.is_empty() && is_of_another_service(key_name) {
                    // The statement is about other services alone, and never applies here.
                    continue;
                }
                return Err(in_key("the key is unknown: correct its spelling, or remove it".to_owned()));
            };
            let values = condition_values(values).map_err(in_key)?;
            conditions.push(Condition::parse(operator, key_name, key, &values, variables).map_err(in_key)?);
        }
    }
    Ok(conditions.into())
}

fn is_of_another_service(key: &str) -> bool {
    let service = key.split_once(':').map(|(service, _)| service.to_ascii_lowercase());
    service.is_some_and(|service| !service.is_empty() && service != "aws" && service != "s3")
}

/// Returns the values of a key. Numbers and truth values may stand without quotes.
fn condition_values(json: &Json) -> Result<Vec<Cow<'_, str>>, String> {
    let one = |json| match json {
        &Json::Bool(value) => Ok(Cow::Borrowed(if value { "true" } else { "false" })),
        Json::Number(text) | Json::Text(text) => Ok(Cow::Borrowed(text.as_str())),
        other => Err(format!("it has {} where a string is wanted", other.kind())),
    };
    match json {
        Json::List(list) if list.is_empty() => Err("its list is empty: name a value".to_owned()),
        Json::List(list) if list.len() > VALUES_MAX => {
            Err(format!("it has {} values; the limit is {VALUES_MAX}", list.len()))
        }
        Json::List(list) => list.iter().map(one).collect(),
        other => Ok(vec![one(other)?]),
    }
}
