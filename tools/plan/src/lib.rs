//! `ringbolt plan`: how many nodes and drives, what binds first, when it is full, how long the drives live.
//!
//! The rooms, in the order a plan goes through them:
//! - [`input`]: TOML to [`workload::Workload`] and [`hardware::Hardware`], with every default filled in; overrides;
//! - [`scan`]: the sizes of what is stored somewhere, as [`sizes::SizeHistogram`];
//! - [`calibrate`]: measures [`constants::Constants`] on this machine;
//! - [`live`]: what a running node says of itself;
//! - [`model`]: all of these to [`result::Plan`]; no I/O, no clock;
//! - [`report`]: text, JSON, CSV, HTML; tables of sweeps and of differences;
//! - [`cli`] and [`command`]: arguments in, files and text out.
//!
//! Formulas and their sources: docs/planning.md.
//!
//! This crate takes lengths, shares and the division of memory from the engine, and measures with the bench tool. It
//! knows nothing of the server's code: a running node is asked over HTTP as anybody could ask it.
//!
//! Invariants: units are in every name (`_bytes`, `_per_s`, `_share` for parts of 1); a figure that was not measured
//! says so by its source; randomness comes from the seed of the plan alone.

pub mod calibrate;
mod check;
pub mod cli;
mod command;
pub mod constants;
pub mod hardware;
mod http;
pub mod input;
pub mod live;
pub mod model;
pub mod month;
pub mod report;
pub mod result;
pub mod scan;
pub mod sizes;
pub mod workload;

pub use self::command::execute;
