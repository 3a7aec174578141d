//! This module checks and repairs drives while no server runs.

pub mod check;
