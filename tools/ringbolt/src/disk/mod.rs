//! Looking at drives and mending them while no server runs.

pub mod check;
