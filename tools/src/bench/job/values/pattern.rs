//! `rw`, `ioengine`.

use crate::bench::spec::{Engine, Pattern};

/// fio's engines that do what io_uring does here.
const BLOCK_ENGINES: [&str; 12] = [
    "libaio",
    "psync",
    "sync",
    "vsync",
    "pvsync",
    "pvsync2",
    "posixaio",
    "solarisaio",
    "windowsaio",
    "mmap",
    "splice",
    "sg",
];

/// What is done, and in which order.
///
/// # Errors
/// With the values there are.
pub fn pattern(text: &str) -> Result<Pattern, String> {
    let of = |reads, writes, trims, random| Ok(Pattern { reads, writes, trims, random });
    match text {
        "read" => of(true, false, false, false),
        "write" => of(false, true, false, false),
        "randread" => of(true, false, false, true),
        "randwrite" => of(false, true, false, true),
        "rw" | "readwrite" => of(true, true, false, false),
        "randrw" => of(true, true, false, true),
        "trim" => of(false, false, true, false),
        "randtrim" => of(false, false, true, true),
        "trimwrite" | "randtrimwrite" => Err("known to fio, not built here".to_owned()),
        _ if text.contains(':') => Err("fio's modifiers behind a colon are not built here".to_owned()),
        _ => Err("write read, write, randread, randwrite, rw, randrw, trim or randtrim".to_owned()),
    }
}

/// Who carries the operations out.
///
/// # Errors
/// With the engines there are.
pub fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "io_uring" => Ok(Engine::IoUring),
        "ringbolt" => Ok(Engine::Ringbolt),
        "s3" | "http" => Ok(Engine::S3),
        _ if BLOCK_ENGINES.contains(&text) => {
            Err("known to fio, not built here: use io_uring, on the same files and devices".to_owned())
        }
        _ => Err("write io_uring, ringbolt or s3; `ringbolt bench --enghelp` tells of them".to_owned()),
    }
}
