//! `ringbolt bucket`: what buckets hold, their quotas, emptying and deleting them.
//!
//! Invariant: whoever empties a bucket or deletes it with what it holds is asked on a terminal, and has to say `--yes`
//! elsewhere.

use super::server::{ServerArgs, table};
use super::size::parse_size;
use crate::admin::{AdminError, Client};
use clap::{Args, Subcommand};
use ringbolt_server::run::human_size;
use ringbolt_tool_common::date;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

/// List buckets, show what they hold, limit, empty and delete them
///
/// A running server is asked: through the socket in its data directory, or at its admin address.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct BucketArgs {
    #[command(subcommand)]
    command: BucketCommand,
}

#[derive(Subcommand)]
enum BucketCommand {
    List(ListArgs),
    Show(ShowArgs),
    Quota(QuotaArgs),
    Empty(EmptyArgs),
    Delete(DeleteArgs),
}

/// List all buckets with what they hold and may hold
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt bucket list                        the buckets of the server that has ./ringbolt-data
  ringbolt bucket list --data /srv/ringbolt   of another one on this machine
  RINGBOLT_ACCESS_KEY=… RINGBOLT_SECRET_KEY=… ringbolt bucket list --admin http://127.0.0.1:9001
                                              of one anywhere, with its root key
  ringbolt bucket list --json | jq .buckets")]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Show one bucket
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt bucket show photos
  ringbolt bucket show photos --json | jq .usage.bytes")]
struct ShowArgs {
    /// Name of the bucket
    name: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show what a bucket may hold, or set or remove the limit
///
/// Both limits count all versions of objects, and no delete markers. Parts of uploads count once the upload is
/// completed. Puts above the quota are refused (403 QuotaExceeded); what does not grow the bucket passes.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt bucket quota photos --bytes 10GiB --versions 1000000
  ringbolt bucket quota photos --bytes 1TiB   the versions have no limit then
  ringbolt bucket quota photos                shows it
  ringbolt bucket quota photos --none")]
struct QuotaArgs {
    /// Name of the bucket
    name: String,
    /// The most bytes of all versions together, as in 10GiB
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    bytes: Option<u64>,
    /// The most versions that are objects
    #[arg(long, value_name = "NUMBER")]
    versions: Option<u64>,
    /// Remove the limit
    #[arg(long, conflicts_with_all = ["bytes", "versions"])]
    none: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Remove everything that a bucket holds: all versions, delete markers, and uploads in progress
///
/// Versions under a legal hold or a retention stay; they are named, and the status is 1 then. The bucket takes requests
/// meanwhile; what others put while this runs may stay.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt bucket empty scratch --yes         without --yes it asks first, on a terminal")]
struct EmptyArgs {
    /// Name of the bucket
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Delete a bucket, which must be empty without --force
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt bucket delete scratch              if it is empty
  ringbolt bucket delete old-photos --force --yes
                                              with everything that it holds, if nothing of that is locked")]
struct DeleteArgs {
    /// Name of the bucket
    name: String,
    /// Empty it first
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Does what the command line says.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers.
pub fn run(args: &BucketArgs) -> Result<ExitCode, AdminError> {
    match &args.command {
        BucketCommand::List(args) => {
            args.server.show(&args.server.client()?.ask("GET", "buckets", None)?, list_text);
        }
        BucketCommand::Show(args) => {
            args.server.show(&args.server.client()?.ask("GET", &path(&args.name), None)?, bucket_text);
        }
        BucketCommand::Quota(args) => quota(args)?,
        BucketCommand::Empty(args) => return empty(args),
        BucketCommand::Delete(args) => return delete(args),
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the path of a bucket. What no name of a bucket has is left out of it, so that another path is never meant.
pub fn path(name: &str) -> String {
    let plain = |character: &char| character.is_ascii_alphanumeric() || "-._".contains(*character);
    let name: String =
        name.chars().map(|character| if plain(&character) { character } else { '_' }).collect();
    format!("buckets/{name}")
}

fn quota(args: &QuotaArgs) -> Result<(), AdminError> {
    let (client, path) = (args.server.client()?, path(&args.name));
    let limits = [("bytes", args.bytes), ("versions", args.versions)];
    let body: Value =
        limits.into_iter().filter_map(|(name, limit)| Some((name.to_owned(), Value::from(limit?)))).collect();
    let value = match (args.none, args.bytes.or(args.versions)) {
        (true, _) => client.ask("DELETE", &format!("{path}/quota"), None)?,
        (false, Some(_)) => client.ask("PUT", &format!("{path}/quota"), Some(&body))?,
        (false, None) => client.ask("GET", &path, None)?,
    };
    let shown = json!({ "name": value["name"], "quota": value["quota"], "usage": value["usage"] });
    args.server.show(&shown, quota_text);
    Ok(())
}

/// What emptying a bucket has done.
#[derive(Default)]
struct Emptied {
    versions: u64,
    markers: u64,
    uploads: u64,
    locked: u64,
    locked_versions: Vec<Value>,
}

impl Emptied {
    fn add(&mut self, step: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        self.versions += number(&step["removed"]["versions"]);
        self.markers += number(&step["removed"]["delete_markers"]);
        self.uploads += number(&step["removed"]["uploads"]);
        self.locked += number(&step["locked"]);
        self.locked_versions.extend(step["locked_versions"].as_array().into_iter().flatten().cloned());
    }

    fn json(&self) -> Value {
        json!({
            "removed": {
                "versions": self.versions, "delete_markers": self.markers, "uploads": self.uploads,
            },
            "locked": self.locked,
            "locked_versions": self.locked_versions,
        })
    }

    fn text(&self, name: &str) -> String {
        let mut text = format!(
            "{name}: removed {} versions, {} delete markers and {} uploads\n",
            self.versions, self.markers, self.uploads
        );
        for version in &self.locked_versions {
            let (key, id) = (version["key"].as_str(), version["version_id"].as_str());
            text += &format!("locked, and stays: {} (version {})\n", key.unwrap_or("?"), id.unwrap_or("?"));
        }
        let more = self.locked - (self.locked_versions.len() as u64).min(self.locked);
        if more > 0 {
            text += &format!("locked, and stay: {more} more versions\n");
        }
        text
    }
}

/// A line on the terminal about how far emptying a bucket is.
struct ProgressLine {
    wanted: bool,
    all: u64,
}

impl ProgressLine {
    fn show(&self, emptied: &Emptied) {
        if self.wanted {
            let done = emptied.versions + emptied.markers + emptied.locked;
            eprint!("\r\x1b[K  {done} of about {}", self.all.max(done));
            // A line that can not be shown does not fail the command.
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.wanted {
            eprint!("\r\x1b[K");
        }
    }
}

/// Asks the server for one step after the other, until nothing is left that can be removed.
fn empty_all(client: &Client, path: &str) -> Result<Emptied, AdminError> {
    let usage = client.ask("GET", path, None)?;
    let count = |name: &str| usage["usage"][name].as_u64().unwrap_or_default();
    let line = ProgressLine {
        wanted: std::io::stderr().is_terminal(),
        all: count("versions") + count("delete_markers"),
    };
    let mut emptied = Emptied::default();
    let mut after = Value::Null;
    loop {
        let step = client.ask("POST", &format!("{path}/empty"), Some(&json!({ "after": after })))?;
        emptied.add(&step);
        line.show(&emptied);
        if step["more"] != true {
            return Ok(emptied);
        }
        after = step["next"].clone();
    }
}

fn empty(args: &EmptyArgs) -> Result<ExitCode, AdminError> {
    let (client, path) = (args.server.client()?, path(&args.name));
    if !may_go_on(args.yes, &client, &path, &args.name, "Remove everything in")? {
        return Ok(ExitCode::FAILURE);
    }
    let emptied = empty_all(&client, &path)?;
    args.server.show(&emptied.json(), |_| emptied.text(&args.name));
    Ok(if emptied.locked > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn delete(args: &DeleteArgs) -> Result<ExitCode, AdminError> {
    let (client, path) = (args.server.client()?, path(&args.name));
    if args.force {
        if !may_go_on(args.yes, &client, &path, &args.name, "Delete, with everything in it,")? {
            return Ok(ExitCode::FAILURE);
        }
        let emptied = empty_all(&client, &path)?;
        if emptied.locked > 0 {
            args.server.show(&emptied.json(), |_| {
                format!("{}the bucket stays, because what is locked keeps it\n", emptied.text(&args.name))
            });
            return Ok(ExitCode::FAILURE);
        }
    }
    let deleted = client.ask("DELETE", &path, None)?;
    args.server.show(&deleted, |_| format!("{}: deleted\n", args.name));
    Ok(ExitCode::SUCCESS)
}

/// Asks whether to go on, after showing what is in the bucket.
fn may_go_on(yes: bool, client: &Client, path: &str, name: &str, does: &str) -> Result<bool, AdminError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        eprintln!("ringbolt: nobody is here to ask; add --yes if everything in {name} shall be removed");
        return Ok(false);
    }
    let usage = client.ask("GET", path, None)?["usage"].clone();
    let bytes = human_size(usage["bytes"].as_u64().unwrap_or_default());
    eprint!("{does} {name}, {} versions with {bytes}? [y/N] ", usage["versions"]);
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    // Who can not answer does not agree.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn size(value: &Value) -> String {
    human_size(value.as_u64().unwrap_or_default())
}

/// Returns the day on which a bucket was made.
fn day(bucket: &Value) -> String {
    date::utc(bucket["created_ms"].as_u64().unwrap_or_default() / 1000).date().to_string()
}

fn quota_words(quota: &Value) -> String {
    let bytes = quota["bytes"].as_u64().map(human_size);
    let versions = quota["versions"].as_u64().map(|versions| format!("{versions} versions"));
    let words: Vec<String> = bytes.into_iter().chain(versions).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

fn on_or_off(value: &Value) -> &'static str {
    if value == true { "on" } else { "off" }
}

fn list_text(value: &Value) -> String {
    let titles = ["NAME", "OBJECTS", "VERSIONS", "MARKERS", "SIZE", "QUOTA", "VERSIONING", "LOCK", "CREATED"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for bucket in value["buckets"].as_array().into_iter().flatten() {
        let usage = &bucket["usage"];
        rows.push(vec![
            word(&bucket["name"]),
            usage["objects"].to_string(),
            usage["versions"].to_string(),
            usage["delete_markers"].to_string(),
            size(&usage["bytes"]),
            quota_words(&bucket["quota"]),
            word(&bucket["versioning"]),
            on_or_off(&bucket["object_lock"]).to_owned(),
            day(bucket),
        ]);
    }
    table(&rows, &[1, 2, 3, 4])
}

fn bucket_text(bucket: &Value) -> String {
    let usage = &bucket["usage"];
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    table(
        &[
            row("name", word(&bucket["name"])),
            row("owner", word(&bucket["owner"])),
            row("created", day(bucket)),
            row("objects", usage["objects"].to_string()),
            row("versions", usage["versions"].to_string()),
            row("delete markers", usage["delete_markers"].to_string()),
            row("size of all versions", size(&usage["bytes"])),
            row("quota", quota_words(&bucket["quota"])),
            row("versioning", word(&bucket["versioning"])),
            row("object lock", on_or_off(&bucket["object_lock"]).to_owned()),
        ],
        &[],
    )
}

fn quota_text(value: &Value) -> String {
    let usage = &value["usage"];
    format!(
        "{}: quota {}; it holds {} in {} versions\n",
        word(&value["name"]),
        quota_words(&value["quota"]),
        size(&usage["bytes"]),
        usage["versions"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photos(quota: Value) -> Value {
        json!({
            "name": "photos", "owner": "1", "created_ms": 951_782_400_000_u64, "versioning": "enabled",
            "object_lock": false, "quota": quota,
            "usage": { "objects": 1, "versions": 20, "delete_markers": 3, "bytes": 4096 },
        })
    }

    #[test]
    fn people_read_sizes_and_days() {
        let list = json!({ "buckets": [photos(json!({ "bytes": 10_u64 << 30, "versions": null }))] });
        let text = list_text(&list);
        let line = text.lines().nth(1).unwrap();
        let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let expected = ["photos", "1", "20", "3", "4.0 KiB", "10.0 GiB", "enabled", "off", "2000-02-29"];
        assert_eq!(words, expected, "{text}");
        assert!(bucket_text(&photos(Value::Null)).contains("quota                 none\n"));
        let both = quota_text(&photos(json!({ "bytes": 1, "versions": 7 })));
        assert_eq!(both, "photos: quota 1 B, 7 versions; it holds 4.0 KiB in 20 versions\n");
    }

    #[test]
    fn no_name_leads_to_another_path() {
        assert_eq!(path("photos.2026-01"), "buckets/photos.2026-01");
        assert_eq!(path("a/quota?b c"), "buckets/a_quota_b_c");
    }

    #[test]
    fn steps_add_up_and_what_is_locked_is_named() {
        let step = json!({
            "removed": { "versions": 10, "delete_markers": 2, "uploads": 1 }, "locked": 3,
            "locked_versions": [{ "key": "a", "version_id": "null" }], "more": false, "next": null,
        });
        let mut emptied = Emptied::default();
        emptied.add(&step);
        emptied.add(&step);
        let text = emptied.text("b");
        assert!(text.starts_with("b: removed 20 versions, 4 delete markers and 2 uploads\n"), "{text}");
        assert!(
            text.contains("stays: a (version null)\n") && text.contains("stay: 4 more versions\n"),
            "{text}"
        );
        assert_eq!(emptied.json()["locked"], 6);
    }
}
