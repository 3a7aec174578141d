//! The names of how many copies of everything a set of drives has.

/// The values of `ringbolt format --redundancy`, by how many drives may be lost.
pub const NAMES: [&str; 4] = ["none", "mirror", "mirror-3", "mirror-4"];
