//! This module shows a plan: for people, for programs, for spreadsheets, and as a page with plots.
//! It also shows tables of sweeps and differences.
//!
//! Invariants: a report is made of [`Plan`](super::result::Plan) alone, so that a stored plan can
//! be shown in every form. Every constant is shown with its source. Text from a file can neither
//! control a terminal nor become markup.

mod answers;
pub mod difference;
mod html;
#[cfg(test)]
pub mod sample;
pub mod scanned;
mod sections;
mod sizes;
mod spreadsheet;
pub mod sweep;
mod table;
mod text;
pub(super) mod words;

pub use self::html::html;
pub use self::spreadsheet::csv;
pub use self::text::text;
