//! Commands about the drives of the node.

use super::answer::{Failure, fields};
use http::StatusCode;
use ringbolt_engine::node::{
    CatchUpProgress, Core, DrainError, DriveReport, DriveState, NewDrive, OfflineError, OnlineError,
    SpreadError, uuid_of_drive, uuid_text,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Time between two looks at work that blocks a thread of its own.
const LOOK: Duration = Duration::from_millis(20);

/// Shows the drives that were ever in the set, with the part that each has in it, and what may be lost before
/// something is.
///
/// # Errors
/// Returns the engine's failure.
pub async fn list(core: &Core) -> Result<Value, Failure> {
    let report = core.drives().await?;
    let by_losses = report.bytes_by_losses.iter().enumerate();
    let survives = |(losses, bytes): (usize, &u64)| json!({ "drives": losses, "bytes": bytes });
    Ok(json!({
        "view": { "epoch": report.view.0, "counter": report.view.1 },
        "copies": report.copies,
        "data_members": report.data_members,
        "drives": report.drives.iter().map(shown).collect::<Vec<_>>(),
        "bytes_by_losses_survived": by_losses.map(survives).collect::<Vec<_>>(),
    }))
}

/// The body of a request to take a drive offline.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Offline {
    /// Also where no large objects can be stored behind that.
    force: bool,
}

/// Takes a drive out of the view, and shows what [`list`] shows behind that.
///
/// # Errors
/// Returns why the drive stays.
pub async fn take_offline(core: &Core, number: &str, body: &[u8]) -> Result<Value, Failure> {
    let unknown = || no_such_drive(number);
    let number = parsed(number)?;
    let Offline { force } =
        if body.is_empty() { Offline::default() } else { fields(body, r#"{"force": true}"#)? };
    core.take_offline(number, force).await.map_err(|error| match error {
        OfflineError::Unknown => unknown(),
        OfflineError::IsOut => Failure::new(
            StatusCode::CONFLICT,
            error.to_string(),
            "see `ringbolt drive list`: nothing is sent to it, and it may be pulled",
        ),
        OfflineError::IsNeeded => Failure::new(
            StatusCode::CONFLICT,
            error.to_string(),
            "leave it where it is; see `ringbolt drive list`, and try again once all others are in",
        ),
        OfflineError::StopsLarge => Failure::new(
            StatusCode::CONFLICT,
            error.to_string(),
            "bring another drive back first, or repeat it with --force",
        ),
        OfflineError::IsReturning => Failure::new(
            StatusCode::CONFLICT,
            error.to_string(),
            "try again once `ringbolt drive list` has it in",
        ),
        OfflineError::Failed => Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
            "see the server's log; a restart decides what became of the drives",
        ),
    })?;
    list(core).await
}

/// The body of a request to take a drive into the set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Online {
    /// Where it is, on the server's machine.
    path: PathBuf,
}

/// Takes a drive into the set that was away, or was made to take the place of another one, and shows what [`list`]
/// shows behind that.
///
/// # Errors
/// Returns why the drive does not come.
pub async fn take_online(core: &Core, body: &[u8]) -> Result<Value, Failure> {
    let Online { path } = fields(body, r#"{"path": "/dev/nvme1n1"}"#)?;
    let refused = |error: &dyn std::fmt::Display| {
        let what_to_do = "nothing has changed; `ringbolt drive list` has the drives of the set";
        Failure::new(StatusCode::BAD_REQUEST, error.to_string(), what_to_do)
    };
    // One that left is let go first, since it can not be opened twice.
    let looked_at = path.clone();
    let uuid = aside(move || uuid_of_drive(&looked_at)).await?.map_err(|error| refused(&error))?;
    core.release_drive(uuid).await.map_err(online_failure)?;
    let drive = aside(move || NewDrive::open(&path)).await?.map_err(|error| refused(&error))?;
    core.take_drive(drive).await.map_err(online_failure)?;
    list(core).await
}

/// Begins to move all that a drive holds to others, and shows what [`list`] shows behind that.
///
/// # Errors
/// Returns why the drive stays.
pub async fn empty(core: &Core, number: &str) -> Result<Value, Failure> {
    let own = parsed(number)?;
    core.drain(own).await.map_err(|error| drain_failure(number, error))?;
    list(core).await
}

/// Has a drive stay that is being emptied, and shows what [`list`] shows behind that.
///
/// # Errors
/// Returns why that is not possible.
pub async fn keep(core: &Core, number: &str) -> Result<Value, Failure> {
    let own = parsed(number)?;
    core.stop_drain(own).await.map_err(|error| drain_failure(number, error))?;
    list(core).await
}

/// Begins to move old stripes to a drive, and shows what [`list`] shows behind that.
///
/// # Errors
/// Returns why it gets none.
pub async fn spread(core: &Core, number: &str) -> Result<Value, Failure> {
    let own = parsed(number)?;
    core.spread(own).await.map_err(|error| spread_failure(number, error))?;
    list(core).await
}

/// Ends what [`spread`] began, and shows what [`list`] shows behind that.
///
/// # Errors
/// Returns why that is not possible.
pub async fn stop_spread(core: &Core, number: &str) -> Result<Value, Failure> {
    let own = parsed(number)?;
    core.stop_spread(own).await.map_err(|error| spread_failure(number, error))?;
    list(core).await
}

fn spread_failure(number: &str, error: SpreadError) -> Failure {
    let what_to_do = match error {
        SpreadError::Unknown => return no_such_drive(number),
        SpreadError::NotStriped => "see `ringbolt drive list`: its share of shards grows by itself",
        SpreadError::IsOut => "give it to the server first, with `ringbolt drive online`",
        SpreadError::IsLeaving => "have it stay first, with `ringbolt drive drain --stop`",
        SpreadError::NotSpreading => "see `ringbolt drive list`",
        SpreadError::NotNow => "try again; see the server's log",
    };
    Failure::new(StatusCode::CONFLICT, error.to_string(), what_to_do)
}

fn parsed(number: &str) -> Result<u16, Failure> {
    number.parse().map_err(|_| no_such_drive(number))
}

fn no_such_drive(number: &str) -> Failure {
    let what_to_do = "see the numbers with `ringbolt drive list`";
    Failure::new(StatusCode::NOT_FOUND, format!("there is no drive {number:?} here"), what_to_do)
}

fn drain_failure(number: &str, error: DrainError) -> Failure {
    let what_to_do = match error {
        DrainError::Unknown => return no_such_drive(number),
        DrainError::NotRedundant => "format drives anew with redundancy, and copy the buckets there over S3",
        DrainError::NotWhole => "one that is out may be pulled; see `ringbolt drive list`",
        DrainError::TooFew { .. } => {
            "add a drive first, with `ringbolt drive add`, or bring one back; or replace this one, with `ringbolt drive \
             offline` and `ringbolt drive replace`"
        }
        DrainError::TooManyShards { .. } => "add a drive first, with `ringbolt drive add`",
        DrainError::NotLeaving => "see `ringbolt drive list`",
        DrainError::NotNow => "try again; see the server's log",
    };
    Failure::new(StatusCode::CONFLICT, error.to_string(), what_to_do)
}

/// Does work that blocks, on a thread of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let what_to_do = "see the server's log, and try again";
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the drive was not opened: {error}"),
            what_to_do,
        )
    };
    let running = std::thread::Builder::new().name("drive".to_owned()).spawn(work);
    let running = running.map_err(|error| failed(&error))?;
    while !running.is_finished() {
        monoio::time::sleep(LOOK).await;
    }
    running.join().map_err(|_| failed(&"the thread ended by a bug"))
}

fn online_failure(error: OnlineError) -> Failure {
    let (status, what_to_do) = match &error {
        OnlineError::NotRedundant => {
            (StatusCode::CONFLICT, "format drives anew with redundancy, and copy the buckets there over S3")
        }
        OnlineError::OtherSet | OnlineError::Unknown => (
            StatusCode::CONFLICT,
            "give a drive of this set, or make one with `ringbolt drive replace` or `ringbolt drive add`",
        ),
        OnlineError::IsIn => (StatusCode::CONFLICT, "leave it where it is"),
        OnlineError::IsBusy => (
            StatusCode::CONFLICT,
            "try again once it has answered; one that never does needs a restart of the server",
        ),
        OnlineError::Gone | OnlineError::OtherHistory | OnlineError::Taken => (
            StatusCode::CONFLICT,
            "make a drive that takes a place of this set, with `ringbolt drive replace` and --force",
        ),
        OnlineError::ReplacedIsIn(_) => {
            (StatusCode::CONFLICT, "take that one offline first, with `ringbolt drive offline`")
        }
        OnlineError::NoSeat => (StatusCode::CONFLICT, "start the server again with the drive"),
        OnlineError::Full => (StatusCode::CONFLICT, "copy its buckets over S3 to a new set"),
        OnlineError::Damaged => (
            StatusCode::CONFLICT,
            "make a drive that takes its place, with `ringbolt drive replace`; what is on it is not needed",
        ),
        OnlineError::Failed(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "see the server's log, and look at the drive; the server goes on without it",
        ),
        OnlineError::NotNow => (
            StatusCode::SERVICE_UNAVAILABLE,
            "try again later; if a drive could not be dropped, the server has to be started again",
        ),
    };
    Failure::new(status, error.to_string(), what_to_do)
}

fn state_word(state: DriveState) -> &'static str {
    match state {
        DriveState::In => "in",
        DriveState::CatchingUp => "catching-up",
        DriveState::Leaving => "draining",
        DriveState::Emptied => "emptied",
        DriveState::Left => "left",
        DriveState::Absent => "absent",
        DriveState::Gone => "gone",
    }
}

fn shown(drive: &DriveReport) -> Value {
    json!({
        "number": drive.number,
        "uuid": uuid_text(&drive.uuid),
        "state": state_word(drive.state),
        "replaces": drive.replaces,
        "reason": drive.reason,
        "path": drive.path.as_ref().map(|path| path.display().to_string()),
        "size_bytes": drive.size_bytes,
        "free_bytes": drive.free_bytes,
        "shards": drive.shards,
        "spreads": drive.spreads,
        "catch_up": drive.catch_up.as_ref().map(progress),
    })
}

fn progress(progress: &CatchUpProgress) -> Value {
    let CatchUpProgress { bytes, done_bytes, copied_bytes, elapsed_ms } = *progress;
    let seconds = elapsed_ms as f64 / 1000.0;
    let rate = (seconds > 0.0).then(|| done_bytes as f64 / seconds).filter(|rate| *rate > 0.0);
    json!({
        "bytes": bytes,
        "done_bytes": done_bytes,
        "copied_bytes": copied_bytes,
        "elapsed_s": seconds,
        "bytes_per_second": rate.map(|rate| rate as u64),
        "left_s": rate.map(|rate| ((bytes - done_bytes) as f64 / rate).ceil() as u64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_once_there_is_a_rate() {
        let begun = CatchUpProgress { bytes: 4000, ..CatchUpProgress::default() };
        let shown = progress(&begun);
        assert_eq!((&shown["bytes_per_second"], &shown["left_s"]), (&Value::Null, &Value::Null));
        let shown = progress(&CatchUpProgress { done_bytes: 1000, elapsed_ms: 2000, ..begun });
        assert_eq!((&shown["bytes_per_second"], &shown["left_s"]), (&json!(500), &json!(6)));
    }
}
