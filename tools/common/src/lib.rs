//! What at least two of the tools share: a small S3 client, content that can be told apart, server processes,
//! an executor for one core of the engine, and how tools read and show units, dates, JSON files and pages with plots.
//!
//! This crate knows no command line and no job, plan or report of any one tool: it depends on the engine, for the
//! executor, and neither on the server nor on a tool.

pub mod content;
pub mod date;
pub mod executor;
pub mod html;
pub mod json_file;
pub mod nearest;
pub mod number;
pub mod process;
pub mod random;
pub mod redundancy;
pub mod s3;
pub mod text;
pub mod units;
