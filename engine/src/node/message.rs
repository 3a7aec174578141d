//! The messages between cores: requests to shards with their answers, and what concerns the node itself.

use std::rc::Rc;

use crate::error::Result;
use crate::shard::{ShardReply, ShardRequest};
use crate::types::RequestId;

/// A request on its way to the core of its shard.
pub struct Asked {
    pub(super) from: usize,
    pub(super) call: u64,
    pub(super) shard: u16,
    pub(super) request: ShardRequest,
    /// The client's request on whose behalf it is asked, for what is logged of it.
    pub(super) client: Option<RequestId>,
}

/// An answer on its way back.
pub struct Answered {
    pub(super) call: u64,
    pub(super) reply: Result<ShardReply>,
}

/// A request that nobody waits for.
pub struct Told {
    pub(super) shard: u16,
    pub(super) request: ShardRequest,
}

/// What runs on the core that it reaches.
pub type Control<C> = Box<dyn FnOnce(&Rc<C>) + Send>;

/// What one core sends to another. Small, since every pair of cores has a queue of them.
pub enum Message<C> {
    Ask(Box<Asked>),
    Answer(Box<Answered>),
    Tell(Box<Told>),
    /// What concerns the node and its drives, not the objects: it runs on the core that it reaches.
    Control(Control<C>),
}
