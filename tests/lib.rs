//! This crate is the harness of the end-to-end tests: a real server process, an S3 client, and
//! generated content.
//!
//! Invariants: a server started here is ended here, by its own process id, also when a test panics.
//! Every byte written follows from a seed, so that what is read back is compared with what was
//! intended and not with a copy. Data is stored under the target directory, because temporary
//! directories are often in memory, which does not support O_DIRECT.

#[cfg(feature = "server")]
pub mod authority;
pub mod binary;
#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "server")]
pub mod node;
pub mod raw_http;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod signed_http;
pub mod simulation;
#[cfg(feature = "server")]
pub mod tls_proxy;
#[cfg(feature = "server")]
pub mod version_2;

#[cfg(feature = "server")]
pub use client::{Account, client};
#[cfg(feature = "server")]
pub use ringbolt_tool_common::content::{Content, Dice};
#[cfg(feature = "server")]
pub use server::{Server, ServerOptions};
