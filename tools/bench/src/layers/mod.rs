//! This module is the command `ringbolt bench layers`: it runs one job on the raw drive, on the
//! engine, and through S3, and compares them.
//!
//! The block size is the object size, and an object's number is its offset over the block size, so
//! that every layer does the same operations, in the same order, on the same number of items of the
//! same size. Each layer guarantees what the one below does and more; the report says what it adds.
//! Each write is durable by itself on every layer.
//!
//! Invariant: the layers run one after the other on files of their own, which are removed, and the
//! server is ended.

mod figures;
pub mod server;
mod table;

use self::figures::{Layer, Report};
use self::server::{LocalServer, Sampler};
use super::cli::RunOptions;
use super::job::{self, Surroundings};
use super::run::{self, Watcher};
use super::spec::{BlockSize, Direction, Durable, Engine, Job, Plan};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Run one job on the raw drive, on the storage engine and through S3, and show what each layer costs
///
/// Block size = object size, object number = offset / block size. The job needs bs= (one size for all
/// directions) and size=, and numjobs=1.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringbolt bench layers layers.fio                            in the current directory, own server on loopback
  ringbolt bench layers layers.fio --directory /mnt/nvme      on the file system of that drive
  ringbolt bench layers layers.fio --endpoint 10.0.0.7:9000   the S3 layer is another server
  ringbolt bench layers layers.fio --json > layers.json

The server of the S3 layer runs on --server-core, the client of every layer on --client-core. With
--endpoint the credentials are those of the job, or of RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY.")]
pub struct LayersArgs {
    /// Job file with one job
    #[arg(value_name = "JOB")]
    job: PathBuf,
    /// Where the files of the layers are made; its file system must take direct I/O
    #[arg(long, default_value = ".", value_name = "DIR")]
    directory: PathBuf,
    /// An S3 endpoint, host:port, in place of a server of our own
    #[arg(long, value_name = "HOST:PORT")]
    endpoint: Option<String>,
    /// The ringbolt program to serve with [default: this one]
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// CPU of the server
    #[arg(long, default_value_t = 0, value_name = "CPU")]
    server_core: usize,
    /// CPU of the load on every layer, unless the job has cpus_allowed=
    #[arg(long, default_value_t = 1, value_name = "CPU")]
    client_core: usize,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Says why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    #[error("{0}")]
    Job(String),
    #[error(transparent)]
    Run(#[from] run::RunError),
    #[error("{layer}: {text}")]
    Layer { layer: &'static str, text: String },
    #[error("{path}: {error}")]
    Directory { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Server(#[from] server::ServerError),
}

/// Executes the command and returns its exit status.
pub fn execute(args: &LayersArgs) -> ExitCode {
    match compare(args) {
        Ok(report) => {
            print!("{}", if args.json { report.json() } else { table::text(&report) });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ringbolt bench layers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all layers.
///
/// # Errors
/// Returns a [`LayersError`]; all files are removed and the server is ended in this case too.
pub fn compare(args: &LayersArgs) -> Result<Report, LayersError> {
    let wanted = wanted_job(&args.job)?;
    let directory = tempfile::Builder::new()
        .prefix("bench-layers-")
        .tempdir_in(&args.directory)
        .map_err(|error| LayersError::Directory { path: args.directory.clone(), error })?;
    let wanted = Wanted { client_core: args.client_core, ..wanted };
    let mut layers = vec![
        measure(Layer::Drive, wanted.on_drive(&directory.path().join("raw")), None)?,
        measure(Layer::Engine, wanted.on_engine(&directory.path().join("drive")), None)?,
    ];
    let mut job = wanted.over_s3();
    let server = match &args.endpoint {
        Some(host) => {
            host.clone_into(&mut job.objects.host);
            None
        }
        None => {
            let program = args.server.clone().map_or_else(std::env::current_exe, Ok);
            let program =
                program.map_err(|error| LayersError::Directory { path: "this program".into(), error })?;
            let data = directory.path().join("server");
            let server = LocalServer::start(
                &program,
                &data,
                args.server_core,
                wanted.drive_bytes(),
                READ_CACHE,
                None,
            )?;
            server.aim(&mut job.objects);
            Some(server)
        }
    };
    let plan = Plan { jobs: vec![job.clone()], ..Plan::default() };
    job::check_credentials(&plan).map_err(|error| LayersError::Job(error.to_string()))?;
    layers.push(measure(Layer::S3, job, server.as_ref().map(LocalServer::id))?);
    Ok(Report::new(&wanted.job, layers))
}

fn measure(layer: Layer, job: Job, server: Option<u32>) -> Result<figures::LayerFigures, LayersError> {
    eprintln!("{}: running", layer.title());
    let plan = Plan { jobs: vec![job], ..Plan::default() };
    let options = RunOptions { allow_overwrite: true, ..RunOptions::default() };
    let mut sampler = Sampler::of(server);
    let run = run::run(&plan, &options, &mut sampler as &mut dyn Watcher)?;
    let failed = |text: String| LayersError::Layer { layer: layer.title(), text };
    let result = run.only_result().map_err(|text| failed(format!("{text} {}", sampler.notes.join("; "))))?;
    figures::LayerFigures::of(layer, result, sampler.server_share()).ok_or_else(|| {
        failed("no operation ended in the measured time: give the job a longer runtime=".into())
    })
}

/// Holds the job, and what follows from it for every layer.
struct Wanted {
    job: Job,
    block_bytes: u64,
    size_bytes: u64,
    client_core: usize,
}

fn wanted_job(path: &Path) -> Result<Wanted, LayersError> {
    let around = Surroundings::of_process();
    let plan = job::of_file(path, &around).map_err(|error| LayersError::Job(error.to_string()))?.plan;
    let [job] = plan.jobs.as_slice() else {
        return Err(LayersError::Job(format!(
            "{}: layers takes one job, {} are there",
            path.display(),
            plan.jobs.len()
        )));
    };
    check(job).map_err(|what| LayersError::Job(format!("{}: job {}: {what}", path.display(), job.name)))
}

/// The read cache is off, so that the drive is measured as on the other layers, not the memory.
const READ_CACHE: &str = "off";

/// Checks that every layer can run the job in the same way.
fn check(job: &Job) -> Result<Wanted, String> {
    let used = |direction: &Direction| match direction {
        Direction::Read => job.pattern.reads,
        Direction::Write => job.pattern.writes,
        Direction::Trim => job.pattern.trims,
    };
    let mut sizes = Direction::ALL.iter().filter(|direction| used(direction)).map(|direction| {
        match job.block.get(*direction) {
            BlockSize::Fixed(bytes) => Some(*bytes),
            BlockSize::Range { .. } | BlockSize::Split(_) => None,
        }
    });
    let block_bytes = sizes.next().flatten().filter(|bytes| sizes.all(|other| other == Some(*bytes)));
    let block_bytes = block_bytes
        .ok_or("layers needs one block size for all directions: give bs=, not a range or split")?;
    let size_bytes = job.size.unwrap_or(0) / block_bytes * block_bytes;
    if size_bytes == 0 {
        return Err(format!("layers needs size=, at least one block of {block_bytes} bytes"));
    }
    let refused = [
        (job.pattern.trims, "rw= with trim: a trimmed drive has no counterpart of a deleted object"),
        (job.threads > 1, "numjobs above 1: the engine's layer is one core; use a larger iodepth"),
        (job.objects.ops.is_some(), "op=: give rw=, which every layer understands"),
        (job.verify.is_some(), "verify=: the engine verifies what it reads in any case"),
        (job.fsync > 0 || job.fdatasync > 0, "fsync=: every write is durable by itself on every layer"),
    ];
    match refused.iter().find(|(is_set, _)| *is_set) {
        Some((_, what)) => Err((*what).to_owned()),
        None => Ok(Wanted { job: job.clone(), block_bytes, size_bytes, client_core: 0 }),
    }
}

impl Wanted {
    fn base(&self, engine: Engine) -> Job {
        let mut job = Job { engine, files: Vec::new(), directory: None, ..self.job.clone() };
        job.size = Some(self.size_bytes);
        job.file_size = Some(self.size_bytes);
        job.objects.objects = self.size_bytes / self.block_bytes;
        (job.offset, job.nrfiles) = (0, 1);
        if job.cpus.is_empty() && job.numa_nodes.is_empty() {
            job.cpus = vec![self.client_core];
        }
        job
    }

    /// Returns the job for the drive, with durable writes, as objects have them.
    fn on_drive(&self, file: &Path) -> Job {
        let base = self.base(Engine::IoUring);
        let durable = if base.pattern.writes { Durable::Data } else { Durable::No };
        Job { files: vec![file.to_owned()], direct: true, durable, ..base }
    }

    fn on_engine(&self, drive: &Path) -> Job {
        Job { files: vec![drive.to_owned()], ..self.base(Engine::Ringbolt) }
    }

    fn over_s3(&self) -> Job {
        self.base(Engine::S3)
    }

    /// Returns the size of a server's drive in bytes: one and a half times the objects, and space
    /// for logs.
    fn drive_bytes(&self) -> u64 {
        self.size_bytes / 2 * 3 + self.size_bytes / self.block_bytes * 512 + (1 << 30)
    }
}

#[cfg(test)]
mod tests;
