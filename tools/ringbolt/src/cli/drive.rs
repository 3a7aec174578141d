//! `ringbolt drive`: the drives of a server that runs, and new ones that take the place of those that are lost.

use super::CliError;
use super::identify::{Shown, identify};
use super::redundancy::parse_drive_uuid;
use super::server::{ServerArgs, table};
use super::size::parse_size;
use clap::{Args, Subcommand};
use ringbolt_engine::node::{Purpose, ReplaceOptions, ReplaceReport};
use ringbolt_server::run::{human_size, replace_with_progress};
use ringbolt_tool_common::units::human_time;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks at a drive that is emptied.
const LOOK: Duration = Duration::from_secs(1);

/// Show the drives of a server, add, empty and replace them, and take them offline and online
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct DriveArgs {
    #[command(subcommand)]
    command: DriveCommand,
}

#[derive(Subcommand)]
enum DriveCommand {
    List(ListArgs),
    Identify(IdentifyArgs),
    Offline(OfflineArgs),
    Online(OnlineArgs),
    Replace(ReplaceArgs),
    Add(AddArgs),
    Drain(DrainArgs),
    Spread(SpreadArgs),
}

/// List the drives, how far those are that are brought up to date, and how many may be lost before data are
///
/// A running server is asked: through the socket in its data directory, or at its admin address.
///
/// States: `in` holds what it was given; `catching-up` was away or is new, and gets what it lacks; `left` failed, or
/// could not come back; `absent` was not given to this start; `gone` was named with --without-drive, or replaced, and
/// never comes back; `draining` is emptied, and `emptied` may be pulled, and never comes back.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive list
  ringbolt drive list --json | jq '.drives[] | select(.state != \"in\")'")]
struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Show which drive is meant: light the lamp of its slot, or read from it every other half second
///
/// Where the drive stands in an enclosure with lights (/sys/class/enclosure), the light of its slot is lit. Else the
/// drive is read in a pattern, half a second on and half a second off, which its own light shows. Run it on the
/// machine that has the drive. It only reads, and the server goes on. A light that stayed on because the command was
/// interrupted goes out when it is run again.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive identify 1                          drive 1 of `ringbolt drive list`
  ringbolt drive identify --path /dev/nvme1n1 --seconds 10
                                                     without a server")]
struct IdentifyArgs {
    /// Number of the drive, as `ringbolt drive list` has it
    #[arg(value_name = "NUMBER", required_unless_present = "path", conflicts_with = "path")]
    number: Option<u16>,
    /// Path of the drive, in place of its number
    #[arg(long, env = "RINGBOLT_PATH", value_name = "PATH")]
    path: Option<PathBuf>,
    /// How long it is shown, in seconds
    #[arg(
        long,
        env = "RINGBOLT_SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        value_name = "NUMBER"
    )]
    seconds: u64,
    #[command(flatten)]
    server: ServerArgs,
}

/// Take a drive out of use while the server runs, so that it may be pulled
///
/// The other drives get a view without it, and the server goes on as it does when a drive fails; no request fails.
/// When the command ends, nothing is sent to the drive any more. It is refused where the server can not go on without
/// the drive, and without --force where large objects could not be stored. `ringbolt drive online` gives it to the
/// server again, as the next start does; one that stays away is replaced with `ringbolt drive replace`.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive offline 1                           drive 1 of `ringbolt drive list`")]
struct OfflineArgs {
    /// Number of the drive, as `ringbolt drive list` has it
    #[arg(value_name = "NUMBER")]
    number: u16,
    /// Also where no objects above 64 KiB could be stored behind that, as on four drives with stripes 2+2 when one is
    /// out already
    #[arg(long, env = "RINGBOLT_FORCE")]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Give a drive to a server that runs: one that was away, or a new one
///
/// A drive that left because it failed, or that was taken offline or was absent at the start, gets what it lacks; one
/// that was made to take the place of another one is filled. The server writes to it from now on, and goes on as
/// before; `ringbolt drive list` says how far it is. Until it is `in`, it counts for nothing. Name it in the server's
/// list of drives too, for the next start. A server takes eight drives in this way until it is started again.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive online /dev/nvme2n1")]
struct OnlineArgs {
    /// Where the drive is, on the server's machine
    #[arg(value_name = "PATH")]
    path: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which drive is made, and for which set
#[derive(Args)]
struct MakeArgs {
    /// Without a server: drive of the set that is left, or is there; repeat for each
    #[arg(long, env = "RINGBOLT_DRIVE", value_name = "PATH", value_delimiter = ',')]
    drive: Vec<PathBuf>,
    /// Size of a file to make; a block device is used whole [default: that of the largest drive given]
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    size: Option<u64>,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Make a new drive that takes the place of one that is lost for good, and give it to the server
///
/// The lost drive is named by its number, and has to be out (`ringbolt drive offline`). The new one is made here, on
/// the server's machine, while the server goes on: a block device is cleared as a whole, which takes its time. Then
/// the server takes it, and copies what the lost one held; `ringbolt drive list` says how far that is. The lost drive
/// never comes back, and has to stay away.
///
/// Without a server, give it the drives that are left with --drive, which are only read. The next start takes the new
/// drive.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive replace 1 --new /dev/nvme3n1        drive 1 of `ringbolt drive list`
  ringbolt drive replace --drive /dev/sdb --new /dev/sdd
                                                     without a server: of a mirror of two, the other one is lost
  ringbolt drive replace --drive /dev/sdb --new /dev/sdd --lost 0b1d5a52-8f0c-4a58-9c63-0f6c2a9f3f10
                                                     several are not given, and this one is lost

A device that is mounted, or has a file system or a Ringbolt drive on it, is refused without --force.")]
struct ReplaceArgs {
    /// Number of the lost drive, as `ringbolt drive list` has it
    #[arg(value_name = "NUMBER", required_unless_present = "drive", conflicts_with = "lost")]
    number: Option<u16>,
    /// Block device or file that takes the place
    #[arg(long, value_name = "PATH")]
    new: PathBuf,
    /// The drive that is lost, as `ringbolt drive list` names it [default: the only one that is not given]
    #[arg(long, value_parser = parse_drive_uuid, value_name = "UUID")]
    lost: Option<[u8; 16]>,
    #[command(flatten)]
    make: MakeArgs,
}

/// Add a new drive to the set of a server that runs
///
/// The drive is made here, on the server's machine: a block device is cleared as a whole, which takes its time. Then
/// the server takes it. New large objects go where most room is, and so to the new drive first; and it becomes the
/// home of its share of shards, which takes what they hold of small objects (and, in a mirror, of all objects) with
/// it. Stripes of large objects that are there stay where they are, unless --spread moves its share of them too, as
/// `ringbolt drive spread` does later. Name it in the server's list of drives too, for the next start. A set without
/// redundancy takes no drives.
///
/// Without a server, give it all drives of the set with --drive, which are only read. The next start takes the new
/// one.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive add /dev/nvme3n1
  ringbolt drive add /dev/nvme3n1 --spread

A device that is mounted, or has a file system or a Ringbolt drive on it, is refused without --force.")]
struct AddArgs {
    /// Block device or file that is added
    #[arg(value_name = "PATH")]
    new: PathBuf,
    /// Move its share of the stripes that are there to it too
    #[arg(long, env = "RINGBOLT_SPREAD", conflicts_with = "drive")]
    spread: bool,
    #[command(flatten)]
    make: MakeArgs,
}

/// Empty a drive while the server runs, so that it may be pulled for good
///
/// All that it holds is moved to the other drives, and no copy is missing meanwhile. As many other drives have to be
/// in as the set needs, with room for it. The command says how far that is, and ends with the word that the drive may
/// be pulled; it may be interrupted, and the server goes on, also after a restart. The drive never comes back: format
/// it anew, or make it a drive of the set with --force.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive drain 1                             drive 1 of `ringbolt drive list`
  ringbolt drive drain 1 --no-wait
  ringbolt drive drain 1 --stop                      it stays, and what was moved stays where it is")]
struct DrainArgs {
    #[command(flatten)]
    moves: MoveArgs,
}

/// The drive that something is moved from or to, and whether that is waited for
#[derive(Args)]
struct MoveArgs {
    /// Number of the drive, as `ringbolt drive list` has it
    #[arg(value_name = "NUMBER")]
    number: u16,
    /// Do not wait until that is done
    #[arg(long, env = "RINGBOLT_NO_WAIT")]
    no_wait: bool,
    /// Move no more: a drive that was to be emptied stays
    #[arg(long, env = "RINGBOLT_STOP", conflicts_with = "no_wait")]
    stop: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Move stripes of large objects to a drive that was added, until it has its share by its size
///
/// New large objects go where most room is, so that a new drive has the more of them the longer it is there. This
/// moves stripes that are there too: always one member of a stripe from the drive that has the most for its size. No
/// copy is missing meanwhile. The command says how far that is; it may be interrupted, and the server goes on, also
/// after a restart.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt drive spread 6                            drive 6 of `ringbolt drive list`
  ringbolt drive spread 6 --no-wait
  ringbolt drive spread 6 --stop                     what was moved stays where it is")]
struct SpreadArgs {
    #[command(flatten)]
    moves: MoveArgs,
}

/// Does what the command line says.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers; or when no drive can take a place.
pub fn run(args: &DriveArgs) -> Result<(), CliError> {
    match &args.command {
        DriveCommand::List(args) => {
            let value = args.server.client()?.ask("GET", "drives", None)?;
            args.server.show(&value, text);
            Ok(())
        }
        DriveCommand::Identify(args) => show_drive(args),
        DriveCommand::Offline(args) => {
            let path = format!("drives/{}/offline", args.number);
            let value = args.server.client()?.ask("POST", &path, Some(&json!({ "force": args.force })))?;
            args.server.show(&value, |value| {
                let view = format!("{}.{}", value["view"]["epoch"], value["view"]["counter"]);
                format!("drive {} is out since view {view}, and may be pulled\n{}", args.number, text(value))
            });
            Ok(())
        }
        DriveCommand::Online(args) => {
            let value = take(&args.server, &args.path)?;
            args.server.show(&value, |value| {
                format!("{} is in, and is brought up to date\n{}", args.path.display(), text(value))
            });
            Ok(())
        }
        DriveCommand::Replace(args) => match args.number {
            Some(number) => replace_under_server(args, number),
            None => replace(args),
        },
        DriveCommand::Add(args) => add(args),
        DriveCommand::Drain(args) => drain(&args.moves),
        DriveCommand::Spread(args) => spread(&args.moves),
    }
}

fn show_drive(args: &IdentifyArgs) -> Result<(), CliError> {
    let path = match (&args.path, args.number) {
        (Some(path), _) => path.clone(),
        (None, number) => {
            let value = args.server.client()?.ask("GET", "drives", None)?;
            let number = number.unwrap_or_default();
            let path = numbered(&value, number).and_then(|drive| drive["path"].as_str());
            PathBuf::from(path.ok_or(CliError::NotHere { number })?)
        }
    };
    eprintln!("{}: shown for {}", path.display(), human_time(args.seconds));
    let shown = identify(&path, Duration::from_secs(args.seconds));
    match shown.map_err(|source| CliError::Identify { path: path.display().to_string(), source })? {
        Shown::Light(light) => println!("{} was lit", light.display()),
        Shown::Reads => println!("it has no light of a slot, and was read every other half second"),
    }
    Ok(())
}

/// Has the server take a drive, and returns what it says of its drives.
fn take(server: &ServerArgs, path: &Path) -> Result<Value, CliError> {
    // The server may have another working directory.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(server.client()?.ask("POST", "drives/online", Some(&json!({ "path": path })))?)
}

/// Returns the drives that a server shows.
fn drives_of(value: &Value) -> &[Value] {
    value["drives"].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the drive with a number.
fn numbered(value: &Value, number: u16) -> Option<&Value> {
    drives_of(value).iter().find(|drive| drive["number"].as_u64() == Some(number.into()))
}

/// Returns the paths of the drives that are in the view.
fn in_use(value: &Value) -> Vec<&Path> {
    let used = drives_of(value).iter().filter(|drive| is_used(drive));
    used.filter_map(|drive| drive["path"].as_str()).map(Path::new).collect()
}

fn is_used(drive: &Value) -> bool {
    matches!(drive["state"].as_str(), Some("in" | "catching-up" | "draining"))
}

/// Makes a drive that takes the place of one that the server has lost, and has the server take it.
fn replace_under_server(args: &ReplaceArgs, number: u16) -> Result<(), CliError> {
    let value = args.make.server.client()?.ask("GET", "drives", None)?;
    let lost = numbered(&value, number).ok_or(CliError::NotHere { number })?;
    if is_used(lost) {
        return Err(CliError::NotLost { number });
    }
    let uuid = lost["uuid"].as_str().and_then(ringbolt_engine::node::parse_uuid);
    let made = make(&in_use(&value), &args.new, &args.make, Purpose::Replace(uuid))?;
    let value = take(&args.make.server, &args.new)?;
    args.make.server.show(&value, |value| {
        let (new, number) = (args.new.display(), made.number);
        let place =
            made.replaced.map(|(replaced, _)| format!(", in place of drive {replaced}")).unwrap_or_default();
        format!(
            "{new} is drive {number}{place}, and is filled; name it in the server's list of drives\n{}",
            text(value)
        )
    });
    Ok(())
}

fn make(
    set: &[&Path],
    new: &Path,
    MakeArgs { size, force, .. }: &MakeArgs,
    purpose: Purpose,
) -> Result<ReplaceReport, CliError> {
    let options = ReplaceOptions { purpose, size_bytes: *size, force: *force, ..ReplaceOptions::default() };
    Ok(replace_with_progress(set, new, options)?)
}

fn replace(args: &ReplaceArgs) -> Result<(), CliError> {
    let set: Vec<&Path> = args.make.drive.iter().map(PathBuf::as_path).collect();
    let made = make(&set, &args.new, &args.make, Purpose::Replace(args.lost))?;
    say_made(&args.new, &made);
    if let Some((replaced, uuid)) = &made.replaced {
        println!(
            "it takes the place of drive {replaced}, {uuid}, which has to stay away from now on: what it may hold beside \
             the others is lost"
        );
        println!(
            "start the server again with it: {} --without-drive {uuid}",
            serve_with(&args.make.drive, &args.new)
        );
    }
    Ok(())
}

fn say_made(new: &Path, made: &ReplaceReport) {
    let (size, uuid) = (human_size(made.drive.size_bytes), &made.drive.drive_uuid);
    println!("{}: {size}, drive {} of the set, {uuid}", new.display(), made.number);
}

fn serve_with(drives: &[PathBuf], new: &Path) -> String {
    let drives = drives.iter().map(PathBuf::as_path).chain([new]);
    let flags: String = drives.map(|path| format!(" --drive {}", path.display())).collect();
    format!("ringbolt serve{flags}")
}

/// Makes a drive that is added, and has the server take it, if there is one.
fn add(args: &AddArgs) -> Result<(), CliError> {
    if !args.make.drive.is_empty() {
        let set: Vec<&Path> = args.make.drive.iter().map(PathBuf::as_path).collect();
        let made = make(&set, &args.new, &args.make, Purpose::Add)?;
        say_made(&args.new, &made);
        println!("start the server again with it: {}", serve_with(&args.make.drive, &args.new));
        return Ok(());
    }
    let value = args.make.server.client()?.ask("GET", "drives", None)?;
    let made = make(&in_use(&value), &args.new, &args.make, Purpose::Add)?;
    let mut value = take(&args.make.server, &args.new)?;
    if args.spread {
        let path = format!("drives/{}/spread", made.number);
        value = args.make.server.client()?.ask("POST", &path, None)?;
    }
    args.make.server.show(&value, |value| {
        let (new, number) = (args.new.display(), made.number);
        format!("{new} is drive {number}; name it in the server's list of drives\n{}", text(value))
    });
    Ok(())
}

/// Has the server empty a drive, and waits until it may be pulled.
fn drain(args: &MoveArgs) -> Result<(), CliError> {
    let number = args.number;
    let has_ended = |drive: Option<&Value>| match drive.and_then(|drive| drive["state"].as_str()) {
        Some("draining") => Ok(false),
        Some("emptied") => Ok(true),
        state => Err(CliError::NotEmpty { number, state: state.unwrap_or("gone").to_owned() }),
    };
    let Some(value) = moved(args, "drain", has_ended)? else { return Ok(()) };
    args.server.show(&value, |value| {
        format!(
            "drive {number} is empty, and may be pulled; leave it out of the server's list of drives\n{}",
            text(value)
        )
    });
    Ok(())
}

/// Has the server move old stripes to a drive, and waits until it has its share.
fn spread(args: &MoveArgs) -> Result<(), CliError> {
    let number = args.number;
    let has_ended = |drive: Option<&Value>| match drive {
        Some(drive) if !is_used(drive) => {
            Err(CliError::NotSpread { number, state: drive["state"].as_str().unwrap_or("gone").to_owned() })
        }
        drive => Ok(!drive.is_some_and(|drive| drive["spreads"] == true)),
    };
    let Some(value) = moved(args, "spread", has_ended)? else { return Ok(()) };
    args.server.show(&value, |value| format!("drive {number} has its share of stripes\n{}", text(value)));
    Ok(())
}

/// Begins or ends what the server moves from or to a drive. Says how far that is until it has ended, and returns what
/// the server says of its drives then; `None` if it is not waited for.
#[expect(clippy::disallowed_methods, reason = "the command has nothing else to do than to ask again")]
fn moved(
    MoveArgs { number, no_wait, stop, server }: &MoveArgs,
    what: &str,
    has_ended: impl Fn(Option<&Value>) -> Result<bool, CliError>,
) -> Result<Option<Value>, CliError> {
    let client = server.client()?;
    let path = format!("drives/{number}/{what}");
    let mut value = client.ask(if *stop { "DELETE" } else { "POST" }, &path, None)?;
    if *stop || *no_wait {
        server.show(&value, text);
        return Ok(None);
    }
    let mut said = String::new();
    loop {
        let drive = numbered(&value, *number);
        if has_ended(drive)? {
            return Ok(Some(value));
        }
        let line =
            drive.map(|drive| drained(&drive["catch_up"], drive["reason"].as_str())).unwrap_or_default();
        if line != said {
            eprintln!("{line}");
            said = line;
        }
        std::thread::sleep(LOOK);
        value = client.ask("GET", "drives", None)?;
    }
}

/// Says how far a drive is that is emptied, or gets its share.
fn drained(progress: &Value, reason: Option<&str>) -> String {
    let number = |name: &str| progress[name].as_u64().unwrap_or(0);
    let percent = 100 * number("done_bytes") / number("bytes").max(1);
    let mut text = format!("{percent}% of {} moved", human_size(number("bytes")));
    text.push_str(&rate(progress));
    reason.into_iter().for_each(|reason| text.push_str(&format!("; {reason}")));
    text
}

fn text(value: &Value) -> String {
    let drives = drives_of(value);
    let copies = value["copies"].as_u64().unwrap_or(1);
    let copies = if copies == 1 { "one copy".to_owned() } else { format!("{copies} copies") };
    let kept = match value["data_members"].as_u64() {
        Some(data) if data > 1 => {
            let parity = value["copies"].as_u64().unwrap_or(1).saturating_sub(1);
            format!("stripes {data}+{parity} of large objects, {copies} of everything else")
        }
        _ => format!("{copies} of everything"),
    };
    let mut text = format!("view {}.{}, {kept}\n", value["view"]["epoch"], value["view"]["counter"]);
    let mut rows = vec![words(["DRIVE", "STATE", "SIZE", "FREE", "SHARDS", "WHERE", "UUID"])];
    rows.extend(drives.iter().map(row));
    text.push_str(&table(&rows, &[0, 2, 3, 4]));
    for drive in drives {
        if let Some(replaced) = drive["replaces"].as_u64() {
            text.push_str(&format!("drive {} has taken the place of drive {replaced}\n", drive["number"]));
        }
        if let Some(reason) = drive["reason"].as_str() {
            text.push_str(&format!("drive {}: {reason}\n", drive["number"]));
        }
        if drive["catch_up"].is_object() {
            let how_far = match drive["state"].as_str() {
                Some("draining") => drained(&drive["catch_up"], None),
                Some("in") => format!("its share of old stripes: {}", drained(&drive["catch_up"], None)),
                _ => progress(&drive["catch_up"]),
            };
            text.push_str(&format!("drive {}: {how_far}\n", drive["number"]));
        }
    }
    let survives = value["bytes_by_losses_survived"].as_array().map_or(&[][..], Vec::as_slice);
    for level in survives.iter().rev() {
        let (drives, bytes) = (level["drives"].as_u64().unwrap_or(0), level["bytes"].as_u64().unwrap_or(0));
        if bytes > 0 {
            text.push_str(&format!("{} {}\n", human_size(bytes), survived(drives)));
        }
    }
    text
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

fn row(drive: &Value) -> Vec<String> {
    let is_there = drive["path"].is_string();
    let size = |name: &str| match is_there {
        true => human_size(drive[name].as_u64().unwrap_or(0)),
        false => String::new(),
    };
    let shards = if is_there { drive["shards"].to_string() } else { String::new() };
    let word = |name: &str| drive[name].as_str().unwrap_or_default().to_owned();
    let (size, free) = (size("size_bytes"), size("free_bytes"));
    vec![drive["number"].to_string(), word("state"), size, free, shards, word("path"), word("uuid")]
}

fn progress(progress: &Value) -> String {
    let number = |name: &str| progress[name].as_u64().unwrap_or(0);
    let percent = 100 * number("done_bytes") / number("bytes").max(1);
    let mut text = format!(
        "{percent}% of {} gone through, {} copied",
        human_size(number("bytes")),
        human_size(number("copied_bytes"))
    );
    text.push_str(&rate(progress));
    text
}

/// Says how fast something goes, and how long it takes yet, once that is known.
fn rate(progress: &Value) -> String {
    match (progress["bytes_per_second"].as_u64(), progress["left_s"].as_u64()) {
        (Some(rate), Some(left)) => format!(", {}/s, about {} left", human_size(rate), human_time(left)),
        _ => String::new(),
    }
}

fn survived(drives: u64) -> String {
    match drives {
        0 => "are lost with the next drive that fails".to_owned(),
        1 => "survive the loss of any drive".to_owned(),
        _ => format!("survive the loss of any {drives} drives"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_with_a_drive_stands_below() {
        let drive = |number: u64, state: &str, path: Option<&str>| {
            json!({ "number": number, "uuid": "7d444840", "state": state, "reason": null, "path": path,
                "size_bytes": 1 << 30, "free_bytes": 1 << 29, "shards": 8, "catch_up": null })
        };
        let mut drives = [
            drive(0, "in", Some("/dev/a")),
            drive(1, "catching-up", Some("/dev/b")),
            drive(2, "absent", None),
        ];
        drives[1]["replaces"] = json!(3);
        drives[1]["catch_up"] = json!({ "bytes": 4 << 20, "done_bytes": 1 << 20, "copied_bytes": 4096,
            "elapsed_s": 2.0, "bytes_per_second": 512 << 10, "left_s": 6 });
        let mut value = json!({ "view": { "epoch": 7, "counter": 2 }, "copies": 2, "drives": drives,
            "bytes_by_losses_survived": [{ "drives": 0, "bytes": 2 << 20 }, { "drives": 1, "bytes": 0 }] });
        let expected = "view 7.2, 2 copies of everything\n\
            DRIVE  STATE           SIZE       FREE  SHARDS  WHERE   UUID\n    \
            0  in           1.0 GiB  512.0 MiB       8  /dev/a  7d444840\n    \
            1  catching-up  1.0 GiB  512.0 MiB       8  /dev/b  7d444840\n    \
            2  absent                                           7d444840\n\
            drive 1 has taken the place of drive 3\n\
            drive 1: 25% of 4.0 MiB gone through, 4.0 KiB copied, 512.0 KiB/s, about 6 s left\n\
            2.0 MiB are lost with the next drive that fails\n";
        assert_eq!(text(&value), expected);
        value["data_members"] = json!(4);
        value["copies"] = json!(3);
        let stripes = "view 7.2, stripes 4+2 of large objects, 3 copies of everything else\n";
        assert!(text(&value).starts_with(stripes));
    }
}
