//! The lifecycle of objects: the runner that does what the rules of buckets ask for, and the preview
//! that only counts it.

mod examine;
mod preview;
mod run;

pub(super) use self::preview::of_shard as preview_of_shard;
pub use self::run::LifecycleOptions;
