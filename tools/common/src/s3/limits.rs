//! What S3 allows.

/// Largest object.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Largest body of one request, so also of a part: larger objects come in parts.
pub const BODY_BYTES_MAX: u64 = 5 << 30;
/// An upload in parts has at most so many; all but its last are so long at least.
pub const PARTS_MAX: u64 = 10_000;
pub const PART_BYTES_MIN: u64 = 5 << 20;
