//! What a running node says of itself.

pub mod node;
