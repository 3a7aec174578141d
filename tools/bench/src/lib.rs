//! This module is `ringbolt bench`: it runs one job file against the raw drive, the engine or an S3
//! endpoint.
//!
//! A job goes through these modules in this order:
//! - [`spec`]: what a job is, typed, with every default filled in;
//! - [`job`]: fio's grammar, from text or a command line to [`spec::Plan`];
//! - [`load`]: the next operation and its time: offsets, sizes, mixes, rates;
//! - [`engine`]: what carries it out: a drive, the engine in this process, an S3 endpoint;
//! - [`run`]: threads, groups, ramp, time, progress; returns [`result::Run`];
//! - [`result`]: what was measured, mergeable over threads;
//! - [`report`]: text, JSON, terse, HTML, logs; comparison of two runs.
//!
//! This crate drives whatever it is told to: it knows the engine, which it can carry in its own process, but neither
//! the server, of which it sees HTTP and a process, nor the planner, which drives it.
//!
//! Invariant: times are nanoseconds of the monotonic clock, counted from the start of the run.

pub mod cli;
mod command;
pub mod engine;
pub mod job;
pub mod layers;
pub mod load;
mod manual;
pub mod profile;
pub mod report;
pub mod result;
pub mod run;
pub mod spec;
mod watch;

pub use self::command::execute;
