//! The rules by which a bucket removes what is old, and what they mean for a version at a moment.
//!
//! [`rules`] has the rules as data, and [`judge`] the judgement. Nothing here has I/O or a clock:
//! the caller says what time it is, and carries out what was judged.

mod judge;
mod report;
mod rules;
#[cfg(test)]
mod tests;

pub use self::judge::{
    Action, Clock, Expiry, Judged, Judgement, Place, Tags, VersionFacts, expiration_of, judge, upload_due,
};
pub use self::report::{DueCount, DueExample, LifecycleCounters, LifecyclePreview};
pub use self::rules::{Expiration, Filter, LifecycleRules, NoncurrentExpiration, NoncurrentTransition, Rule};
pub use self::rules::{Transition, When};
