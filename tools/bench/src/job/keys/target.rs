//! This module lists the keys of a job's target: engine, files, sizes, threads.

use super::{Engines, Key, Kind};

pub const KEYS: &[Key] = &[
    Key::new("name", Kind::Text, "name=randread", "Name of the job")
        .text("On the command line it begins a job; `--name=global` begins what the jobs after it inherit."),
    Key::new("description", Kind::Text, "description=Nightly check", "A line of text that is shown with the results"),
    Key::new("ioengine", Kind::Special, "ioengine=io_uring", "Who carries the operations out")
        .default("io_uring; psync when iodepth is 1, as in fio")
        .range("io_uring, libaio, posixaio, psync, sync, pvsync, pvsync2, vsync, mmap, ringbolt, s3 (also called http)")
        .text(
            "io_uring: files and block devices. ringbolt: the storage engine in this process, without HTTP. \
             s3: an S3 endpoint, ours or anyone's. libaio and posixaio: as io_uring. psync, and sync, pvsync, \
             pvsync2, vsync: one pread or pwrite after the other, with one operation in flight. mmap: copies from \
             and to the mapped file. What differs from fio's engine of that name is said before the run.",
        ),
    Key::new("filename", Kind::Special, "filename=/dev/nvme1n1", "Files or block devices, separated by colons")
        .default("name.thread.file")
        .on(Engines::Paths)
        .text(
            "All threads of the job share what is named here. \\: stands for a colon in a name. For ringbolt it \
             is the drive: one that exists is opened and objects are stored in its bucket `bench`; a file that \
             is missing is made.",
        ),
    Key::new("directory", Kind::Special, "directory=/mnt/scratch", "Where the files are")
        .default("the current directory")
        .on(Engines::Paths)
        .text("It has to exist. Put before each name of filename."),
    Key::new("size", Kind::Special, "size=10g", "Bytes that each thread works on, over all its files")
        .default("of the files or devices that exist")
        .range("a size, or 1% to 100% of files or devices that exist")
        .text(
            "Without runtime or io_size also what it transfers. For objects: their number times bs, \
             unless objects says how many.",
        ),
    Key::new("io_size", Kind::Size, "io_size=100g", "Bytes to transfer, more or less than size")
        .aliases(&["io_limit"])
        .default("size"),
    Key::new("filesize", Kind::Special, "filesize=1g", "Bytes of each file, or a range they are drawn from")
        .default("size over nrfiles")
        .on(Engines::Paths)
        .range("a size, or a range as in 1m-16m")
        .text(
            "Then size is only the default of io_size. With a range each file has a size of its own, the same in \
             each run with the same randseed. For ringbolt: the size of a drive file to be made.",
        ),
    Key::new("offset", Kind::Size, "offset=1g", "Where in a file the job begins")
        .aliases(&["fileoffset"])
        .default("0")
        .on(Engines::Drive),
    Key::new("offset_increment", Kind::Size, "offset_increment=1g", "Added to offset for each thread of the job before")
        .default("0")
        .on(Engines::Drive)
        .text("Thread n begins at offset plus n times as much, so that threads share one file and no part of it."),
    Key::new("fallocate", Kind::Special, "fallocate=none", "Whether space for files to be written is reserved before")
        .default("native")
        .range("none, truncate, posix, native, keep")
        .on(Engines::Drive)
        .text(
            "none and truncate: a file gets its length and no space, so that the job's writes take it. The others \
             reserve it, where the file system can.",
        ),
    Key::new("overwrite", Kind::Bool, "overwrite=1", "Write files in full before a job that writes them begins")
        .default("0")
        .on(Engines::Drive)
        .text("Then the job's writes meet space that the file system has given and written already."),
    Key::new("fsync_on_close", Kind::Bool, "fsync_on_close=1", "fsync each file when the job closes it")
        .default("0")
        .on(Engines::Drive)
        .text("Its time is that of the job, as that of end_fsync."),
    Key::new("nrfiles", Kind::Number, "nrfiles=4", "How many files each thread has, when they are not named")
        .aliases(&["nr_files"])
        .default("1")
        .range("1 to 65536")
        .on(Engines::Drive),
    Key::new("numjobs", Kind::Number, "numjobs=4", "How many threads run the job")
        .default("1")
        .range("1 to 4096"),
    Key::new("direct", Kind::Bool, "direct=1", "Past the page cache (O_DIRECT)")
        .default("0")
        .on(Engines::Drive)
        .text("Without it the memory of this machine is measured, not its drive."),
    Key::new("buffered", Kind::Bool, "buffered=0", "The opposite of direct").default("1").on(Engines::Drive),
    Key::new("invalidate", Kind::Bool, "invalidate=0", "The page cache drops the files before they are used")
        .default("1")
        .on(Engines::Drive)
        .text(
            "When a job begins, and before each further pass over its files, so that reads come from the drive. What \
             was not written yet is written before the job begins. invalidate=0 keeps what is cached.",
        ),
    Key::new("fadvise_hint", Kind::Bool, "fadvise_hint=0", "Tell the kernel whether access is random or sequential")
        .default("1")
        .on(Engines::Drive)
        .text("Without direct=1 it decides how far is read ahead into the page cache."),
    Key::new("unlink", Kind::Bool, "unlink=1", "Remove the job's files or objects when the run has ended")
        .default("0")
        .text(
            "Block devices stay, and so do buckets and the drive of ringbolt. Of objects, all are deleted that have \
             the keys of jobs with these block sizes, also those of earlier runs.",
        ),
    Key::new("cpus_allowed", Kind::Special, "cpus_allowed=0-3,8", "Cores that the job's threads may run on")
        .default("any"),
    Key::new("cpus_allowed_policy", Kind::Special, "cpus_allowed_policy=split", "Whether threads share the cores")
        .default("shared")
        .range("shared, split: thread n has the nth of the cores, and round again"),
    Key::new("numa_cpu_nodes", Kind::Special, "numa_cpu_nodes=0", "NUMA nodes that the job's threads may run on")
        .default("any"),
    Key::new("kb_base", Kind::Number, "kb_base=1000", "What k stands for in the sizes of the job")
        .default("1024")
        .range("1024, 1000")
        .text("With 1024: k, m, … are powers of 1024 and kib, mib, … of 1000, as in fio. With 1000 the reverse."),
];
