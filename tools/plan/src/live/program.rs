//! This module runs a program of the system with limits on its time and output.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// After its output has ended, the program is checked for its end at this interval.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Says why a program gave no output.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("{0} is not installed")]
    Absent(String),
    #[error("{program} can not be run: {source}")]
    Run { program: String, source: std::io::Error },
    #[error("{program} did not end within {seconds} s")]
    TooSlow { program: String, seconds: u64 },
}

/// Returns the standard output of a program, whatever its exit status: smartctl uses the status for
/// information that is no failure.
///
/// # Errors
/// Fails when the program does not exist, or when it does not end within `limit` and is killed.
pub fn output(program: &str, arguments: &[&str], limit: Duration) -> Result<String, ProgramError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ProgramError::Absent(program.to_owned()),
        _ => ProgramError::Run { program: program.to_owned(), source },
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let end = Instant::now() + limit;
    let mut child = command.spawn().map_err(failed)?;
    let Some(stdout) = child.stdout.take() else { unreachable!("standard output is a pipe") };
    let (send, receive) = channel();
    // The thread is not joined, because a grandchild may keep the pipe open after the program was
    // killed.
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        // Nobody receives the output after the limit.
        let _ = send.send(read.map(|_| bytes));
    });
    let said = receive.recv_timeout(limit);
    let ended = said.is_ok() && ends_before(&mut child, end).map_err(failed)?;
    if !ended {
        // The program may just have ended by itself.
        let _ = child.kill();
        child.wait().map_err(failed)?;
    }
    let too_slow = || ProgramError::TooSlow { program: program.to_owned(), seconds: limit.as_secs() };
    let bytes = said.map_err(|_| too_slow())?.map_err(failed)?;
    if ended { Ok(String::from_utf8_lossy(&bytes).into_owned()) } else { Err(too_slow()) }
}

/// Waits for the end of the program. One that has closed its output normally ends at once.
fn ends_before(child: &mut Child, end: Instant) -> std::io::Result<bool> {
    let nothing = channel::<()>();
    while child.try_wait()?.is_none() {
        if Instant::now() >= end {
            return Ok(false);
        }
        let _ = nothing.1.recv_timeout(LOOK_AGAIN);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, limit: Duration) -> Result<String, ProgramError> {
        output("sh", &["-c", script], limit)
    }

    #[test]
    fn output_is_given_whatever_the_status() {
        assert_eq!(shell("echo said; echo not this >&2; exit 4", LONG).unwrap(), "said\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_absent() {
        let error = output("no-such-program-here", &[], LONG).unwrap_err();
        assert!(matches!(error, ProgramError::Absent(_)), "{error}");
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let limit = Duration::from_millis(300);
        for script in ["exec sleep 600", "exec >/dev/null; exec sleep 600"] {
            let began = Instant::now();
            let error = shell(script, limit).unwrap_err();
            assert!(matches!(error, ProgramError::TooSlow { .. }), "{script}: {error}");
            assert!((limit..LONG).contains(&began.elapsed()), "{script}");
        }
    }

    #[test]
    fn endless_output_is_cut() {
        // The pipe closes when enough was read, which ends the program.
        let text = shell("exec cat /dev/zero", LONG).unwrap();
        assert_eq!(text.len() as u64, OUTPUT_BYTES_MAX);
    }
}
