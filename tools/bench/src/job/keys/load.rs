//! This module lists the keys of a job's load: directions, sizes, places, depth, rates, flushes,
//! contents.

use super::{Engines, Key, Kind};

const PAIRS: &str =
    "One value is for all directions; `a,b` gives b to writes and trims; an empty place keeps the default.";

pub const KEYS: &[Key] = &[
    Key::new("rw", Kind::Special, "rw=randread", "What is done, and in which order")
        .aliases(&["readwrite"])
        .default("read")
        .range("read, write, randread, randwrite, rw (readwrite), randrw, trim, randtrim, trimwrite, randtrimwrite")
        .text(
            "trim needs a block device. For objects a read gets, a write puts, a trim deletes; op is more exact. \
             fio's modifiers (rw=read:8k) are not built.",
        ),
    Key::new("bs", Kind::Sizes, "bs=4k,8k", "Bytes of an operation, or of an object")
        .aliases(&["blocksize"])
        .default("4k")
        .range("1 to 4g; with direct=1 a multiple of the device's block")
        .text(PAIRS),
    Key::new("bsrange", Kind::SizeRanges, "bsrange=4k-64k", "Sizes drawn evenly from a range, in steps of the smallest")
        .aliases(&["blocksize_range"]),
    Key::new("bssplit", Kind::Special, "bssplit=4k/50:64k/50", "Sizes and how often each, in per cent")
        .text(
            "Shares without a number divide what is left; the sum is 100. After a comma: for writes and trims. \
             bssplit wins over bsrange, and that over bs.",
        ),
    Key::new("rwmixread", Kind::Number, "rwmixread=70", "Reads among the operations of a mixed load, in per cent")
        .default("50")
        .range("0 to 100"),
    Key::new("rwmixwrite", Kind::Number, "rwmixwrite=30", "Writes among the operations of a mixed load, in per cent")
        .default("50")
        .range("0 to 100; with rwmixread they add up to 100"),
    Key::new("random_distribution", Kind::Special, "random_distribution=zipf:1.1", "How random places are spread")
        .default("random")
        .range("random, zipf:θ, pareto:h, normal:deviation, zoned:accesses/range:…")
        .text(
            "θ above 0 and not 1; h above 0, below 1; the deviation in per cent of the range. zoned:60/10:40/90 \
             sends 60 per cent of the accesses to the first tenth; each adds up to 100, an empty place takes the \
             rest. After a comma: for writes and trims. All but random imply norandommap, as in fio.",
        ),
    Key::new("percentage_random", Kind::Special, "percentage_random=50,100", "Operations at random places, in per cent")
        .default("100")
        .range("0 to 100, for reads, writes, trims")
        .text("The others begin where the one before has ended. Below 100 it implies norandommap."),
    Key::new("percentage_sequential", Kind::Special, "percentage_sequential=30", "The opposite of percentage_random")
        .range("0 to 100, for reads, writes, trims"),
    Key::new("norandommap", Kind::Flag, "norandommap", "Random places may come twice before all came once")
        .default("0"),
    Key::new("randrepeat", Kind::Bool, "randrepeat=0", "The same random numbers in each run").default("1"),
    Key::new("randseed", Kind::Number, "randseed=7", "Seed of the random numbers")
        .default("a constant, or a random one with randrepeat=0"),
    Key::new("iodepth", Kind::Number, "iodepth=32", "Operations that each thread keeps in flight")
        .default("1")
        .range("1 to 32768"),
    Key::new("mem", Kind::Special, "mem=mmaphuge", "What buffers are made of")
        .aliases(&["iomem"])
        .default("malloc")
        .range("malloc, shm, mmap, mmapshared: ordinary pages; mmaphuge, shmhuge: huge pages")
        .on(Engines::Drive)
        .text(
            "A large buffer in huge pages is one piece of memory for the drive; some are much faster with it. Of io_uring, \
             libaio and posixaio.",
        ),
    Key::new("fixedbufs", Kind::Flag, "fixedbufs", "Buffers stay pinned in the kernel between operations")
        .default("0")
        .on(Engines::Drive)
        .text("Where the limit of locked memory allows it. Of io_uring, libaio and posixaio."),
    Key::new("iodepth_batch", Kind::Number, "iodepth_batch=16", "Operations that are handed over together at most")
        .aliases(&["iodepth_batch_submit"])
        .default("the sixteenth part of iodepth, at least 4")
        .range("0 (iodepth) to 32768")
        .on(Engines::Drive)
        .text("Of what keeps operations in flight (io_uring, libaio, posixaio)."),
    Key::new("iodepth_batch_complete_min", Kind::Number, "iodepth_batch_complete_min=8", "A wait is for so many")
        .aliases(&["iodepth_batch_complete"])
        .default("1")
        .range("0 (look, do not wait) to 32768")
        .on(Engines::Drive),
    Key::new("iodepth_batch_complete_max", Kind::Number, "iodepth_batch_complete_max=16",
        "So many completions are taken before others are begun")
        .default("all that are there")
        .range("1 to 32768")
        .on(Engines::Drive),
    Key::new("iodepth_low", Kind::Number, "iodepth_low=8", "Begin others when so few are left")
        .default("iodepth: as soon as one has completed")
        .text("Once iodepth was reached, nothing is begun until only so many are in flight.")
        .range("0 (iodepth) to 32768"),
    Key::new("rate", Kind::Sizes, "rate=100m,20m", "Bytes a second, each thread")
        .text(
            "Makes the load open: operations start when they are due, whether or not earlier ones are done, and \
             response times count from then. `rate=100m,` limits reads only, `rate=,20m` writes and trims only.",
        ),
    Key::new("rate_iops", Kind::Numbers, "rate_iops=5000", "Operations a second, each thread")
        .text("Makes the load open, as rate does."),
    Key::new("rate_process", Kind::Special, "rate_process=poisson", "How operations at a rate follow each other")
        .default("linear")
        .range("linear, poisson"),
    Key::new("thinktime", Kind::Microseconds, "thinktime=500us", "Pause after thinktime_blocks operations")
        .default("0"),
    Key::new("thinktime_spin", Kind::Microseconds, "thinktime_spin=100us", "So much of the pause is spent busy")
        .default("0")
        .text("A thread that computes between its operations, in place of one that sleeps."),
    Key::new("thinktime_blocks", Kind::Number, "thinktime_blocks=8", "Operations between two pauses")
        .default("1")
        .range("1 or more"),
    Key::new("latency_target", Kind::Microseconds, "latency_target=2ms", "Change the depth to hold this latency")
        .text("Finds the largest depth up to iodepth at which so many of a window's operations are faster."),
    Key::new("latency_window", Kind::Microseconds, "latency_window=1s", "How long each depth is tried"),
    Key::new("latency_percentile", Kind::Special, "latency_percentile=99.9", "Operations to hold it for, in per cent")
        .default("100"),
    Key::new("fsync", Kind::Number, "fsync=32", "fsync after so many writes").default("0: never").on(Engines::Drive),
    Key::new("fdatasync", Kind::Number, "fdatasync=1", "fdatasync after so many writes")
        .default("0: never")
        .on(Engines::Drive),
    Key::new("end_fsync", Kind::Bool, "end_fsync=1", "fsync each file at the end of the job")
        .default("0")
        .on(Engines::Drive),
    Key::new("sync", Kind::Special, "sync=dsync", "Each write durable by itself (O_DSYNC, O_SYNC)")
        .default("none")
        .range("none (0), dsync, sync (1)")
        .on(Engines::Drive)
        .text("dsync: what was written is durable when the write has ended. sync: the file's times are, too."),
    Key::new("verify", Kind::Special, "verify=crc32c", "Writes carry a checksum, and reads are checked against it")
        .range("crc32c (also crc32c-intel), sha256 for objects, or 0 for none")
        .text(
            "Of objects each 4096 bytes say in which object and where in it they belong, so that ranges are checked \
             too, and another object is noticed. Objects that can be verified have keys of their own \
             (crc32c-4096/…).",
        ),
    Key::new("do_verify", Kind::Bool, "do_verify=0", "Read back what was written, once the job has written it")
        .default("1"),
    Key::new("verify_fatal", Kind::Bool, "verify_fatal=1", "Stop at the first block that is wrong")
        .default("0"),
    Key::new("verify_pattern", Kind::Special, "verify_pattern=0xdeadbeef", "Blocks are these bytes over and over")
        .range("0x…, \"text\", a number up to 255, and these behind each other; up to 512 bytes")
        .on(Engines::Drive)
        .text(
            "Begins anew with each block. Implies verify=pattern, which looks at every byte; with verify=crc32c the \
             blocks carry a checksum too.",
        ),
    Key::new("buffer_pattern", Kind::Special, "buffer_pattern=0xff", "Writes are these bytes over and over")
        .range("as verify_pattern"),
    Key::new("refill_buffers", Kind::Flag, "refill_buffers", "New random content for each write").default("0"),
    Key::new("zero_buffers", Kind::Flag, "zero_buffers", "Writes of zeroes").default("0"),
    Key::new("buffer_compress_percentage", Kind::Number, "buffer_compress_percentage=50",
        "How much of what is written compresses away, in per cent")
        .default("0")
        .range("0 to 100"),
];
