//! This module holds limits of S3.

/// This is the largest size of an object in bytes.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// This is the largest size in bytes of the body of one request, and so of a part; larger objects
/// are uploaded in parts.
pub const BODY_BYTES_MAX: u64 = 5 << 30;
/// Limits the number of parts of an upload; each part except the last has at least `PART_BYTES_MIN`
/// bytes.
pub const PARTS_MAX: u64 = 10_000;
pub const PART_BYTES_MIN: u64 = 5 << 20;
