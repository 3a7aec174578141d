//! S3 over HTTP from the outside: signed requests, answers, a client that waits for them.

pub mod answer;
pub mod client;
pub mod limits;
pub mod request;
pub mod sign;
