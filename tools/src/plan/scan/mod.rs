//! The sizes of what is stored somewhere: listings of S3 servers, inventories, text of `aws s3 ls`.

pub mod collector;
pub mod file;
