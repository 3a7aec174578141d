//! This crate holds the tools around the engine and the server: an S3 client, generated content,
//! the torture test, the check of drives, the benchmark, and the planner.

pub mod bench;
pub mod content;
pub mod disk;
pub mod executor;
mod html;
pub mod json_file;
pub mod nearest;
pub mod plan;
pub mod process;
pub mod s3;
pub mod torture;
