//! The language of policies, held against another implementation of it: the crate `iam-rs`.
//!
//! Random policies are judged by both for random requests. What both are known to see differently is
//! not made, and named here:
//!
//! - `iam-rs` puts no variables into the values of conditions, and an empty text into a resource whose
//!   variable has no value; AWS lets such a resource match nothing.
//! - Its `ArnEquals` takes no wildcards, and its operators for ARNs do not compare component by component.
//! - An account's number names only the root to it; in AWS all users of the account.
//! - Its set operators have no `...IfExists`, and none for numbers, dates and addresses.
//! - It ignores what it does not know of a policy; here that is refused.

use super::action::Action;
use super::policy::testing::{BUCKET, Said, user};
use super::policy::{ConditionKey, Policy, PolicyKind, Question, Verdict};
use super::principal::Principal;
use iam_rs::{Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, PolicyEvaluator, PrincipalId};
use serde_json::{Value, json};
use std::sync::Arc;

/// Requests for each policy.
const REQUESTS: u64 = 20;
/// Policies of a run; the variable RINGBOLT_ORACLE_POLICIES asks for more.
const POLICIES: u64 = 1_500;

/// A generator that repeats: Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).expect("smaller than a usize")
    }

    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn in_ten(&mut self, times: usize) -> bool {
        self.below(10) < times
    }

    /// One value, or a list of up to three.
    fn one_or_more(&mut self, list: &[&str]) -> Value {
        match self.below(3) {
            0 => json!(self.of(list)),
            more => json!((0..=more).map(|_| self.of(list)).collect::<Vec<_>>()),
        }
    }
}

const ACTIONS: &[(Action, &[&str])] = &[
    (Action::GetObject, &["bucket/a", "bucket/bob/x", "bucket/b*b/x", "other/a", "bucket/a:b"]),
    (Action::PutObject, &["bucket/a", "bucket/bob/", "bucket/é", "other/bob/x"]),
    (Action::DeleteObject, &["bucket/aa", "bucket/bob/x/y"]),
    (Action::ListBucket, &["bucket", "other", "bucketbob"]),
    (Action::GetBucketPolicy, &["bucket", "other"]),
];

const NAMED_ACTIONS: &[&str] = &[
    "s3:*",
    "*",
    "s3:Get*",
    "s3:GetObject",
    "S3:getobject",
    "s3:PutObject",
    "s3:?etObject",
    "s3:*Object",
    "s3:ListBucket",
    "s3:*Bucket*",
    "s3:DeleteObject",
];

const RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::*",
    "arn:aws:s3:::bucket",
    "arn:aws:s3:::bucket/*",
    "arn:aws:s3:::b?cket/a*",
    "arn:aws:s3:::*/bob/*",
    "arn:aws:s3:::bucket/${aws:username}/*",
    "arn:aws:s3:::bucket${aws:username}",
    "arn:aws:s3:::bucket/?",
    "arn:aws:s3:::bucket/*:b",
];

const BUCKET_RESOURCES: &[&str] = &[
    "arn:aws:s3:::bucket",
    "arn:aws:s3:::bucket/*",
    "arn:aws:s3:::bucket/a*",
    "arn:aws:s3:::bucket/${aws:username}/*",
    "arn:aws:s3:::bucket/?",
];

const ARN_OF_BOB: &str = "arn:aws:iam::111122223333:user/bob";
const TEXT_KEYS: &[&str] = &["s3:prefix", "aws:Referer", "s3:x-amz-acl", "s3:ExistingObjectTag/kind"];
const TEXTS: &[&str] = &["a", "A", "ab", "a/b", "home/bob/", "public", "é", ""];
const TEXT_PATTERNS: &[&str] = &["a", "a*", "?b", "*", "home/*/", "A?", "publi?", "é", "*b*"];
const NUMBERS: &[&str] = &["0", "1", "10", "99", "100", "1000"];
const DATES: &[&str] =
    &["2026-01-01T00:00:00Z", "2026-06-01T12:00:00Z", "2026-06-01T14:00:00+02:00", "2027-01-01T00:00:00Z"];
const ADDRESSES: &[&str] = &["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "2001:db8:1::5"];
const NETWORKS: &[&str] = &["192.0.2.0/24", "192.0.2.1", "192.0.2.128/25", "2001:db8::/32", "0.0.0.0/0"];
const TAG_KEYS: &[&str] = &["kind", "owner", "stage"];

/// Returns the operator, perhaps with `IfExists`, the key and the values of a condition.
fn condition(random: &mut Random) -> (String, &'static str, Value) {
    let if_exists = |random: &mut Random, operator: &str| {
        format!("{operator}{}", if random.in_ten(3) { "IfExists" } else { "" })
    };
    match random.below(8) {
        0 => {
            let operators =
                &["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"];
            let operator = random.of(operators);
            let ascii = &TEXTS[..6];
            (if_exists(random, operator), random.of(TEXT_KEYS), random.one_or_more(ascii))
        }
        1 => {
            let operator = random.of(&["StringLike", "StringNotLike"]);
            (if_exists(random, operator), random.of(TEXT_KEYS), random.one_or_more(TEXT_PATTERNS))
        }
        2 => {
            let operators = &[
                "NumericEquals",
                "NumericNotEquals",
                "NumericLessThan",
                "NumericLessThanEquals",
                "NumericGreaterThan",
                "NumericGreaterThanEquals",
            ];
            let operator = random.of(operators);
            (if_exists(random, operator), "s3:max-keys", random.one_or_more(NUMBERS))
        }
        3 => {
            let operators = &[
                "DateEquals",
                "DateNotEquals",
                "DateLessThan",
                "DateLessThanEquals",
                "DateGreaterThan",
                "DateGreaterThanEquals",
            ];
            let operator = random.of(operators);
            (if_exists(random, operator), "aws:CurrentTime", random.one_or_more(DATES))
        }
        4 => {
            let operator = random.of(&["IpAddress", "NotIpAddress"]);
            (if_exists(random, operator), "aws:SourceIp", random.one_or_more(NETWORKS))
        }
        5 => (if_exists(random, "Bool"), "aws:SecureTransport", json!(random.of(&["true", "false"]))),
        6 => ("Null".to_owned(), random.of(TEXT_KEYS), json!(random.of(&["true", "false"]))),
        _ => {
            let set = random.of(&["ForAnyValue", "ForAllValues"]);
            let operator = random.of(&["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]);
            (format!("{set}:{operator}"), "s3:RequestObjectTagKeys", random.one_or_more(TAG_KEYS))
        }
    }
}

fn statement(random: &mut Random, of_bucket: bool) -> Value {
    let mut statement = json!({ "Effect": if random.in_ten(6) { "Allow" } else { "Deny" } });
    let actions = if random.in_ten(8) { "Action" } else { "NotAction" };
    statement[actions] = random.one_or_more(NAMED_ACTIONS);
    let resources = if of_bucket { BUCKET_RESOURCES } else { RESOURCES };
    let element = if of_bucket || random.in_ten(8) { "Resource" } else { "NotResource" };
    statement[element] = random.one_or_more(resources);
    if of_bucket {
        let stranger = "arn:aws:iam::111122223333:user/eve";
        statement["Principal"] = match random.below(5) {
            0 => json!("*"),
            1 => json!({ "AWS": "*" }),
            2 => json!({ "AWS": ARN_OF_BOB }),
            3 => json!({ "AWS": [stranger, ARN_OF_BOB] }),
            _ => json!({ "AWS": stranger }),
        };
    }
    let mut conditions = json!({});
    for _ in 0..random.below(3) {
        let (operator, key, values) = condition(random);
        conditions[operator][key] = values;
    }
    if conditions.as_object().is_some_and(|conditions| !conditions.is_empty()) {
        statement["Condition"] = conditions;
    }
    statement
}

/// What a request says, for both.
fn request(random: &mut Random) -> (Said, Context) {
    let mut pairs: Vec<(&str, Vec<&str>)> = Vec::new();
    for key in TEXT_KEYS {
        if random.in_ten(6) {
            pairs.push((key, vec![random.of(TEXTS)]));
        }
    }
    for (key, values) in [("s3:max-keys", NUMBERS), ("aws:CurrentTime", DATES), ("aws:SourceIp", ADDRESSES)] {
        if random.in_ten(7) {
            pairs.push((key, vec![random.of(values)]));
        }
    }
    let tag_keys: Vec<&str> = TAG_KEYS.iter().copied().filter(|_| random.in_ten(4)).collect();
    let mut context = Context::new().with_string("aws:username", "bob");
    let mut said = Said::default();
    for (name, values) in pairs.into_iter().chain([("s3:RequestObjectTagKeys", tag_keys)]) {
        let key = ConditionKey::parse(name).expect("a key");
        said.0.extend(values.iter().map(|value| (key.clone(), (*value).to_owned())));
        let texts = || values.iter().map(|value| (*value).to_owned()).collect();
        match values.as_slice() {
            [] => {}
            [one] if name != "s3:RequestObjectTagKeys" => {
                context.insert(name.to_owned(), ContextValue::String((*one).to_owned()));
            }
            _ => context.insert(name.to_owned(), ContextValue::StringList(texts())),
        }
    }
    if random.in_ten(7) {
        let secure = random.in_ten(5);
        context = context.with_boolean("aws:SecureTransport", secure);
        said.0.push((ConditionKey::SecureTransport, secure.to_string()));
    }
    (said, context)
}

#[test]
fn both_judge_alike() {
    let wanted = std::env::var("RINGBOLT_ORACLE_POLICIES").ok().and_then(|text| text.parse().ok());
    let bob = Principal::User(Arc::new(user("111122223333", "/", "bob")));
    let mut seen = [0u64; 3];
    for seed in 1..=wanted.unwrap_or(POLICIES) {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let of_bucket = random.in_ten(4);
        let statements: Vec<Value> =
            (0..=random.below(4)).map(|_| statement(&mut random, of_bucket)).collect();
        let text = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        let kind = if of_bucket { PolicyKind::Bucket { name: BUCKET } } else { PolicyKind::Identity };
        let policy = Policy::parse(text.as_bytes(), kind)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        let theirs = IAMPolicy::from_json(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let evaluator = PolicyEvaluator::with_policies(vec![theirs]);
        for _ in 0..REQUESTS {
            let (action, resources) = ACTIONS[random.below(ACTIONS.len())];
            let resource = random.of(resources);
            let (said, context) = request(&mut random);
            let ours = match policy.judge(&Question { principal: &bob, action, resource, context: &said }) {
                Verdict::Denies(_) => Decision::Deny,
                Verdict::Allows(..) => Decision::Allow,
                Verdict::Nothing => Decision::NotApplicable,
            };
            let asked = IAMRequest::new_with_context(
                iam_rs::Principal::Aws(PrincipalId::String(ARN_OF_BOB.to_owned())),
                action.name(),
                Arn::parse(&format!("arn:aws:s3:::{resource}")).expect("an ARN"),
                context,
            );
            let theirs = evaluator.evaluate(&asked).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(
                ours, theirs.decision,
                "seed {seed}: ours and iam-rs's, for {action:?} of {resource} that says {said:?}: {text}"
            );
            seen[ours as usize] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > POLICIES), "Allow, Deny, neither: {seen:?}");
}
