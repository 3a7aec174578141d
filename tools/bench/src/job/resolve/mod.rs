//! This module makes jobs of sections: what they inherit, their stage and group, and the value of
//! each key.
//!
//! Invariants: a later entry overrides an earlier one, and a section's own entry an inherited one.
//! A section inherits from the global sections above it in its own file, and from those of the
//! command line.

mod checks;
mod fields;
mod load;
mod objects;
mod target;

use self::fields::Fields;
use super::error::Refusals;
use super::keys::Kind;
use super::parser::{Entry, Section, Surroundings};
use crate::spec::{Calls, Engine, Job, Plan};
use ringbolt_engine::ring::blocks::BlockMemory;
use std::collections::{BTreeMap, BTreeSet};

/// Holds the jobs of all sections, and warnings about them.
#[derive(Debug, Default)]
pub struct Resolved {
    pub plan: Plan,
    /// Lists keys that the job's engine does not use, as text.
    pub warnings: Vec<String>,
}

/// Replaces a secret wherever keys are shown.
pub const MASK: &str = "***";

/// Resolves all jobs of all sections, in order. Values and combinations that are not valid are
/// added to `refusals`.
pub fn resolve(sections: &[Section], around: &Surroundings<'_>, refusals: &mut Refusals) -> Resolved {
    let mut resolved = Resolved::default();
    let (mut tuning, mut engines) = (BTreeSet::new(), BTreeSet::new());
    for (index, section) in sections.iter().enumerate() {
        if section.is_global() {
            resolved.plan.global.extend(section.entries.iter().map(shown));
            continue;
        }
        let entries = inherited(sections, index).chain(&section.entries).collect();
        let begins_file = section.source > 1
            && !sections[..index].iter().any(|above| above.source == section.source && !above.is_global());
        let fields = Fields::new(section, entries, around);
        let job = job(&fields, &resolved.plan.jobs, begins_file, around);
        resolved.warnings.extend(unheeded(section, &job));
        engines.extend(fields.text("ioengine").and_then(stands_in));
        engines.extend(one_at_a_time(&fields, &job));
        tuning.extend(fields.entries().filter(|entry| matches!(entry.key.kind, Kind::Tuning(_))).map(shown));
        fields.into_refused().into_iter().for_each(|error| refusals.add(error));
        resolved.plan.jobs.push(job);
    }
    resolved.warnings.extend(engines);
    resolved.warnings.extend(without_effect(tuning));
    resolved
}

/// Says how our engine differs from fio's engine of this name.
fn stands_in(engine: &str) -> Option<String> {
    super::values::difference(engine).map(|difference| format!("ioengine={engine}: {difference}"))
}

/// Warns when the job asks for more operations in flight than its engine supports.
fn one_at_a_time(fields: &Fields<'_>, job: &Job) -> Option<String> {
    let depth = fields.text("iodepth").filter(|depth| *depth != "1")?;
    let engine = fields.text("ioengine")?;
    (job.calls != Calls::Queued).then(|| {
        format!(
            "iodepth={depth}: ioengine={engine} has one operation in flight; numjobs has more, or \
             ioengine=io_uring"
        )
    })
}

/// Lists the keys that tune fio itself, in one line.
fn without_effect(tuning: BTreeSet<(String, String)>) -> Option<String> {
    let keys: Vec<String> = tuning.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let text = "tunes fio itself: without effect here (ringbolt bench --cmdhelp=KEY says why)";
    (!keys.is_empty()).then(|| format!("{}: {text}", keys.join(", ")))
}

/// Iterates over the entries of the global sections that a section inherits.
pub fn inherited(sections: &[Section], index: usize) -> impl Iterator<Item = &Entry> {
    let source = sections[index].source;
    sections[..index]
        .iter()
        .filter(move |above| above.is_global() && (above.source == 0 || above.source == source))
        .flat_map(|above| &above.entries)
}

/// Returns a key and its value as results show them.
fn shown(entry: &Entry) -> (String, String) {
    let value = match &entry.value {
        Some(_) if entry.key.secret => MASK.to_owned(),
        Some(value) => value.clone(),
        None => "1".to_owned(),
    };
    (entry.key.name.to_owned(), value)
}

fn job(fields: &Fields<'_>, before: &[Job], begins_file: bool, around: &Surroundings<'_>) -> Job {
    let engine = fields.special("ioengine", super::values::engine).unwrap_or(ENGINE_DEFAULT);
    let stonewall = fields.flag("stonewall") || begins_file;
    let new_group = fields.flag("new_group");
    let (stage, group) = before.last().map_or((0, 0), |last| {
        (last.stage + usize::from(stonewall), last.group + usize::from(stonewall || new_group))
    });
    let mut job = blank(fields.name());
    job.engine = engine;
    job.stage = stage;
    job.group = group;
    job.group_reporting = fields.flag("group_reporting");
    job.given =
        fields.entries().filter(|entry| entry.key.name != "name").map(shown).collect::<BTreeMap<_, _>>();
    job.description = fields.text("description").map(str::to_owned);
    job.wait_for = fields.text("wait_for").map(str::to_owned);
    target::fill(&mut job, fields);
    load::fill(&mut job, fields);
    objects::fill(&mut job, fields, around);
    job.calls = match fields.text("ioengine") {
        Some(engine) => super::values::calls(engine),
        // fio has one call after the other, whatever the depth is.
        // A call can not discard as the ring does.
        None if job.depth == 1 && !job.pattern.trims => Calls::Plain,
        None => Calls::Queued,
    };
    if job.calls != Calls::Queued {
        job.depth = 1;
    }
    checks::check(&job, fields, before);
    job
}

/// Lists keys of a job's own section that its engine does not use. Inherited keys are not reported,
/// because one file often has jobs for several engines.
fn unheeded(section: &Section, job: &Job) -> Vec<String> {
    let own = section.entries.iter().filter(|entry| !entry.key.is_without_effect());
    own.filter(|entry| !entry.key.engines.include(job.engine))
        .map(|entry| {
            format!(
                "{}: {} says nothing to this job's engine; it is for {}",
                entry.place,
                entry.key.name,
                entry.key.engines.names()
            )
        })
        .collect()
}

const ENGINE_DEFAULT: Engine = Engine::IoUring;

/// Returns a job with every default of a job file.
fn blank(name: &str) -> Job {
    Job {
        direct: false,
        memory: BlockMemory::ORDINARY,
        seed: load::SEED_DEFAULT,
        percentiles: load::PERCENTILES_DEFAULT.to_vec(),
        objects: objects::blank(),
        ..Job::plain(name, ENGINE_DEFAULT)
    }
}

#[cfg(test)]
mod tests;
