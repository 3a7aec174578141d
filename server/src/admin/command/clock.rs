//! Commands about the clock by which retentions are judged.

use super::answer::Failure;
use crate::unix_time::now_ms;
use ringbolt_engine::node::Core;
use serde_json::{Value, json};

/// Shows the time by which retentions are judged, and whether the machine's clock is believed.
///
/// # Errors
/// Returns the engine's failure.
pub async fn show(core: &Core) -> Result<Value, Failure> {
    let wall_ms = now_ms();
    let reading = core.lock_time().await?;
    Ok(json!({
        "anything_was_locked": reading.is_some(),
        "judged_by_ms": reading.map_or(wall_ms, |reading| reading.now_ms),
        "wall_clock_ms": wall_ms,
        "ahead_ms": reading.map_or(0, |reading| reading.ahead_ms),
        "is_believed": reading.is_none_or(|reading| reading.ahead_ms == 0),
    }))
}

/// Makes retentions be judged by the machine's clock as it is.
///
/// # Errors
/// Returns a failure when a shard writes no more.
pub async fn confirm(core: &Core) -> Result<Value, Failure> {
    core.confirm_clock().await?;
    tracing::warn!("an operator confirmed the clock: retentions are judged by it as it is now");
    show(core).await
}
