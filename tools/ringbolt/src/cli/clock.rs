//! `ringbolt clock`: the time by which retentions are judged.

use super::server::{ServerArgs, table};
use crate::admin::AdminError;
use clap::{Args, Subcommand};
use ringbolt_tool_common::date;
use serde_json::Value;

/// Show or confirm the time by which retentions of object lock are judged
///
/// A server does not believe a clock that steps far ahead, because that would end retentions. If the machine was off
/// for long, or its clock was wrong and is right now, confirm it.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct ClockArgs {
    #[command(subcommand)]
    command: ClockCommand,
}

#[derive(Subcommand)]
enum ClockCommand {
    Show(ShowArgs),
    Confirm(ConfirmArgs),
}

/// Show the time by which retentions are judged, the machine's clock, and whether it is believed
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt clock show
  ringbolt clock show --json | jq .is_believed")]
struct ShowArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Judge retentions by the machine's clock as it is now
///
/// Look at `ringbolt clock show` and at a clock that you trust first: what ends by this stays ended.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt clock confirm
  RINGBOLT_ACCESS_KEY=… RINGBOLT_SECRET_KEY=… ringbolt clock confirm --admin http://127.0.0.1:9001")]
struct ConfirmArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Does what the command line says.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers.
pub fn run(args: &ClockArgs) -> Result<(), AdminError> {
    let (server, method, path) = match &args.command {
        ClockCommand::Show(args) => (&args.server, "GET", "clock"),
        ClockCommand::Confirm(args) => (&args.server, "POST", "clock/confirm"),
    };
    let value = server.client()?.ask(method, path, None)?;
    server.show(&value, text);
    Ok(())
}

fn text(value: &Value) -> String {
    let time = |name: &str| date::text(value[name].as_u64().unwrap_or_default() / 1000) + " UTC";
    let ahead_h = value["ahead_ms"].as_u64().unwrap_or_default() / 3_600_000;
    let believed = match (value["is_believed"].as_bool(), value["anything_was_locked"].as_bool()) {
        (_, Some(false)) => "yes: nothing was ever locked".to_owned(),
        (Some(true), _) => "yes".to_owned(),
        _ => format!("no: it is {ahead_h} hours ahead; if it is right, run `ringbolt clock confirm`"),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    table(
        &[
            row("retentions are judged by", time("judged_by_ms")),
            row("the machine's clock", time("wall_clock_ms")),
            row("it is believed", believed),
        ],
        &[],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_clock_that_is_not_believed_says_what_to_do() {
        let value = json!({
            "anything_was_locked": true, "judged_by_ms": 0, "wall_clock_ms": 951_782_400_000_u64,
            "ahead_ms": 50 * 3_600_000, "is_believed": false,
        });
        let text = text(&value);
        assert!(text.contains("judged by  Thu Jan  1 00:00:00 1970 UTC"), "{text}");
        assert!(
            text.contains("no: it is 50 hours ahead; if it is right, run `ringbolt clock confirm`"),
            "{text}"
        );
    }
}
