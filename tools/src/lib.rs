//! Tools around the engine and the server: an S3 client, content that can be told apart, and the torture test.

pub mod content;
#[cfg(feature = "executor")]
pub mod executor;
pub mod process;
pub mod s3;
pub mod torture;
