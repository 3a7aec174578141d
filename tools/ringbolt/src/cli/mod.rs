//! The commands of `ringbolt`: flags in, text out.
//!
//! Invariant: every flag has an environment variable of the same name with `RINGBOLT_` before it, except for those of
//! `bench` and `plan`; secrets are taken from files or the environment, as a command line can be seen by all.

mod bucket;
mod clock;
pub mod config;
mod drive;
mod duration;
mod identify;
mod identity;
mod lifecycle;
mod redundancy;
mod server;
mod size;
mod tls;

use self::bucket::BucketArgs;
use self::clock::ClockArgs;
use self::config::{Again, ConfigArgs, ConfigError, Settings};
use self::drive::DriveArgs;
use self::duration::{parse_duration_ms, parse_duration_or_off, parse_time_out_ms};
use self::identity::{AccountArgs, GroupArgs, IdentityCliError, KeyArgs, PolicyArgs, UserArgs};
use self::lifecycle::{LifecycleArgs, LifecycleError};
use self::redundancy::{parse_drive_uuid, parse_redundancy, redundancy_text};
use self::size::{
    CountOrOff, CpuList, parse_count, parse_count_or_off, parse_cpus, parse_size, parse_size_or_off,
};
use self::tls::{TlsArgs, TlsError};
use crate::admin::AdminError;
use crate::disk::check::{self, CheckArgs};
use crate::log::WithRequest;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ringbolt_engine::node::{
    FormatOptions, InspectReport, LifecycleOptions, Redundancy, ScrubOptions, inspect_drive,
};
use ringbolt_plan::cli::PlanArgs;
use ringbolt_server::auth::RootCredentials;
use ringbolt_server::run::{
    LiveOptions, Network, Ownership, PerSecond, ReadAgain, ServeError, ServeOptions, StorageClasses,
    ThrottleLimits, format_with_progress, human_size, run,
};
use ringbolt_torture::TortureArgs;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

const LOG_DEFAULT: &str = "info";

/// An S3-compatible object storage server for machines with NVMe drives.
#[derive(Parser)]
#[command(name = "ringbolt", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: error, warn, info, debug or trace, also by part, as in info,ringbolt_engine=debug
    #[arg(long, env = "RINGBOLT_LOG", default_value = LOG_DEFAULT, global = true)]
    log: String,
    /// How to log, on stderr
    #[arg(long, env = "RINGBOLT_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Classes {
    All,
    Standard,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum NewOwnership {
    BucketOwnerEnforced,
    BucketOwnerPreferred,
    ObjectWriter,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Subcommand)]
enum Command {
    Serve(Box<ServeArgs>),
    Config(ConfigArgs),
    Format(FormatArgs),
    Inspect(InspectArgs),
    Check(CheckArgs),
    Torture(TortureArgs),
    /// Load for drives, the storage engine and S3 endpoints, in fio's job format
    #[command(disable_help_flag = true)]
    Bench {
        /// As `ringbolt bench --help` tells
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    Plan(PlanArgs),
    Bucket(BucketArgs),
    Lifecycle(LifecycleArgs),
    Clock(ClockArgs),
    Drive(DriveArgs),
    Account(AccountArgs),
    User(UserArgs),
    Group(GroupArgs),
    Key(KeyArgs),
    Policy(PolicyArgs),
}

/// Start the server
///
/// Without flags it makes ./ringbolt-data with one drive file and credentials, and serves it on
/// 127.0.0.1:9000. Every 200 OK means: on stable media.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt serve                                     everything in ./ringbolt-data
  ringbolt serve --data /srv/ringbolt --size 100GiB  the first start makes a drive file of 100 GiB
  ringbolt serve --drive /dev/nvme1n1 --drive /dev/nvme2n1 --listen 0.0.0.0:9000 --memory 16GiB
                                                     whole drives, made with `ringbolt format`
  ringbolt serve --drive /dev/nvme1n1 --without-drive 7d444840-9dc0-41d1-b245-5ffdce74fad2
                                                     one of a mirror; the other is gone for good
  ringbolt serve --drive-set '/dev/nvme*n1'          the same, whatever the devices are called today
  RINGBOLT_ACCESS_KEY=admin RINGBOLT_SECRET_KEY=correct-horse ringbolt serve
                                                     credentials of your own for the first account

The root's key is in users.toml in the data directory (mode 0600); `ringbolt user --help` tells of others. Keep a copy
of node.key, under which the secrets of access keys are sealed, in a safe place. A second server on one machine needs
a --data, a --listen and an --admin-listen of its own.")]
struct ServeArgs {
    /// Read flags from this file of TOML; `ringbolt config show --defaults` writes one with all of them
    #[arg(long, env = "RINGBOLT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the root's keys from this file: a line RINGBOLT_ACCESS_KEY=… and one RINGBOLT_SECRET_KEY=… [default: the
    /// credential ringbolt-secrets of systemd, then the environment, then users.toml in the data directory]
    #[arg(long, env = "RINGBOLT_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Directory of the credentials and, without --drive, of the drive file
    #[arg(long, env = "RINGBOLT_DATA", default_value = "./ringbolt-data", value_name = "DIR")]
    data: PathBuf,
    /// A formatted drive: block device or file; repeat for each drive of the node
    #[arg(long, env = "RINGBOLT_DRIVE", value_name = "PATH", value_delimiter = ',')]
    drive: Vec<PathBuf>,
    /// All formatted drives in this directory, or at the paths that fit this pattern, as in '/dev/nvme*n1'; whatever
    /// else is there is passed over
    #[arg(long, env = "RINGBOLT_DRIVE_SET", value_name = "DIR|PATTERN", conflicts_with = "drive")]
    drive_set: Option<PathBuf>,
    /// Start although the drive with this UUID is missing: it is gone for good, whatever it knew; may be repeated. For
    /// a mirror, where the other drives have copies; the server that misses a drive says when it takes this word. Once
    /// the server has started, the word is not needed again
    #[arg(
        long,
        env = "RINGBOLT_WITHOUT_DRIVE",
        value_delimiter = ',',
        value_parser = parse_drive_uuid,
        value_name = "UUID"
    )]
    without_drive: Vec<[u8; 16]>,
    /// Address and port; port 0 takes a free one
    #[arg(long, env = "RINGBOLT_LISTEN", default_value = "127.0.0.1:9000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where health and metrics are told without credentials, and commands taken that the root key signs: address and
    /// port (port 0 takes a free one), or off. All of them are in the socket admin.sock of the data directory too
    #[arg(
        long,
        env = "RINGBOLT_ADMIN_LISTEN",
        default_value = "127.0.0.1:9001",
        value_parser = parse_address_or_off,
        value_name = "ADDRESS"
    )]
    admin_listen: AddressOrOff,
    /// CPUs to run on, as in 0-3 or 0,2; one thread each [default: all]
    #[arg(long, env = "RINGBOLT_CORES", value_parser = parse_cpus, value_name = "LIST")]
    cores: Option<CpuList>,
    /// All memory the server may use, resident: I/O buffers, index, read cache, connections and what they hold
    #[arg(long, env = "RINGBOLT_MEMORY", default_value = "1GiB", value_parser = parse_size, value_name = "SIZE")]
    memory: u64,
    /// Part of the memory that keeps small objects after a read, or off [default: a quarter of the index's share]
    #[arg(long, env = "RINGBOLT_READ_CACHE", value_parser = parse_size_or_off, value_name = "SIZE")]
    read_cache: Option<u64>,
    /// Size of the drive file made on the first start
    #[arg(long, env = "RINGBOLT_SIZE", default_value = "4GiB", value_parser = parse_size, value_name = "SIZE")]
    size: u64,
    /// Shards of the drive file made on the first start; fixed from then on [default: two per core]
    #[arg(
        long,
        env = "RINGBOLT_SHARDS",
        default_value_t = 0,
        hide_default_value = true,
        value_name = "NUMBER"
    )]
    shards: u16,
    /// Redundancy of the drive file made on the first start, which is one drive and can have none; sets of several
    /// drives are made with `ringbolt format`, whose --help has the values [default: none]
    #[arg(
        long,
        env = "RINGBOLT_REDUNDANCY",
        value_parser = parse_redundancy,
        value_name = "none|mirror|mirror-3|mirror-4|K+M"
    )]
    redundancy: Option<Redundancy>,
    /// The region clients sign for
    #[arg(long, env = "RINGBOLT_REGION", default_value = "us-east-1")]
    region: String,
    /// A domain whose subdomains are bucket names (virtual-host style); may be repeated
    #[arg(long, env = "RINGBOLT_DOMAIN", value_delimiter = ',')]
    domain: Vec<String>,
    /// A domain whose subdomains are the websites of buckets; may be repeated
    #[arg(long, env = "RINGBOLT_WEBSITE_DOMAIN", value_delimiter = ',', value_name = "DOMAIN")]
    website_domain: Vec<String>,
    /// A host that is the website of the bucket with the same name, as in www.example.com, or all hosts below a domain,
    /// as in *.example.com; may be repeated
    #[arg(long, env = "RINGBOLT_WEBSITE_HOST", value_delimiter = ',', value_name = "HOST")]
    website_host: Vec<String>,
    /// A proxy, or a network of proxies, whose X-Forwarded-For and X-Forwarded-Proto say who a client is and whether it
    /// speaks TLS, as in 10.0.0.0/8; may be repeated. What others say in these headers is passed over
    #[arg(
        long,
        env = "RINGBOLT_TRUSTED_PROXY",
        value_delimiter = ',',
        value_parser = parse_network,
        value_name = "CIDR"
    )]
    trusted_proxy: Vec<Network>,
    /// Whether connections of trusted proxies begin with a header of the PROXY protocol, version 2
    #[arg(long, env = "RINGBOLT_PROXY_PROTOCOL", value_enum, default_value = "off")]
    proxy_protocol: Switch,
    #[command(flatten)]
    tls: TlsArgs,
    /// Whether requests and forms may be signed with version 2, HMAC-SHA-1, which some clients know alone
    #[arg(long = "signature-v2", env = "RINGBOLT_SIGNATURE_V2", value_enum, default_value = "on")]
    signature_v2: Switch,
    /// Storage classes that objects may be given: all that S3 reads at once, or STANDARD alone. All are stored alike
    #[arg(long, env = "RINGBOLT_STORAGE_CLASSES", value_enum, default_value = "all")]
    storage_classes: Classes,
    /// Ownership controls of new buckets that ask for none: with bucket-owner-enforced, as in AWS, ACLs do not count;
    /// with object-writer they do, as older software expects
    #[arg(long, env = "RINGBOLT_OBJECT_OWNERSHIP", value_enum, default_value = "bucket-owner-enforced")]
    object_ownership: NewOwnership,
    /// How far the machine's clock may step ahead and still end retentions of object lock; beyond, an operator confirms
    /// it
    #[arg(
        long,
        env = "RINGBOLT_CLOCK_STEP_MAX",
        default_value = "1d",
        value_parser = parse_duration_ms,
        value_name = "DURATION"
    )]
    clock_step_max: u64,
    /// Do not register buffers with the kernel: slower, but needs no locked memory
    #[arg(long, env = "RINGBOLT_NO_REGISTERED_BUFFERS")]
    no_registered_buffers: bool,
    /// Requests that take longer are logged as warnings
    #[arg(long, env = "RINGBOLT_SLOW_REQUEST_MS", default_value_t = 1000, value_name = "MILLISECONDS")]
    slow_request_ms: u64,
    /// Wrong keys and signatures of one address within a minute that are answered at once; what follows waits, the
    /// longer the more there is; 0: none waits
    #[arg(long, env = "RINGBOLT_WRONG_KEYS_FREE", default_value_t = 30, value_name = "NUMBER")]
    wrong_keys_free: u32,
    /// How long the head of a request may take to arrive; a connection without requests is closed after it too
    #[arg(
        long,
        env = "RINGBOLT_HEAD_TIMEOUT",
        default_value = "60s",
        value_parser = parse_time_out_ms,
        value_name = "DURATION"
    )]
    head_timeout: u64,
    /// How long a client may send nothing of a body, or take nothing of an answer, or less than 16 KiB of either
    #[arg(
        long,
        env = "RINGBOLT_BODY_TIMEOUT",
        default_value = "60s",
        value_parser = parse_time_out_ms,
        value_name = "DURATION"
    )]
    body_timeout: u64,
    /// Most open connections; others get 503 SlowDown [default: as many as memory and open files allow]
    #[arg(long, env = "RINGBOLT_CONNECTIONS", value_parser = parse_count, value_name = "NUMBER")]
    connections: Option<u32>,
    /// Most open connections of one address, or of one /64 network of IPv6, but for trusted proxies; or off [default:
    /// three quarters of all]
    #[arg(
        long,
        env = "RINGBOLT_CONNECTIONS_PER_ADDRESS",
        value_parser = parse_count_or_off,
        value_name = "NUMBER"
    )]
    connections_per_address: Option<CountOrOff>,
    /// Handshakes of TLS a second by one address, or by one /64 network of IPv6, but for trusted proxies; more wait,
    /// and are turned away beyond two seconds; or off
    #[arg(
        long,
        env = "RINGBOLT_HANDSHAKES_PER_ADDRESS",
        default_value = "1000",
        value_parser = parse_count_or_off,
        value_name = "NUMBER"
    )]
    handshakes_per_address: CountOrOff,
    /// Most requests a second of one access key, or of one address without a key; others get 503 SlowDown with
    /// Retry-After [default: no limit]
    #[arg(
        long,
        env = "RINGBOLT_KEY_REQUESTS",
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "NUMBER"
    )]
    key_requests: Option<u64>,
    /// Bytes a second that one access key moves at most, in and out together: bodies are slowed down, and requests
    /// refused when the key is two seconds ahead [default: no limit]
    #[arg(long, env = "RINGBOLT_KEY_BYTES", value_parser = parse_size, value_name = "SIZE")]
    key_bytes: Option<u64>,
    /// Most requests of one access key that are answered at the same time [default: no limit]
    #[arg(long, env = "RINGBOLT_KEY_IN_FLIGHT", value_parser = parse_count, value_name = "NUMBER")]
    key_in_flight: Option<u32>,
    /// Most requests a second to one bucket; those that were refused for want of permission do not count [default: no
    /// limit]
    #[arg(
        long,
        env = "RINGBOLT_BUCKET_REQUESTS",
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "NUMBER"
    )]
    bucket_requests: Option<u64>,
    /// Bytes a second that are moved to and from one bucket at most, as with --key-bytes [default: no limit]
    #[arg(long, env = "RINGBOLT_BUCKET_BYTES", value_parser = parse_size, value_name = "SIZE")]
    bucket_bytes: Option<u64>,
    /// Read what is stored in the background at this rate for each drive, to find damage early; off: never
    #[arg(
        long,
        env = "RINGBOLT_SCRUB_RATE",
        default_value = "10MiB",
        value_parser = parse_size_or_off,
        value_name = "SIZE PER SECOND"
    )]
    scrub_rate: u64,
    /// How long after one reading of everything the next begins
    #[arg(
        long,
        env = "RINGBOLT_SCRUB_EVERY",
        default_value = "14d",
        value_parser = parse_duration_ms,
        value_name = "DURATION"
    )]
    scrub_every: u64,
    /// Bring a drive that came back or is new up to date within this time, and give way to clients only while there is
    /// time; off: always give way
    #[arg(
        long,
        env = "RINGBOLT_HEAL_WITHIN",
        default_value = "1d",
        value_parser = parse_duration_or_off,
        value_name = "DURATION"
    )]
    heal_within: u64,
    /// What a day is to lifecycle rules; only tests make it shorter
    #[arg(
        long,
        env = "RINGBOLT_LIFECYCLE_DAY",
        default_value = "1d",
        value_parser = parse_duration_ms,
        value_name = "DURATION"
    )]
    lifecycle_day: u64,
    /// Most that the lifecycle of buckets does in a second in each shard: changes, looks at 64 versions; 0: nothing
    #[arg(long, env = "RINGBOLT_LIFECYCLE_RATE", default_value_t = 500, value_name = "NUMBER")]
    lifecycle_rate: u64,
    /// Abort multipart uploads that were begun longer ago than this and never completed, as in 7d [default: never]
    #[arg(long, env = "RINGBOLT_ABORT_UPLOADS_AFTER", value_parser = parse_duration_ms, value_name = "AGE")]
    abort_uploads_after: Option<u64>,
    /// Where the node's key file is lost: remove the access keys whose secrets were sealed under it, and go on with a
    /// new one. Users and policies stay
    #[arg(long, env = "RINGBOLT_NEW_NODE_KEY")]
    new_node_key: bool,
    /// Let a crash leave a core dump, which holds keys and data of clients
    #[arg(long, env = "RINGBOLT_CORE_DUMPS")]
    core_dumps: bool,
}

/// Make a drive: everything on it is lost
///
/// Several --drive make one set, which is served together. If nothing else is asked for, two or three are a mirror:
/// every byte is on two drives, one drive may be lost, and the space is half of what the drives have. Four and more
/// have stripes: any two of them may be lost, and of six and more at least two thirds of the space are for objects.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt format --drive /dev/nvme1n1               a whole block device
  ringbolt format --drive /dev/nvme1n1 --drive /dev/nvme2n1
                                                     a mirror: either of both may be lost
  ringbolt format --drive /dev/nvme1n1 --drive /dev/nvme2n1 --redundancy none
                                                     twice the space, and neither may be lost
  ringbolt format --drive ./drive0 --size 8GiB       a file of 8 GiB, written out in full
  ringbolt format --drive ./drive0 --force           again, over what is there

A device that is mounted, or has a file system or a Ringbolt drive on it, is refused without --force.")]
struct FormatArgs {
    /// Block device or file; repeat for each drive of the set
    #[arg(long, env = "RINGBOLT_DRIVE", required = true, value_name = "PATH", value_delimiter = ',')]
    drive: Vec<PathBuf>,
    /// Size of a file to make; a block device is used whole
    #[arg(long, env = "RINGBOLT_SIZE", value_parser = parse_size, value_name = "SIZE")]
    size: Option<u64>,
    /// Shards, fixed for the life of the drive [default: two per core]
    #[arg(
        long,
        env = "RINGBOLT_SHARDS",
        default_value_t = 0,
        hide_default_value = true,
        value_name = "NUMBER"
    )]
    shards: u16,
    /// What is kept more than once, fixed for the life of the set. none: nothing. mirror: every byte is on two drives,
    /// one may be lost, half of the space is for objects. mirror-3, mirror-4: on three or four drives, two or three may
    /// be lost, a third or a quarter of the space is for objects. K+M, as 4+2: objects above 64 KiB are striped over K
    /// drives with parity on M more, M may be lost, K of K + M parts of the space are for them; smaller ones are on
    /// M + 1 drives [default: none for one drive, mirror for two or three, 2+2 for four, 3+2 for five, 4+2 for six to
    /// ten, 8+3 for more]
    #[arg(
        long,
        env = "RINGBOLT_REDUNDANCY",
        value_parser = parse_redundancy,
        value_name = "none|mirror|mirror-3|mirror-4|K+M"
    )]
    redundancy: Option<Redundancy>,
    /// Overwrite what is there
    #[arg(long, env = "RINGBOLT_FORCE")]
    force: bool,
}

/// Show a drive's superblock, shards, extents and space
///
/// Reads only; a drive that a server has open is refused: the server's `/ringbolt/metrics` tell about that one.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt inspect --drive ringbolt-data/drive0
  ringbolt inspect --drive /dev/nvme1n1 --json | jq .superblock")]
struct InspectArgs {
    /// Block device or file
    #[arg(long, env = "RINGBOLT_DRIVE", value_name = "PATH")]
    drive: PathBuf,
    /// JSON instead of text
    #[arg(long, env = "RINGBOLT_JSON")]
    json: bool,
}

/// The reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(
        "RINGBOLT_LOG or --log {value:?} is not understood: {reason}; \
         write for example info or info,ringbolt_engine=debug"
    )]
    Log { value: String, reason: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("there is no drive {number} at this start; see the numbers with `ringbolt drive list`")]
    NotHere { number: u16 },
    #[error("drive {number} is not emptied any more, its state is {state}; see `ringbolt drive list`")]
    NotEmpty { number: u16, state: String },
    #[error(
        "no stripes are moved to drive {number} any more, its state is {state}; see `ringbolt drive list`"
    )]
    NotSpread { number: u16, state: String },
    #[error(
        "drive {number} is not lost; take it offline first, `ringbolt drive offline {number}`: until the new one is in, there \
         is one copy fewer"
    )]
    NotLost { number: u16 },
    #[error("{path}: {source}; run it on the machine that has the drive, as a user who may read it")]
    Identify { path: String, source: std::io::Error },
    #[error("this process does not serve")]
    NotServing,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Accounts(#[from] ringbolt_server::auth::AccountError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    #[error(transparent)]
    Identity(#[from] IdentityCliError),
    #[error(transparent)]
    Format(#[from] ringbolt_engine::node::FormatError),
}

/// Does what the command line says; gives the exit status of commands that have several.
pub fn execute((cli, settings): (Cli, Settings)) -> Result<ExitCode, CliError> {
    // What the engine says when it opens a drive does not belong among results.
    let is_quiet = matches!(cli.command, Command::Bench { .. } | Command::Plan(_)) && cli.log == LOG_DEFAULT;
    let relog = start_logging(if is_quiet { "warn" } else { &cli.log }, cli.log_format)?;
    match cli.command {
        Command::Serve(args) => serve(*args, settings, relog)?,
        Command::Config(args) => config::run(&args)?,
        Command::Format(args) => format(&args)?,
        Command::Inspect(args) => inspect(&args)?,
        Command::Check(args) => return Ok(ExitCode::from(check::run(&args))),
        Command::Torture(args) => return Ok(ringbolt_torture::execute(&args)),
        Command::Bench { arguments } => return Ok(ringbolt_bench::execute(&arguments)),
        Command::Plan(args) => return Ok(ringbolt_plan::execute(&args)),
        Command::Bucket(args) => return Ok(bucket::run(&args)?),
        Command::Lifecycle(args) => lifecycle::run(&args)?,
        Command::Clock(args) => clock::run(&args)?,
        Command::Drive(args) => drive::run(&args)?,
        Command::Account(args) => identity::account(&args)?,
        Command::User(args) => identity::user(&args)?,
        Command::Group(args) => identity::group(&args)?,
        Command::Key(args) => identity::key(&args)?,
        Command::Policy(args) => identity::policy(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn log_filter(level: &str) -> Result<EnvFilter, CliError> {
    // s3s logs every S3 error a client causes as its own: our log line of the request has the status.
    let directives = if level.contains("s3s") { level.to_owned() } else { format!("{level},s3s=off") };
    EnvFilter::builder()
        .parse(directives)
        .map_err(|error| CliError::Log { value: level.to_owned(), reason: error.to_string() })
}

/// Sets another filter for the log of this process.
type Relog = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send>;

fn start_logging(level: &str, format: LogFormat) -> Result<Relog, CliError> {
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(log_filter(level)?).with_writer(std::io::stderr);
    // A line that can not be written, as when nobody reads the log any more, is lost. To say so by the same way would
    // end the thread that has something to say.
    let builder = builder.with_ansi(colours).log_internal_errors(false);
    Ok(match format {
        LogFormat::Text => {
            let builder = builder.map_event_format(WithRequest).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let builder = builder.json().map_event_format(WithRequest).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    })
}

/// None: off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressOrOff(Option<SocketAddr>);

fn parse_address_or_off(text: &str) -> Result<AddressOrOff, String> {
    if text == "off" {
        return Ok(AddressOrOff(None));
    }
    let wrong = |_| "write an address with its port, as in 127.0.0.1:9001, or off".to_owned();
    text.parse().map(|address| AddressOrOff(Some(address))).map_err(wrong)
}

fn parse_network(text: &str) -> Result<Network, String> {
    Network::parse(text.trim())
        .ok_or_else(|| "write an address or a network, as in 10.0.0.1 or 10.0.0.0/8".to_owned())
}

fn serve(args: ServeArgs, mut settings: Settings, relog: Relog) -> Result<(), CliError> {
    let reader = move || read_again(&mut settings, &relog).map_err(|error| error.to_string());
    run(serve_options(args)?, Some(Box::new(reader)))?;
    Ok(())
}

/// The settings that count at once when they are read again; all others need a restart.
const LIVE: [&str; 18] = [
    "log",
    "slow-request-ms",
    "wrong-keys-free",
    "head-timeout",
    "body-timeout",
    "connections",
    "connections-per-address",
    "handshakes-per-address",
    "key-requests",
    "key-bytes",
    "key-in-flight",
    "bucket-requests",
    "bucket-bytes",
    "scrub-rate",
    "scrub-every",
    "heal-within",
    "lifecycle-day",
    "lifecycle-rate",
];

fn read_again(settings: &mut Settings, relog: &Relog) -> Result<ReadAgain, CliError> {
    let again = settings.read_again()?;
    let Again { cli, changed, since_start, .. } = &again;
    let filter = log_filter(&cli.log)?;
    let Command::Serve(args) = &cli.command else { return Err(CliError::NotServing) };
    let live = live_options(args);
    if changed.iter().any(|name| name == "log") {
        let refused = |reason| CliError::Log { value: cli.log.clone(), reason };
        relog(filter).map_err(refused)?;
    }
    let is_live = |name: &&String| LIVE.contains(&name.as_str());
    let need_restart = since_start.iter().filter(|name| !is_live(name)).cloned().collect();
    let changed = changed.iter().filter(is_live).cloned().collect();
    settings.keep(again);
    Ok(ReadAgain { live, changed, need_restart })
}

/// Returns the options that can change while the server runs.
fn live_options(args: &ServeArgs) -> LiveOptions {
    LiveOptions {
        slow_request: Duration::from_millis(args.slow_request_ms),
        wrong_keys_free: args.wrong_keys_free,
        head_time: Duration::from_millis(args.head_timeout),
        body_time: Duration::from_millis(args.body_timeout),
        connections: args.connections.map(|most| most as usize),
        connections_per_address: args.connections_per_address.map(|most| most.0.unwrap_or(u32::MAX)),
        handshakes_per_address: args.handshakes_per_address.0,
        throttle: ThrottleLimits {
            key: PerSecond { requests: args.key_requests, bytes: args.key_bytes },
            bucket: PerSecond { requests: args.bucket_requests, bytes: args.bucket_bytes },
            key_in_flight: args.key_in_flight,
        },
        scrub: ScrubOptions { bytes_per_second: args.scrub_rate, every_ms: args.scrub_every },
        heal_within_ms: args.heal_within,
        lifecycle: LifecycleOptions {
            day_ms: args.lifecycle_day,
            every_ms: LifecycleOptions::default().every_ms.min(args.lifecycle_day / 8).max(100),
            operations_per_second: args.lifecycle_rate,
        },
    }
}

/// Returns the options of a server that starts.
fn serve_options(args: ServeArgs) -> Result<ServeOptions, CliError> {
    Ok(ServeOptions {
        tls: args.tls.source()?,
        live: live_options(&args),
        admin_tls: args.tls.is_for_admin(),
        data_dir: args.data,
        drives: args.drive,
        drive_set: args.drive_set,
        without_drives: args.without_drive,
        listen: args.listen,
        admin_listen: args.admin_listen.0,
        cores: args.cores.map_or_else(Vec::new, |list| list.0),
        memory_bytes: args.memory,
        read_cache_bytes: args.read_cache,
        drive_bytes: args.size,
        shards: args.shards,
        redundancy: args.redundancy,
        region: args.region,
        domains: args.domain,
        website_domains: args.website_domain,
        website_hosts: args.website_host,
        trusted_proxies: args.trusted_proxy,
        proxy_protocol: args.proxy_protocol == Switch::On,
        signature_v2: args.signature_v2 == Switch::On,
        storage_classes: match args.storage_classes {
            Classes::All => StorageClasses::All,
            Classes::Standard => StorageClasses::Standard,
        },
        object_ownership: match args.object_ownership {
            NewOwnership::BucketOwnerEnforced => Ownership::BucketOwnerEnforced,
            NewOwnership::BucketOwnerPreferred => Ownership::BucketOwnerPreferred,
            NewOwnership::ObjectWriter => Ownership::ObjectWriter,
        },
        clock_step_max_ms: args.clock_step_max,
        register_buffers: !args.no_registered_buffers,
        abort_uploads_after_ms: args.abort_uploads_after.filter(|age_ms| *age_ms > 0),
        root: RootCredentials::find(args.secret_file.as_deref())?,
        new_node_key: args.new_node_key,
        core_dumps: args.core_dumps,
    })
}

fn format(args: &FormatArgs) -> Result<(), CliError> {
    let paths: Vec<&Path> = args.drive.iter().map(PathBuf::as_path).collect();
    let options = FormatOptions {
        size_bytes: args.size,
        shards: args.shards,
        redundancy: args.redundancy,
        force: args.force,
        ..FormatOptions::default()
    };
    let reports = format_with_progress(&paths, options)?;
    for (path, report) in paths.iter().zip(&reports) {
        println!(
            "{}: {}, {} extents of {}, {} shards, drive {}",
            path.display(),
            human_size(report.size_bytes),
            report.extents,
            human_size(report.extent_bytes),
            report.shards,
            report.drive_uuid
        );
    }
    if let Some(report) = reports.first() {
        println!("redundancy {}", redundancy_text(report.redundancy));
    }
    Ok(())
}

fn inspect(args: &InspectArgs) -> Result<(), CliError> {
    let report = inspect_drive(&args.drive)?;
    print!("{}", if args.json { as_json(&report) } else { as_text(&report) });
    Ok(())
}

fn as_json(report: &InspectReport) -> String {
    let section = |lines: &[(String, String)]| -> serde_json::Value {
        lines.iter().map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str()))).collect()
    };
    let all: serde_json::Value =
        report.sections.iter().map(|(name, lines)| (name.clone(), section(lines))).collect();
    format!("{all:#}\n")
}

fn as_text(report: &InspectReport) -> String {
    let width =
        report.sections.iter().flat_map(|(_, lines)| lines).map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (title, lines) in &report.sections {
        text.push_str(&format!("{title}\n"));
        for (name, value) in lines {
            text.push_str(&format!("  {name:<width$}  {value}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
