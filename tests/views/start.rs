//! The start of a node: the promise, the logs made alike, the new view, each durable before the next
//! (rule 4). A start is one step with an end, because nothing else happens meanwhile.

use crate::model::{Action, End, Views};
use crate::rules::{Rules, StartPlan};
use crate::set::{Drives, Set};
use crate::state::{Node, SHARDS_MAX, Shard, State};

/// Adds every start with every end: any drives may be present, and a cut may come at every write.
pub fn actions(model: &Views, state: &State, actions: &mut Vec<Action>) {
    if state.starts >= model.bounds.starts {
        return;
    }
    let left = Set::first(model.drives) - state.gone;
    for present in left.subsets().filter(|present| !present.is_empty()) {
        for named in words(model, state, present) {
            let Some(plan) = model.rules.plan_start(state, present, state.gone | named) else { continue };
            let ends = ends(&model.rules, state, &plan);
            actions.extend(ends.into_iter().map(|end| Action::Start { present, named, end }));
        }
    }
}

/// Returns which drives the operator may name: any that are absent, when the start is refused
/// without.
fn words(model: &Views, state: &State, present: Drives) -> Vec<Drives> {
    let rules = &model.rules;
    if rules.plan_start(state, present, state.gone).is_some() {
        return vec![Set::EMPTY];
    }
    let absent = Set::first(model.drives) - present - state.gone;
    let allowed = |named: &Drives| (state.gone | *named).len() <= model.bounds.words;
    absent.subsets().filter(|named| !named.is_empty() && allowed(named)).collect()
}

/// Returns every end of a start. Steps that change nothing have no cut of their own.
fn ends(rules: &Rules, state: &State, plan: &StartPlan) -> Vec<End> {
    let mut ends = Vec::new();
    let some = |of: Drives| of.subsets().filter(|reached| !reached.is_empty());
    if rules.promises() {
        ends.extend(some(plan.here).map(|reached| End::CutInPromise { reached }));
    }
    let lacking = lacking(state, plan);
    for first in lacking[0].subsets() {
        let both = lacking[1].subsets().map(|second| [first, second]);
        let both = both.filter(|reached| *reached != [Set::EMPTY; SHARDS_MAX]);
        ends.extend(both.map(|reached| End::CutInCopy { reached }));
    }
    let partly = some(plan.here).filter(|reached| *reached != plan.here);
    ends.extend(partly.map(|reached| End::CutInView { reached }));
    ends.push(End::Serves);
    if rules.serves_early() {
        ends.push(End::ServesBeforeView);
    }
    ends
}

/// Returns the homes whose log is not yet what all are made alike to.
fn lacking(state: &State, plan: &StartPlan) -> [Drives; SHARDS_MAX] {
    let mut lacking = plan.view.homes;
    for (shard, homes) in lacking.iter_mut().enumerate() {
        let is_alike = |home: &u8| state.log_of(*home, shard) == Some(plan.logs[shard]);
        *homes = *homes - homes.iter().filter(is_alike).fold(Set::EMPTY, |set, home| set | Set::one(home));
    }
    lacking
}

/// Does a start up to its end.
pub fn start(rules: &Rules, state: &mut State, present: Drives, named: Drives, end: End) {
    for drive in named.iter() {
        state.lose(drive);
    }
    let plan = rules.plan_start(state, present, state.gone).expect("only starts that go on are taken");
    state.starts += 1;
    if let End::CutInPromise { reached } = end {
        return state.write_promise(plan.view.epoch, reached);
    }
    if rules.promises() {
        state.write_promise(plan.view.epoch, plan.here);
    }
    if let End::CutInCopy { reached } = end {
        return make_alike(state, &plan, present, reached);
    }
    let lacking = lacking(state, &plan);
    make_alike(state, &plan, present, lacking);
    match end {
        End::CutInView { reached } => state.write_view(plan.view, plan.bases, reached),
        End::Serves => {
            state.write_view(plan.view, plan.bases, plan.here);
            serve(state, &plan, present);
        }
        End::ServesBeforeView => serve(state, &plan, present),
        End::CutInPromise { .. } | End::CutInCopy { .. } => unreachable!("these ends came earlier"),
    }
}

/// Copies what the homes in `reached` lack, batch by batch, from any drive that has it.
fn make_alike(state: &mut State, plan: &StartPlan, present: Drives, reached: [Drives; SHARDS_MAX]) {
    for (shard, homes) in reached.into_iter().enumerate() {
        for home in homes.iter() {
            let missing = plan.logs[shard] - state.log_of(home, shard).unwrap_or(Set::EMPTY);
            for batch in missing.iter() {
                let has = |drive: u8| state.drive(drive).logs[shard].held.contains(batch);
                if present.iter().any(has) {
                    state.write_batch(shard, batch, Set::one(home));
                }
            }
        }
    }
}

/// Serves in the view of the start.
fn serve(state: &mut State, plan: &StartPlan, present: Drives) {
    let shard = |shard: usize| {
        let homes = plan.view.homes[shard];
        Shard { log: plan.logs[shard], written_to: homes, ready: homes }
    };
    let shards = std::array::from_fn(shard);
    for (shard, log) in plan.logs.into_iter().enumerate() {
        excuse(state, shard, log);
    }
    state.note_use(&plan.view);
    state.node = Some(Node { alive: present, view: plan.view, begun: None, shards });
    state.keepers = plan.view.homes;
}

/// Excuses a loss, if every drive is gone for good that had all that was acknowledged. As long as
/// one of them is not, nothing may be lost, whatever the operator says of others.
fn excuse(state: &mut State, shard: usize, log: Set) {
    if state.keepers[shard].is_within(state.gone) {
        state.acknowledged[shard] = state.acknowledged[shard] & log;
    }
}
