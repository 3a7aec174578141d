//! These tests run end to end: the AWS SDK sends requests to a real server process on a real drive
//! file.
//!
//! Each test has its own server, data directory and port, so that they can run in parallel.

mod access;
mod admin;
mod bench;
mod bench_process;
mod bench_tls;
mod bucket_commands;
mod bucket_delete;
mod check;
mod checksums;
mod conditional;
mod configuration;
mod cors;
mod crash;
mod damage;
mod edges;
mod forms;
mod full_drive;
mod help;
mod identity;
mod lifecycle;
mod limits;
mod listing;
mod long;
mod metrics;
mod multipart;
mod object_lock;
mod objects;
mod permissions;
mod plain_get;
mod plan;
mod process;
mod protocol;
mod proxies;
mod signing;
mod support;
mod tags;
mod target;
mod tls;
mod version_listing;
mod version_operations;
mod version_writes;
mod versions;
mod website;
