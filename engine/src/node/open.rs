//! SKELETON: opening a set of drives.
use crate::env::Environment;
use crate::node::Core;
use std::path::PathBuf;
use std::rc::Rc;

#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub drives: Vec<PathBuf>,
    pub cores: usize,
    /// I/O buffers of one core, bytes.
    pub arena_bytes_per_core: usize,
    /// Cap on the index of the whole node, bytes.
    pub index_bytes_max: usize,
    /// Register buffers and files with the ring (needs memlock).
    pub register_buffers: bool,
}

/// Each variant says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}")]
    Placeholder(String),
}

/// Drives locked, superblocks read, shards spread over cores.
pub struct NodePlan;

impl NodePlan {
    /// Blocking; called once, before the core threads start.
    pub fn open(_options: NodeOptions) -> Result<Vec<CoreSeed>, OpenError> {
        todo!()
    }
}

/// What one core's thread needs to start; `Send`.
pub struct CoreSeed;

impl CoreSeed {
    pub fn core_index(&self) -> usize {
        todo!()
    }
    /// On the core's own thread: makes its ring and buffers. No I/O yet; then await [`Core::open`].
    pub fn start(self, _environment: Rc<dyn Environment>) -> Result<Core, OpenError> {
        todo!()
    }
}
