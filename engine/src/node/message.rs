//! The messages between cores: requests to shards, their answers, and control messages of the node.

use std::rc::Rc;

use crate::error::Result;
use crate::shard::{ShardReply, ShardRequest};
use crate::types::RequestId;

/// A request on its way to the core of its shard.
pub struct Asked {
    /// The core that asks.
    pub(super) from: usize,
    /// The number of the call in that core's table.
    pub(super) call: u64,
    pub(super) shard: u16,
    pub(super) request: ShardRequest,
    /// The client's request that this request serves, for what is logged of it.
    pub(super) client: Option<RequestId>,
}

/// An answer on its way back to the core that asked.
pub struct Answered {
    /// The number of the call in the table of the core that asked.
    pub(super) call: u64,
    pub(super) reply: Result<ShardReply>,
}

/// A request that nobody waits for.
pub struct Told {
    pub(super) shard: u16,
    pub(super) request: ShardRequest,
}

/// A function that runs on the core that it reaches.
pub type Control<C> = Box<dyn FnOnce(&Rc<C>) + Send>;

/// A message from one core to another. It is small because every pair of cores has a queue of them.
pub enum Message<C> {
    Ask(Box<Asked>),
    Answer(Box<Answered>),
    Tell(Box<Told>),
    /// Work for the node and its drives, not for objects. It runs on the core that it reaches.
    Control(Control<C>),
}
