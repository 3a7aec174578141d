//! A job for the tests of engines.

use super::{Operation, Verb};
use crate::bench::spec::{
    BlockSize, ByDirection, Distribution, Engine, ErrorKinds, HttpMode, Https, Job, Logs, ObjectOp, Objects,
    Pattern, RateProcess,
};

pub const BLOCK: u64 = 4096;

/// A job against `host` with `depth` connections; nothing to prepare.
pub fn job(host: &str, depth: u32) -> Job {
    let objects = Objects {
        host: host.into(),
        access_key: "key".into(),
        secret_key: "secret".into(),
        region: "us-east-1".into(),
        https: Https::Off,
        mode: HttpMode::S3,
        bucket: "bench".into(),
        ops: Some(vec![(ObjectOp::Put, 1)]),
        objects: 16,
        key_distribution: Distribution::Even,
        part_bytes: 5 << 20,
    };
    Job {
        name: "test".into(),
        given: Default::default(),
        stage: 0,
        group: 0,
        group_reporting: false,
        description: None,
        wait_for: None,
        engine: Engine::S3,
        pattern: Pattern { reads: true, writes: true, trims: false, random: true },
        block: ByDirection::same(BlockSize::Fixed(BLOCK)),
        size: None,
        io_size: None,
        file_size: None,
        files: Vec::new(),
        directory: None,
        offset: 0,
        nrfiles: 1,
        depth,
        threads: 1,
        direct: false,
        runtime_ns: None,
        time_based: false,
        ramp_ns: 0,
        start_delay_ns: 0,
        loops: 1,
        number_ios: None,
        read_percent: 50,
        distribution: ByDirection::same(Distribution::Even),
        norandommap: true,
        seed: 1,
        rate: ByDirection::same(None),
        rate_iops: ByDirection::same(None),
        rate_process: RateProcess::Linear,
        think_ns: 0,
        think_blocks: 1,
        latency_target: None,
        percentiles: Vec::new(),
        fsync: 0,
        fdatasync: 0,
        dsync: false,
        end_fsync: false,
        cpus: Vec::new(),
        numa_nodes: Vec::new(),
        verify: None,
        refill_buffers: false,
        zero_buffers: false,
        compress_percent: 0,
        logs: Logs::default(),
        continue_on_error: ErrorKinds::default(),
        unlink: false,
        objects,
    }
}

pub fn operation(verb: Verb, number: u64) -> Operation {
    Operation { verb, file: 0, offset: number * BLOCK, length: BLOCK, number }
}
