//! The model that `stateright` explores: which steps the world may take, what each does, and what
//! must hold in every state.

use stateright::{Model, Property};

use crate::rules::Rules;
use crate::set::{Drives, Set};
use crate::state::{Mistake, SHARDS_MAX, State, View};
use crate::{running, start};

/// A step of the world. Where a step writes to several drives, `reached` says on which of them the
/// write is durable. A cut is what follows when it is not all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A user's batch is written. Drives that it does not reach have failed.
    Write { shard: usize, reached: Drives },
    /// The batch that opens a log set is written. What follows goes to `members`.
    Roll { shard: usize, members: Drives, reached: Drives },
    /// A checkpoint whose replay begins in the current log set is durable on a drive, with its root.
    Checkpoint { shard: usize, drive: u8 },
    /// A drive uses the space again that no root names which counts.
    LetGo { shard: usize, drive: u8 },
    /// A change of view begins. It is in use when all its drives have it.
    Change { view: View, reached: Drives },
    /// The view that was begun is durable on one more drive.
    GoOn { drive: u8 },
    /// The view that was begun is given up, which no right rule does.
    GiveUp,
    /// A drive fails. Its part in the view is over.
    Fail { drive: u8 },
    /// A drive that was dropped works again, with what it held before. It is not in the view yet.
    Return { drive: u8 },
    /// The node stops at once.
    Crash,
    /// The node starts with the drives that are present. The operator has `named` drives that are
    /// gone for good.
    Start { present: Drives, named: Drives, end: End },
}

/// How far a start comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    CutInPromise {
        reached: Drives,
    },
    CutInCopy {
        reached: [Drives; SHARDS_MAX],
    },
    CutInView {
        reached: Drives,
    },
    Serves,
    /// No right rule serves before the view is durable.
    ServesBeforeView,
}

/// How much happens in a model, so that it has an end.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Batches of users, for each shard.
    pub writes: u32,
    /// Batches that open a log set, for each shard.
    pub rolls: u32,
    /// The highest counter of a view.
    pub counter: u8,
    /// Starts after the first run.
    pub starts: u8,
    /// Drives that the operator may call gone for good.
    pub words: u32,
}

/// Which properties are asked for. Those that show that something happens are looked for by
/// themselves, because an exhaustive run would note each state that has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    Safety,
    Happens,
}

/// A set of drives with its rules.
#[derive(Clone, Copy, Debug)]
pub struct Views {
    pub drives: u8,
    /// How many of them, the last, are not in the set at first.
    pub blanks: u8,
    pub shards: usize,
    pub rules: Rules,
    pub bounds: Bounds,
    pub asks: Asks,
}

pub const NOTHING_LOST: &str = "nothing acknowledged is lost";
pub const HOMES_COMPLETE: &str = "every home that works can read the whole log alone";
pub const HOME_FOR_EACH: &str = "a node that runs has a home for each shard";
pub const ONLY_GROWS: &str = "no drive's promise or view goes back";
pub const NUMBER_ONCE: &str = "no number is used for two views";

impl Views {
    pub fn first_homes(&self) -> [Drives; SHARDS_MAX] {
        // The second shard's homes are the last drives, so that shards share some drives only.
        let count = self.rules.homes_max() as u8;
        let first = Set::first(count);
        let formatted = self.drives - self.blanks;
        let last = Set::first(formatted) - Set::first(formatted - count);
        [first, if self.shards > 1 { last } else { first }]
    }
}

impl Model for Views {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::formatted((self.drives, self.blanks), self.shards, self.first_homes())]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match &state.node {
            Some(node) => running::actions(self, state, node, actions),
            None => start::actions(self, state, actions),
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Start { present, named, end } => {
                start::start(&self.rules, &mut state, present, named, end);
            }
            _ => running::step(&self.rules, &mut state, action),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        match self.asks {
            Asks::Safety => safety(),
            Asks::Happens => happens(),
        }
    }
}

fn safety() -> Vec<Property<Views>> {
    vec![
        Property::always(NOTHING_LOST, |_, state: &State| is_nothing_lost(state)),
        Property::always(HOMES_COMPLETE, |_, state: &State| are_homes_complete(state)),
        Property::always(HOME_FOR_EACH, |_, state: &State| {
            state.node.as_ref().is_none_or(|node| node.view.homes.iter().all(|homes| !homes.is_empty()))
        }),
        Property::always(ONLY_GROWS, |_, state: &State| state.mistake != Some(Mistake::WentBack)),
        Property::always(NUMBER_ONCE, |_, state: &State| state.mistake != Some(Mistake::NumberUsedTwice)),
    ]
}

fn is_nothing_lost(state: &State) -> bool {
    let Some(node) = &state.node else { return true };
    (0..SHARDS_MAX).all(|shard| state.acknowledged[shard].is_within(node.shards[shard].log))
}

fn are_homes_complete(state: &State) -> bool {
    let Some(node) = &state.node else { return true };
    (0..SHARDS_MAX).all(|shard| {
        let log = node.shards[shard].log;
        let homes = node.view.homes[shard] & node.alive;
        homes.iter().all(|home| state.log_of(home, shard) == Some(log))
    })
}

fn happens() -> Vec<Property<Views>> {
    vec![
        Property::sometimes(
            "a drive with a batch that was never acknowledged is back in the view",
            |_, state: &State| {
                state
                    .node
                    .as_ref()
                    .is_some_and(|node| node.view.members.iter().any(|drive| has_stale_batch(state, drive)))
            },
        ),
        Property::sometimes("homes moved", |model: &Views, state: &State| {
            state.node.as_ref().is_some_and(|node| !node.view.homes[0].is_within(model.first_homes()[0]))
        }),
        Property::sometimes("a start went on without a drive", |model: &Views, state: &State| {
            state.node.as_ref().is_some_and(|node| {
                node.view.counter == 1 && node.view.members.len() < u32::from(model.drives)
            })
        }),
        Property::sometimes(
            "a start is refused because a shard has no home",
            |model: &Views, state: &State| state.node.is_none() && is_refused_for_a_home(model, state),
        ),
        Property::sometimes(
            "a view is begun on some drives while an untouched shard is written",
            |model: &Views, state: &State| {
                state
                    .node
                    .as_ref()
                    .is_some_and(|node| node.begun.is_some() && !model.rules.is_touched(node, 0))
            },
        ),
        Property::sometimes("an older log set was let go", |_, state: &State| {
            state.node.as_ref().is_some_and(|node| {
                let log = node.shards[0].log;
                node.view.homes[0].iter().any(|home| !log.is_within(state.drive(home).logs[0].held))
            })
        }),
        Property::sometimes("a set runs by the operator's word", |_, state: &State| {
            state.node.is_some() && !state.gone.is_empty()
        }),
    ]
}

/// Returns whether a drive holds a batch that is in no log any more.
fn has_stale_batch(state: &State, drive: u8) -> bool {
    let Some(node) = &state.node else { return false };
    !state.drive(drive).logs[0].held.is_within(node.shards[0].log)
}

fn is_refused_for_a_home(model: &Views, state: &State) -> bool {
    let all = Set::first(model.drives) - state.gone;
    all.subsets().any(|present| {
        let newest = model.rules.newest_view(state, present);
        let has_a_home = |view: View| !(view.homes[0] & present).is_empty();
        newest
            .is_some_and(|view| model.rules.may_go_on(state, &view, present, state.gone) && !has_a_home(view))
    })
}
