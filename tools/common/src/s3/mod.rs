//! This module is a client's side of S3 over HTTP: signed requests, responses, and a blocking
//! client.

pub mod answer;
pub mod client;
pub mod limits;
pub mod request;
pub mod sign;
