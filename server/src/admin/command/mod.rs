//! Operators' commands: what they ask of buckets, of users and their keys and policies, of the clock by which
//! retentions are judged, and of drives, as JSON over HTTP.
//!
//! Invariants:
//! - Nothing is read or changed for a peer that [`door`] has not let in.
//! - A command's body is bounded, and so is the work of one request: a bucket is emptied step by step.
//! - Every answer is JSON. An error says what is wrong and what to do: `{"error": …, "what_to_do": …}`.

mod answer;
mod bucket;
mod clock;
mod door;
mod drive;
mod empty;
mod identity;
mod lifecycle;
mod route;

use self::answer::Failure;
use self::route::Command;
use super::Peer;
use crate::http::{Handler, HttpServer};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use ringbolt_engine::node::Core;
use std::time::Duration;

/// The path under which all commands are.
pub const COMMANDS_PATH: &str = "/ringbolt/v1/";
/// The most bytes of a command's body.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a command's body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// Returns whether a path is that of a command.
pub fn is_command(path: &str) -> bool {
    path.starts_with(COMMANDS_PATH)
}

/// Answers a request for a command. Also returns whether some of its body was left unread, after which
/// the connection can not go on.
pub async fn exchange<H: Handler>(
    server: &HttpServer<H>,
    peer: Peer,
    request: Request<Incoming>,
) -> (Response<s3s::Body>, bool) {
    let (parts, body) = request.into_parts();
    tracing::debug!(?peer, method = %parts.method, path = parts.uri.path(), "admin command");
    let body = match read(body).await {
        Ok(body) => body,
        Err(failure) => return (failure.response(), true),
    };
    let outcome = async {
        let (method, uri) = (parts.method.clone(), parts.uri.clone());
        let body = door::admit(server, peer, parts, body).await?;
        let command = Command::parse(&method, uri.path())?;
        let Some(core) = server.handler.get().and_then(Handler::core) else {
            return Err(Failure::starting());
        };
        run(server, core, command, &body).await
    };
    let response = outcome.await.map_or_else(Failure::response, |value| answer::json(StatusCode::OK, &value));
    (response, false)
}

async fn read(body: Incoming) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Failure::too_large());
    }
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    match monoio::time::timeout(BODY_TIME, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::too_large()),
        _ => Err(Failure::incomplete()),
    }
}

async fn run<H: Handler>(
    server: &HttpServer<H>,
    core: &Core,
    command: Command<'_>,
    body: &[u8],
) -> Result<serde_json::Value, Failure> {
    match command {
        Command::ListBuckets => bucket::list(&server.memory, core).await,
        Command::ShowBucket(name) => bucket::show(core, name).await,
        Command::SetQuota(name) => bucket::set_quota(core, name, body).await,
        Command::RemoveQuota(name) => bucket::remove_quota(core, name).await,
        Command::EmptyBucket(name) => empty::step(&server.memory, core, name, body).await,
        Command::DeleteBucket(name) => bucket::delete(core, name).await,
        Command::PreviewLifecycle(name) => lifecycle::preview(&server.memory, core, name, body).await,
        Command::ChangeIdentity => identity::change(server, core, body).await,
        Command::Explain => identity::explain(server, body).await,
        Command::ShowClock => clock::show(core).await,
        Command::ConfirmClock => clock::confirm(core).await,
        Command::ListDrives => drive::list(core).await,
        Command::TakeOffline(number) => drive::take_offline(core, number, body).await,
        Command::TakeDrive => drive::take_online(core, body).await,
        Command::EmptyDrive(number) => drive::empty(core, number).await,
        Command::KeepDrive(number) => drive::keep(core, number).await,
        Command::SpreadDrive(number) => drive::spread(core, number).await,
        Command::StopSpread(number) => drive::stop_spread(core, number).await,
    }
}

#[cfg(all(test, feature = "internals"))]
mod tests;
