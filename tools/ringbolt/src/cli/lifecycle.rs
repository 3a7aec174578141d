//! `ringbolt lifecycle`: what the rules of a bucket would do.

use super::server::{ServerArgs, table};
use crate::admin::AdminError;
use clap::{Args, Subcommand};
use ringbolt_server::run::human_size;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The reason why a preview was not made.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error("can not read the rules in {}: {source}", path.display())]
    Rules { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Show what the lifecycle rules of a bucket would remove
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct LifecycleArgs {
    #[command(subcommand)]
    command: LifecycleCommand,
}

#[derive(Subcommand)]
enum LifecycleCommand {
    Preview(PreviewArgs),
}

/// Show what rules would do with a bucket now, and change nothing
///
/// Rules are judged by the versions, tags and locks of now. What is locked stays, and is counted apart.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt lifecycle preview photos                      by the rules that the bucket has
  ringbolt lifecycle preview photos --rules rules.xml    by others, before they are set
  ringbolt lifecycle preview photos --examples 3 --json | jq .due

A file of rules has the document of PutBucketLifecycleConfiguration:
  <LifecycleConfiguration><Rule><ID>tmp</ID><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status>
  <Expiration><Days>7</Days></Expiration></Rule></LifecycleConfiguration>")]
struct PreviewArgs {
    /// Name of the bucket
    name: String,
    /// File with rules to try in place of the bucket's own
    #[arg(long, env = "RINGBOLT_RULES", value_name = "FILE")]
    rules: Option<PathBuf>,
    /// How many of what is due are named, by key
    #[arg(long, env = "RINGBOLT_EXAMPLES", default_value_t = 10, value_name = "NUMBER")]
    examples: u32,
    #[command(flatten)]
    server: ServerArgs,
}

/// Does what the command line says.
///
/// # Errors
/// Fails with what the server says is wrong, when none answers, or when the file can not be read.
pub fn run(args: &LifecycleArgs) -> Result<(), LifecycleError> {
    let LifecycleCommand::Preview(args) = &args.command;
    let mut body = json!({ "examples": args.examples });
    if let Some(path) = &args.rules {
        let read = std::fs::read_to_string(path);
        let rules = read.map_err(|source| LifecycleError::Rules { path: path.clone(), source })?;
        body["rules"] = Value::from(rules);
    }
    let path = format!("{}/lifecycle/preview", super::bucket::path(&args.name));
    let value = args.server.client()?.ask("POST", &path, Some(&body))?;
    args.server.show(&value, text);
    Ok(())
}

fn text(value: &Value) -> String {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    let due = list("due");
    let (examined, locked) = (number(&value["examined"]), number(&value["locked"]));
    let mut text = format!("{}: {examined} versions and uploads looked at", word(&value["bucket"]));
    text += if due.is_empty() { ", nothing is due\n" } else { "\n\n" };
    if !due.is_empty() {
        let mut rows = vec![["RULE", "ACTION", "NUMBER", "SIZE"].map(str::to_owned).to_vec()];
        rows.extend(due.iter().map(|due| {
            let size = human_size(number(&due["bytes"]));
            vec![word(&due["rule"]), word(&due["action"]), number(&due["versions"]).to_string(), size]
        }));
        text += &table(&rows, &[2, 3]);
    }
    if locked > 0 {
        text += &format!("\n{locked} versions are due and stay, because they are locked\n");
    }
    let examples = list("examples");
    if !examples.is_empty() {
        text.push('\n');
        let mut rows = vec![["FOR EXAMPLE", "SIZE", "ACTION", "RULE"].map(str::to_owned).to_vec()];
        rows.extend(examples.iter().map(|one| {
            let size = human_size(number(&one["bytes"]));
            vec![word(&one["key"]), size, word(&one["action"]), word(&one["rule"])]
        }));
        text += &table(&rows, &[1]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_shows_rules_examples_and_what_is_locked() {
        let value = json!({
            "bucket": "photos", "examined": 12, "locked": 2,
            "due": [{ "rule": "tmp", "action": "remove the object", "versions": 3, "bytes": 4096 }],
            "examples": [{ "key": "tmp/a", "bytes": 1024, "action": "remove the object", "rule": "tmp" }],
        });
        let text = text(&value);
        for part in ["photos: 12 versions and uploads", "4.0 KiB", "2 versions are due and stay", "tmp/a"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let nothing = json!({ "bucket": "photos", "examined": 0, "locked": 0, "due": [], "examples": [] });
        assert_eq!(super::text(&nothing), "photos: 0 versions and uploads looked at, nothing is due\n");
    }
}
