//! This module is `ringbolt plan`: it computes how many nodes and drives are needed, what limits
//! them first, when they are full, and how long the drives live.
//!
//! A plan goes through these modules in this order:
//! - [`input`]: TOML and overrides to [`workload::Workload`] and [`hardware::Hardware`], with every
//!   default set;
//! - [`scan`]: the sizes of objects stored somewhere, as [`sizes::SizeHistogram`];
//! - [`calibrate`]: measures [`constants::Constants`] on this machine;
//! - [`live`]: reads a running node;
//! - [`model`]: makes [`result::Plan`] of all of these, without I/O or a clock;
//! - [`report`]: text, JSON, CSV, HTML; tables of sweeps and of differences;
//! - [`cli`] and [`command`]: arguments and output files.
//!
//! docs/planning.md has the formulas and their sources.
//!
//! This crate takes lengths, shares and the division of memory from the engine, and measures with the bench tool. It
//! knows nothing of the server's code: it asks a running node over HTTP, as anybody could.
//!
//! Invariants: units are in every name (`_bytes`, `_per_s`, `_share` for shares of 1); a figure
//! that was not measured says so by its source; randomness comes only from the seed of the plan.

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
