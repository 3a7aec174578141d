//! The S3 server of Ringbolt: HTTP, signatures and S3 over the storage engine.
//!
//! # The way of a request
//! 1. `http/connection.rs`: `accept_until_stopped` accepts a connection on its core, and `serve`
//!    gives it to hyper.
//! 2. `http/exchange.rs`: `exchange` checks the head, reserves memory, and makes the request's id
//!    the current one of the thread.
//! 3. `auth/authenticator.rs`: `Authenticator::authenticate` verifies the signature
//!    (`auth/signature`), removes it, and wraps the body so that it is verified while it is read
//!    (`auth/payload`).
//! 4. `s3/mod.rs`: `S3Service::call` answers most GETs by the fast path (`FastGet` in
//!    `s3/object.rs`). It gives all others to s3s, which calls the function that the table in
//!    `s3/operations.rs` names.
//! 5. That function calls the engine, whose door is `ringbolt_engine::node::Core`:
//!    - PUT: `s3/object.rs`, `put_object`: `Core::put`, then `receive` of `s3/body.rs`, then
//!      `commit`.
//!    - GET: `s3/object.rs`, `read_object`: `Core::get`, then `body_of` of `s3/body.rs`.
//!    - LIST: `s3/list.rs`, `list_objects_v2`: `Listing::page`, which calls `Core::list`, then
//!      `Listing::objects_v2` of `s3/listing_xml.rs`, which writes the answer.
//! 6. `http/exchange.rs` adds the headers of every answer. `http/body.rs` counts and logs what is
//!    sent.
//!
//! `run` starts and stops all this from [`ServeOptions`], and `admin` serves health and metrics. The
//! server never touches a device: that is the engine's. It knows neither a command line nor any
//! tool: those that do know it.

pub mod access;
pub mod admin;
pub mod auth;
mod checksum;
mod client;
#[doc(hidden)]
pub mod fuzz;
mod host;
pub mod http;
pub mod identity;
pub mod memory;
mod network;
mod next_piece;
pub mod office;
pub mod run;
pub mod s3;
pub mod throttle;
pub mod tls;
mod unix_time;
mod whole_file;
mod xml;

pub use run::{ServeError, ServeOptions, run};
