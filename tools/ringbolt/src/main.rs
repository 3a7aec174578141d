//! The binary `ringbolt`: parses the command line and hands over.
//!
//! What serving does is in the server, and what a tool does in the tool's crate. Here are the words of the command
//! line, the allocator, the log, the commands that show or mend a drive by asking the engine, and those that ask a
//! server that runs.

mod admin;
mod cli;
mod disk;
mod log;
mod tls;

use cli::{config, execute};
use std::process::ExitCode;

/// A request makes some forty short-lived allocations: docs/decisions/0003-plain-get.md has what this saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // clap itself ends with 2 when it does not understand the command line.
    match config::parse_line().map_err(Into::into).and_then(execute) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("ringbolt: {error}");
            ExitCode::FAILURE
        }
    }
}
