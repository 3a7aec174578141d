//! The front of Ringbolt: HTTP, signatures and S3 over the storage engine.
//!
//! A request goes from `http` (connections, limits, request ids) through `auth` (signatures, body
//! verification) to `s3` (the operations), which calls the engine. `run` starts a node from [`ServeOptions`].
//!
//! This crate never touches a device, and knows neither a command line nor any tool: those who do know it.

pub mod admin;
pub mod auth;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod memory;
pub mod run;
pub mod s3;

pub use run::{ServeError, ServeOptions, run};
