//! Commands about users, groups, access keys and policies.

use super::answer::{Failure, fields};
use crate::access::Action;
use crate::http::{Handler, HttpServer};
use crate::identity::change::{ChangeError, RefusedKind, Request, account, carry_out, find_user};
use crate::unix_time::now_ms;
use http::StatusCode;
use ringbolt_engine::node::Core;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What `policy explain` asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explain {
    /// The user. None: the root of the account.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    account: Option<String>,
    action: String,
    resource: String,
}

const EXPLAIN: &str =
    r#"{"user": "alice", "action": "s3:GetObject", "resource": "arn:aws:s3:::photos/a.jpg"}"#;

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused { kind, error, what_to_do } => {
                let status = match kind {
                    RefusedKind::NotFound => StatusCode::NOT_FOUND,
                    RefusedKind::Conflict => StatusCode::CONFLICT,
                    RefusedKind::Invalid => StatusCode::BAD_REQUEST,
                };
                Self::new(status, error, what_to_do)
            }
            ChangeError::Engine(error) => error.into(),
        }
    }
}

fn nobody() -> Failure {
    Failure::starting()
}

/// Carries out what the body asks for.
///
/// # Errors
/// Returns a failure with what is wrong.
pub async fn change<H: Handler>(server: &HttpServer<H>, core: &Core, body: &[u8]) -> Result<Value, Failure> {
    let request: Request = fields(body, r#"{"user_add": {"name": "alice"}}"#)?;
    let identity = server.handler.get().and_then(Handler::identity).ok_or_else(nobody)?;
    Ok(carry_out(identity, core, request, now_ms()).await?)
}

/// Says whether somebody may do something, and which statement of which policy says so.
///
/// # Errors
/// Returns a failure with what is wrong.
pub async fn explain<H: Handler>(server: &HttpServer<H>, body: &[u8]) -> Result<Value, Failure> {
    let asked: Explain = fields(body, EXPLAIN)?;
    let handler = server.handler.get().ok_or_else(nobody)?;
    let directory = handler.identity().ok_or_else(nobody)?.directory();
    let id = account(&directory, asked.account.as_deref())?.names.account_id.clone();
    if let Some(name) = &asked.user {
        find_user(&directory, &id, name)?;
    }
    let Some(signer) = directory.signer_named(&id, asked.user.as_deref()) else { return Err(nobody()) };
    let invalid = |error: String, what_to_do: &str| Failure::new(StatusCode::BAD_REQUEST, error, what_to_do);
    let action = Action::parse(&asked.action);
    let action = action.ok_or_else(|| {
        invalid(format!("{:?} is no action of S3", asked.action), "write it as AWS does, as in s3:GetObject")
    })?;
    let resource = asked.resource.strip_prefix("arn:aws:s3:::").unwrap_or(&asked.resource);
    let (bucket, key) = match resource.split_once('/') {
        Some((bucket, key)) => (bucket, Some(key).filter(|key| !key.is_empty())),
        None => (resource.trim_matches('*'), None),
    };
    if action.is_on_object() && key.is_none() {
        let what_to_do = "name a bucket and a key, as in arn:aws:s3:::photos/a.jpg";
        return Err(invalid(format!("{} is on an object", asked.action), what_to_do));
    }
    let exists =
        server.handler.get().and_then(Handler::core).is_some_and(|core| core.bucket(bucket).is_some());
    let key = key.filter(|_| action.is_on_object());
    let explained = handler.explain(Arc::new(signer), action, (bucket, key)).await.ok_or_else(nobody)?;
    let (is_allowed, reason) = explained
        .map_err(|error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, error, "see the server's log"))?;
    Ok(json!({
        "allowed": is_allowed,
        "reason": reason,
        "user": asked.user,
        "account": id,
        "action": action.name(),
        "bucket": bucket,
        "key": key,
        "bucket_exists": exists,
    }))
}
