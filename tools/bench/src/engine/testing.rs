//! This module provides a job for the tests of engines.

use super::{Operation, Verb};
use crate::spec::{Engine, Job, ObjectOp, Objects};

pub const BLOCK: u64 = 4096;

/// Returns a job against `host` with `depth` connections that has nothing to prepare.
pub fn job(host: &str, depth: u32) -> Job {
    let objects = Objects {
        host: host.into(),
        access_key: "key".into(),
        secret_key: "secret".into(),
        ops: Some(vec![(ObjectOp::Put, 1)]),
        objects: 16,
        ..Objects::default()
    };
    Job { depth, objects, ..Job::plain("test", Engine::S3) }
}

pub fn operation(verb: Verb, number: u64) -> Operation {
    Operation { verb, file: 0, offset: number * BLOCK, length: BLOCK, number }
}
