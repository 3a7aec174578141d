//! This module reads CPU time and memory of this process and of others from the kernel's
//! accounting.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use std::fs;
use std::io;

/// Returns the CPU time of this process in microseconds: user and system, of all threads, including
/// kernel workers of its rings.
pub fn own_cpu_us() -> io::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    Ok(micros(usage.user_time()) + micros(usage.system_time()))
}

/// Returns the CPU time of all live threads of process `pid` in nanoseconds, as counted by the
/// scheduler.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path().join("schedstat");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        total +=
            text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok()).ok_or_else(|| {
                io::Error::other(format!(
                    "{}: no CPU time in {text:?}; is CONFIG_SCHED_INFO set?",
                    path.display()
                ))
            })?;
    }
    Ok(total)
}

/// Returns the resident memory of process `pid` in bytes.
pub fn process_resident_bytes(pid: u32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other(format!("{path}: no VmRSS line")))
}

/// Pins the calling thread, and the threads it starts later, to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// Runs `work` on a separate thread that is pinned to `core`. The caller's own affinity does not
/// change, nor does that of the processes it starts.
pub fn on_core<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| pin_to_core(core).map(|()| work()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Counts what this process has moved to and from block devices.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnIo {
    pub read_bytes: u64,
    pub write_bytes: u64,
}

/// Returns the bytes that reached the block layer on behalf of this process.
pub fn own_io() -> io::Result<OwnIo> {
    let text = fs::read_to_string("/proc/self/io")?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|rest| rest.trim().parse::<u64>().ok())
            .ok_or_else(|| io::Error::other(format!("/proc/self/io: no {name} line")))
    };
    Ok(OwnIo { read_bytes: field("read_bytes:")?, write_bytes: field("write_bytes:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_grows_with_work() {
        let pid = std::process::id();
        let (own, process) = (own_cpu_us().unwrap(), process_cpu_ns(pid).unwrap());
        let mut state = 1u64;
        while own_cpu_us().unwrap() < own + 20_000 {
            state = std::hint::black_box(state.wrapping_mul(3));
        }
        assert!(process_cpu_ns(pid).unwrap() > process + 10_000_000);
    }

    #[test]
    fn resident_memory_of_this_process_is_plausible() {
        let resident = process_resident_bytes(std::process::id()).unwrap();
        assert!(resident > 100 << 10 && resident < 100 << 30, "{resident}");
    }
}
