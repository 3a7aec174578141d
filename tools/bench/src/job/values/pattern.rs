//! This module parses `rw` and `ioengine`.

use crate::spec::{Calls, Engine, Pattern};

/// Describes an engine of fio that has a counterpart here: how its operations are carried out, and
/// how it differs.
struct StandIn {
    names: &'static [&'static str],
    calls: Calls,
    /// This is empty when nothing differs.
    difference: &'static str,
}

const STAND_INS: &[StandIn] = &[
    StandIn { names: &["io_uring"], calls: Calls::Queued, difference: "" },
    StandIn {
        names: &["libaio"],
        calls: Calls::Queued,
        difference: "as many operations are in flight, handed over through io_uring in place of io_submit: the drive \
                     sees the same, the CPU has less to do; buffered operations do not block the thread",
    },
    StandIn {
        names: &["posixaio"],
        calls: Calls::Queued,
        difference: "as many operations are in flight, handed over through io_uring in place of the C library's \
                     threads, which take more CPU time and let one operation of a file run at a time",
    },
    StandIn { names: &["psync"], calls: Calls::Plain, difference: "" },
    StandIn {
        names: &["sync", "pvsync", "pvsync2", "vsync"],
        calls: Calls::Plain,
        difference: "carried out by pread and pwrite, one block a call (sync: without a seek before it; pvsync, \
                     pvsync2: without a vector; vsync: neighbours are not joined)",
    },
    StandIn { names: &["mmap"], calls: Calls::Mapped, difference: "" },
];

/// Lists engines of fio that have no counterpart here, each with what to use instead.
const ENGINES_OF_FIO: &[(&[&str], &str)] = &[
    (
        &["io_uring_cmd", "sg", "xnvme", "libblkio"],
        "use io_uring on the block device, as in filename=/dev/nvme0n1",
    ),
    (&["splice", "solarisaio", "windowsaio"], "use psync, or io_uring for several operations in flight"),
    (
        &[
            "libpmem",
            "dev-dax",
            "pmemblk",
            "mtd",
            "librpma_apm_client",
            "librpma_apm_server",
            "librpma_gpspm_client",
            "librpma_gpspm_server",
        ],
        "this is for files and block devices: use fio for such memory",
    ),
    (&["net", "netsplice", "rdma", "nbd"], "this measures storage: use fio or iperf for a network"),
    (
        &["cpuio", "null", "ftruncate", "filecreate", "filestat", "filedelete", "falloc", "e4defrag"],
        "use fio for it",
    ),
    (
        &[
            "cpp_null",
            "dfs",
            "exec",
            "ime_aio",
            "ime_psync",
            "ime_psyncv",
            "libcufile",
            "libzbc",
            "rados",
            "rbd",
            "gfapi",
            "gfapi_async",
            "libhdfs",
            "nfs",
            "libiscsi",
            "external",
        ],
        "use fio for it",
    ),
];

/// Parses `rw`: the directions, and whether places are random.
///
/// # Errors
/// Names the valid values.
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
        "trimwrite" => of(false, true, true, false),
        "randtrimwrite" => of(false, true, true, true),
        _ if text.contains(':') => {
            Err("fio has modifiers behind a colon, not built here: use fio, or leave \
             the modifier out"
                .to_owned())
        }
        _ => {
            Err("write read, write, randread, randwrite, rw, randrw, trim, randtrim or trimwrite".to_owned())
        }
    }
}

/// Parses `ioengine`.
///
/// # Errors
/// Names the valid engines.
pub fn engine(text: &str) -> Result<Engine, String> {
    if stand_in(text).is_some() {
        return Ok(Engine::IoUring);
    }
    match text {
        "ringbolt" => Ok(Engine::Ringbolt),
        "s3" | "http" => Ok(Engine::S3),
        _ => match ENGINES_OF_FIO.iter().find(|(names, _)| names.contains(&text)) {
            Some((_, instead)) => Err(format!("fio has it, not built here: {instead}")),
            None => {
                Err("write io_uring, libaio, psync, ringbolt or s3; `ringbolt bench --enghelp` tells of them"
                    .to_owned())
            }
        },
    }
}

fn stand_in(engine: &str) -> Option<&'static StandIn> {
    STAND_INS.iter().find(|known| known.names.contains(&engine))
}

/// Returns how an engine for files and devices carries its operations out.
pub fn calls(engine: &str) -> Calls {
    stand_in(engine).map_or(Calls::Queued, |known| known.calls)
}

/// Parses `mem`: whether buffers are in huge pages.
///
/// # Errors
/// Names the valid kinds of memory.
pub fn huge_pages(text: &str) -> Result<bool, String> {
    // fio's mmaphuge names a file of hugetlbfs behind a colon; here the kernel finds the pages.
    match text.split(':').next() {
        Some("malloc" | "shm" | "mmap" | "mmapshared") => Ok(false),
        Some("shmhuge" | "mmaphuge") => Ok(true),
        _ => Err("write malloc or mmaphuge (shm, mmap and mmapshared are as malloc, shmhuge as mmaphuge)"
            .to_owned()),
    }
}

/// Says how our engine differs from fio's engine of this name; `None` if it does not.
pub fn difference(engine: &str) -> Option<&'static str> {
    stand_in(engine).map(|known| known.difference).filter(|text| !text.is_empty())
}
