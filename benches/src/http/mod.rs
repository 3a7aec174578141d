//! This module is a client's side of S3 over HTTP: signed requests, a load generator, and the
//! processes under load.

pub mod client;
pub mod closed_loop;
pub mod hyper_server;
pub mod load;
pub mod process;
pub mod sides;

pub use ringbolt_tool_common::s3::{request, sign};
