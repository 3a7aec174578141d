//! Lifecycle rules: what they do with versions, markers and uploads, and what they never do.

mod help;
mod runner;
mod stacks;
