//! A node: its drives, its cores, and the door through which a thread works with both.

mod core;
mod format;
mod open;
mod stream;

pub use self::core::{Core, Driver, SpaceReport};
pub use self::format::{
    FormatError, FormatOptions, FormatReport, InspectReport, format_drive, inspect_drive,
};
pub use self::open::{CoreSeed, NodeOptions, NodePlan, OpenError};
pub use self::stream::{Chunk, ObjectReader, ObjectWriter};
