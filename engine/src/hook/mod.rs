//! Hooks in the engine's code that only the simulator uses. All of them are compiled out of a
//! release.
//!
//! Invariants:
//! - Without the feature `planted-bugs` every hook is a constant or an empty function.
//! - A hook is one line at the place that it watches or breaks, so that the code reads as if it
//!   were not there.

mod bugs;
mod rare;

pub use self::bugs::Bug;
pub(crate) use self::bugs::Planted;
pub use self::rare::Rare;
pub(crate) use self::rare::reached;
#[cfg(feature = "planted-bugs")]
pub use self::rare::take_reached;
