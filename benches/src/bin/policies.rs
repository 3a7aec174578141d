//! Measures what policies add to a request: the CPU time to judge a GET without any, and with ten statements
//! in the policy of the user and ten in that of the bucket, all of which are for GETs.
//!
//! `cargo run --release -p ringbolt-benches --bin policies`

use clap::Parser;
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::{pin_to_core, process_cpu_ns};
use ringbolt_server::access::{
    AccountNames, AclGrant, Action, Asked, ConditionKey, Context, Layers, NamedPolicy, Policy, PolicyKind,
    Principal, UserNames, Values, authorize,
};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const STATEMENTS: usize = 10;
const CALLS_BETWEEN_LOOKS: u32 = 64;
/// The most that policies may add.
const ADDED_NS_MAX: f64 = 1000.0;

#[derive(Parser)]
struct Options {
    /// Core to run on.
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Rounds; the cases take turns in each.
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Time for each case and round.
    #[arg(long, default_value_t = 50)]
    slice_ms: u64,
}

/// What the request says.
struct Request;

impl Context for Request {
    fn values(&self, key: &ConditionKey) -> Values<'_> {
        match key {
            ConditionKey::SecureTransport => Values::One("true".into()),
            ConditionKey::Referer => Values::One("https://www.example.com/page".into()),
            _ => Values::Absent,
        }
    }

    fn moment(&self, key: &ConditionKey) -> Option<i64> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (*key == ConditionKey::CurrentTime).then(|| i64::try_from(now().as_millis()).unwrap_or(i64::MAX))
    }

    fn address(&self, key: &ConditionKey) -> Option<IpAddr> {
        (*key == ConditionKey::SourceIp).then_some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)))
    }
}

/// The kinds of statements: none but the last of a policy is for this object, which is found out late.
#[derive(Clone, Copy)]
enum Mix {
    /// Names of prefixes, as in a bucket that users share.
    Prefixes,
    /// Every statement is for this object, but for a condition, which has to be judged.
    Conditions,
}

fn statement(mix: Mix, number: usize, principal: &str) -> String {
    let is_last = number + 1 == STATEMENTS;
    let (resource, condition) = match mix {
        _ if is_last => ("b/team/*/report-*.txt".to_owned(), ""),
        Mix::Prefixes => (format!("b/team{number}/*/report-*.txt"), ""),
        Mix::Conditions => (
            "b/team/${aws:username}/*".to_owned(),
            [
                r#","Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24","198.51.100.0/24"]}}"#,
                r#","Condition":{"Bool":{"aws:SecureTransport":"false"}}"#,
                r#","Condition":{"StringNotLike":{"aws:Referer":"https://*.example.com/*"}}"#,
                r#","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}"#,
            ][number % 4],
        ),
    };
    let effect = if is_last { "Allow" } else { "Deny" };
    format!(
        r#"{{"Effect":"{effect}",{principal}"Action":["s3:GetObject","s3:ListBucket"],
            "Resource":"arn:aws:s3:::{resource}"{condition}}}"#
    )
}

fn policy(mix: Mix, kind: PolicyKind<'_>) -> Result<Policy, Box<dyn std::error::Error>> {
    let principal = match kind {
        PolicyKind::Bucket { .. } => r#""Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"#,
        PolicyKind::Identity => "",
    };
    let statements: Vec<String> = (0..STATEMENTS).map(|number| statement(mix, number, principal)).collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    Ok(Policy::parse(text.as_bytes(), kind)?)
}

struct Case {
    name: &'static str,
    principal: Principal,
    identity: Vec<Arc<NamedPolicy>>,
    bucket: Option<Policy>,
}

impl Case {
    fn judge(&self) -> bool {
        let asked = Asked {
            principal: &self.principal,
            action: Action::GetObject,
            bucket: "b",
            key: Some("team/bob/report-2026-06.txt"),
            bucket_owner: Some("owner"),
            object_owner: None,
            context: &Request,
        };
        let layers = Layers {
            identity: &self.identity,
            boundary: None,
            session: None,
            bucket: self.bucket.as_ref(),
            bucket_policy_failed: false,
            restrict_public: false,
            acl: &|| AclGrant::Nobody,
        };
        authorize(black_box(&asked), black_box(&layers)).is_allowed()
    }

    /// Returns the CPU time of a call in ns.
    fn nanoseconds(&self, slice: Duration) -> std::io::Result<f64> {
        let cpu_ns = process_cpu_ns(std::process::id())?;
        let started = Instant::now();
        let mut calls = 0u32;
        while started.elapsed() < slice {
            for _ in 0..CALLS_BETWEEN_LOOKS {
                black_box(self.judge());
            }
            calls += CALLS_BETWEEN_LOOKS;
        }
        let cpu_ns = process_cpu_ns(std::process::id())? - cpu_ns;
        Ok(cpu_ns as f64 / f64::from(calls))
    }
}

fn cases() -> Result<Vec<Case>, Box<dyn std::error::Error>> {
    let account = Arc::new(AccountNames {
        account_id: "111122223333".to_owned(),
        canonical_id: "owner".to_owned(),
        display_name: "owner".to_owned(),
    });
    let user = Arc::new(UserNames {
        account: account.clone(),
        name: "bob".to_owned(),
        path: "/".to_owned(),
        id: "AIDABOB".to_owned(),
        arn: "arn:aws:iam::111122223333:user/bob".to_owned(),
    });
    let with = |name, mix| -> Result<Case, Box<dyn std::error::Error>> {
        let named = NamedPolicy { name: "of-bob".to_owned(), policy: policy(mix, PolicyKind::Identity)? };
        Ok(Case {
            name,
            principal: Principal::User(user.clone()),
            identity: vec![Arc::new(named)],
            bucket: Some(policy(mix, PolicyKind::Bucket { name: "b" })?),
        })
    };
    let without =
        Case { name: "no policy", principal: Principal::Root(account), identity: Vec::new(), bucket: None };
    Ok(vec![
        without,
        with("10 + 10 statements, prefixes", Mix::Prefixes)?,
        with("10 + 10 statements, conditions", Mix::Conditions)?,
    ])
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let options = Options::parse();
    pin_to_core(options.core)?;
    let cases = cases()?;
    if let Some(case) = cases.iter().find(|case| !case.judge()) {
        return Err(format!("{} denies the request", case.name).into());
    }
    let slice = Duration::from_millis(options.slice_ms);
    let mut times = vec![Vec::new(); cases.len()];
    for _ in 0..options.rounds {
        for (case, times) in cases.iter().zip(&mut times) {
            times.push(case.nanoseconds(slice)?);
        }
    }
    let base = median(&times[0]);
    let mut missed = false;
    println!("{:32} {:>8} {:>8}   ns, medians of {}", "", "a call", "added", options.rounds);
    for (case, times) in cases.iter().zip(&times) {
        let time = median(times);
        let verdict = if time - base <= ADDED_NS_MAX { "PASS" } else { "FAIL" };
        println!("{:32} {time:8.0} {:8.0} {verdict}", case.name, time - base);
        missed |= verdict == "FAIL";
    }
    Ok(if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
