//! S3 over HTTP from the outside: signed requests, a load generator, the processes under load.

pub mod client;
pub mod hyper_server;
pub mod load;
pub mod process;

pub use ringbolt_tool_common::s3::{request, sign};
