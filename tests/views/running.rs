//! The steps of a node that runs: batches, log sets, checkpoints, changes of view, and failures.

use crate::log::LogSet;
use crate::model::{Action, Views};
use crate::rules::Rules;
use crate::set::{Drives, Memberships, Set};
use crate::state::{Node, SHARDS_MAX, State, View};

/// Adds every step that the node may take.
pub fn actions(model: &Views, state: &State, node: &Node, actions: &mut Vec<Action>) {
    for shard in 0..model.shards {
        appends(model, state, node, shard, actions);
        checkpoints(&model.rules, state, node, shard, actions);
        let drives = (node.alive & node.view.members).iter();
        let can_let_go = |drive: &u8| !unneeded(&model.rules, state, node, shard, *drive).is_empty();
        actions.extend(drives.filter(can_let_go).map(|drive| Action::LetGo { shard, drive }));
    }
    changes(model, node, actions);
    if let Some(begun) = &node.begun {
        let missing = (begun.members - holders(state, begun)) & node.alive;
        actions.extend(missing.iter().map(|drive| Action::GoOn { drive }));
        if model.rules.may_give_up() {
            actions.push(Action::GiveUp);
        }
    }
    actions.extend(node.alive.iter().map(|drive| Action::Fail { drive }));
    let in_view = node.view.members | node.begun.map_or(Set::EMPTY, |begun| begun.members);
    let dropped = Set::first(model.drives) - in_view - node.alive - state.gone;
    actions.extend(dropped.iter().map(|drive| Action::Return { drive }));
    actions.push(Action::Crash);
}

/// Adds the batches that may be written now. One is under way at a time, and none while the shard's
/// homes change.
fn appends(model: &Views, state: &State, node: &Node, shard: usize, actions: &mut Vec<Action>) {
    let rules = &model.rules;
    if rules.is_touched(node, shard) || !rules.is_settled(state, node, shard) {
        return;
    }
    let history = &state.histories[shard];
    let targets = targets(node, shard);
    let reachable = || (targets & node.alive).subsets().filter(|reached| !reached.is_empty());
    if history.of_users().len() < model.bounds.writes {
        actions.extend(reachable().map(|reached| Action::Write { shard, reached }));
    }
    if history.openers().len() < model.bounds.rolls {
        let members = Set::first(model.drives).subsets();
        for members in members.filter(|members| rules.may_roll_to(node, shard, *members)) {
            actions.extend(reachable().map(|reached| Action::Roll { shard, members, reached }));
        }
    }
}

/// Returns the drives that a batch has to be durable on.
fn targets(node: &Node, shard: usize) -> Drives {
    node.shards[shard].written_to & node.view.members
}

/// Adds the checkpoints that would give a drive a newer root. A checkpoint covers only what is
/// durable on all drives that it was written to.
fn checkpoints(rules: &Rules, state: &State, node: &Node, shard: usize, actions: &mut Vec<Action>) {
    if !rules.is_settled(state, node, shard) {
        return;
    }
    let current = current_set(state, node, shard);
    let drives = (targets(node, shard) & node.alive).iter();
    let has_older_root = |drive: &u8| state.drive(*drive).logs[shard].root != Some(current);
    actions.extend(drives.filter(has_older_root).map(|drive| Action::Checkpoint { shard, drive }));
}

fn current_set(state: &State, node: &Node, shard: usize) -> LogSet {
    state.histories[shard].set_behind(node.shards[shard].log)
}

/// Returns the batches on a drive that lie in sets before every root that counts.
fn unneeded(rules: &Rules, state: &State, node: &Node, shard: usize, drive: u8) -> Set {
    let counted = rules.roots_that_count(node, shard).iter();
    let roots = counted.map(|drive| state.drive(drive).logs[shard].root.unwrap_or(LogSet::FIRST));
    let bound = if rules.one_root_is_enough() { roots.max() } else { roots.min() };
    let bound = bound.unwrap_or(LogSet::FIRST);
    state.histories[shard].before(bound, state.drive(drive).logs[shard].held)
}

/// Adds every change of view: drives that failed are dropped, others are taken back, homes move to
/// drives that are ready.
fn changes(model: &Views, node: &Node, actions: &mut Vec<Action>) {
    let from = node.begun.unwrap_or(node.view);
    if from.counter >= model.bounds.counter {
        return;
    }
    for members in node.alive.subsets() {
        for first in homes(model, node, 0, members) {
            for second in homes(model, node, 1, members) {
                let homes = [first, if model.shards > 1 { second } else { first }];
                let (counter, known) = (from.counter + 1, from.known | members);
                let view = View { epoch: from.epoch, counter, members, homes, known };
                if model.rules.may_change_to(node, &from, &view) {
                    let reached = members.subsets().filter(|reached| !reached.is_empty());
                    actions.extend(reached.map(|reached| Action::Change { view, reached }));
                }
            }
        }
    }
}

/// Returns what the homes of a shard may be in a view with `members`. A shard that the model leaves
/// out has one choice, which does not matter.
fn homes(model: &Views, node: &Node, shard: usize, members: Drives) -> Vec<Drives> {
    if shard >= model.shards {
        return vec![Set::EMPTY];
    }
    members.subsets().filter(|homes| model.rules.may_be_homes(node, shard, members, *homes)).collect()
}

/// Returns the drives that hold exactly this view.
fn holders(state: &State, view: &View) -> Drives {
    let all = Set::first(state.drives.len() as u8).iter();
    all.filter(|drive| state.drive(*drive).view == *view).fold(Set::EMPTY, |set, drive| set | Set::one(drive))
}

/// Takes one step.
pub fn step(rules: &Rules, state: &mut State, action: Action) {
    let Some(mut node) = state.node else { return };
    match action {
        Action::Write { shard, reached } => append(state, &mut node, shard, None, reached),
        Action::Roll { shard, members, reached } => append(state, &mut node, shard, Some(members), reached),
        Action::Checkpoint { shard, drive } => {
            state.drives[usize::from(drive)].logs[shard].root = Some(current_set(state, &node, shard));
            let known = &mut node.shards[shard];
            known.ready = known.ready | Set::one(drive);
        }
        Action::LetGo { shard, drive } => {
            let unneeded = unneeded(rules, state, &node, shard, drive);
            let copy = &mut state.drives[usize::from(drive)].logs[shard];
            copy.held = copy.held - unneeded;
        }
        Action::Change { view, reached } => {
            node.begun = Some(view);
            state.write_view(view, Memberships::one(node.view.members), reached);
            use_what_is_durable(rules, state, &mut node);
        }
        Action::GoOn { drive } => {
            let begun = node.begun.expect("only a view that was begun goes on");
            state.write_view(begun, Memberships::one(node.view.members), Set::one(drive));
            use_what_is_durable(rules, state, &mut node);
        }
        Action::GiveUp => node.begun = None,
        Action::Fail { drive } => node.alive = node.alive - Set::one(drive),
        Action::Return { drive } => node.alive = node.alive | Set::one(drive),
        Action::Crash => {
            state.node = None;
            return;
        }
        Action::Start { .. } => unreachable!("a node that runs does not start"),
    }
    acknowledge(rules, state, &node);
    state.node = Some(node);
}

/// Writes a batch. One with `members` opens a log set that is written to them.
fn append(state: &mut State, node: &mut Node, shard: usize, members: Option<Drives>, reached: Drives) {
    let failed = targets(node, shard) - reached;
    let known = &mut node.shards[shard];
    let batch = state.histories[shard].append(known.log, members.is_some());
    state.write_batch(shard, batch, reached);
    known.log = known.log | Set::one(batch);
    if let Some(members) = members {
        known.written_to = members;
        known.ready = known.ready & members;
    }
    node.alive = node.alive - failed;
}

/// Uses the view that was begun, if it is durable on every drive that it has to be.
fn use_what_is_durable(rules: &Rules, state: &mut State, node: &mut Node) {
    let Some(begun) = node.begun else { return };
    if !rules.may_use(&begun, holders(state, &begun)) {
        return;
    }
    state.note_use(&begun);
    node.view = begun;
    node.begun = None;
    for (shard, known) in node.shards.iter_mut().enumerate() {
        known.written_to = rules.written_to_in(&begun, shard, known.written_to);
        known.ready = known.ready & begun.members;
    }
    state.keepers = begun.homes;
}

/// Acknowledges all of each shard that is durable on every drive that it has to be.
fn acknowledge(rules: &Rules, state: &mut State, node: &Node) {
    for shard in 0..SHARDS_MAX {
        if rules.is_settled(state, node, shard) && !rules.is_touched(node, shard) {
            let log = node.shards[shard].log;
            state.acknowledged[shard] = log & state.histories[shard].of_users();
        }
    }
}
