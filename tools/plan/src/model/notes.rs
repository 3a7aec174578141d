//! This module writes the notes that a reader of a plan should know besides its figures.

use super::search::nodes_for_pieces;
use crate::constants::Source;
use crate::hardware::{Redundancy, SmallObjects};
use crate::report::words;
use crate::result::Plan;
use ringbolt_engine::node::sizing;

/// Returns the notes in the order of their importance.
pub fn notes(plan: &Plan) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(too_few_nodes(plan));
    notes.extend(redundancy(plan));
    notes.extend(other_live_bytes(plan));
    notes.extend(unused_drive(plan));
    if plan.nodes > 1 {
        notes.push(
            "Nodes do not know of each other: clients, or a proxy in front, spread buckets and keys over them. The plan \
             takes them to be spread evenly."
                .to_owned(),
        );
    }
    notes.push(
        "With one node down, all that it held and did is taken to be on the others: that is one node more."
            .to_owned(),
    );
    if plan.endurance.write_amplification_cleaner > 0.0 {
        notes.push(
            "Overwrites and deletes are taken to fall on all objects alike. When they fall on few, more or less may be \
             moved: `ringbolt plan diff` tells what a running node does."
                .to_owned(),
        );
    }
    if plan.workload.requests.get_per_s > 0.0 {
        notes.push(
            "The read cache is taken to hold the objects that are asked for most; a real one holds somewhat less of them."
                .to_owned(),
        );
    }
    notes.extend(assumptions(plan));
    notes
}

fn too_few_nodes(plan: &Plan) -> Option<String> {
    let short = plan.months.iter().find(|month| month.needed.nodes > plan.nodes)?;
    let (nodes, verb) =
        (words::counted(&plan.nodes.to_string(), "node"), if plan.nodes == 1 { "does" } else { "do" });
    Some(format!(
        "{nodes} {verb} not suffice from {} on: {} asks for {}.",
        short.month,
        short.needed.binding.title(),
        short.needed.nodes
    ))
}

fn redundancy(plan: &Plan) -> Option<String> {
    let redundancy = plan.hardware.redundancy;
    let (least, drives) = (nodes_for_pieces(&plan.hardware), plan.hardware.drives.count);
    let floor = if least > 1 {
        format!(
            " They lie on as many drives: with {} of each node, on {least} nodes at least.",
            words::counted(&drives.to_string(), "drive")
        )
    } else {
        String::new()
    };
    if redundancy.is_on_node() {
        return Some(on_node(redundancy));
    }
    if redundancy.parity == 0 {
        let instead = if drives > 1 {
            format!(
                " `ringbolt format` makes {} of {drives} drives unless it is told otherwise: --set \
                 redundancy.format=default counts it.",
                Redundancy::of_drives(drives).name()
            )
        } else {
            " Keep another copy elsewhere.".to_owned()
        };
        return Some(format!(
            "Each object lies on one drive: every drive that fails takes its objects with it.{instead}"
        ));
    }
    let small = match redundancy.small_objects {
        SmallObjects::Pieces if redundancy.data > 1 => {
            " Objects of up to 64 KiB are counted in pieces too, each with a record of its own. A log that is mirrored keeps \
             whole copies of them: --set redundancy.small_objects=copies counts these."
        }
        _ => "",
    };
    Some(format!(
        "Ringbolt stores no pieces on several nodes today: all of an object lies on the drives of one. The figures for \
         {} + {} pieces are those of the stated model, for planning ahead or for copies that something else \
         makes.{floor}{small}",
        redundancy.data, redundancy.parity
    ))
}

fn on_node(redundancy: Redundancy) -> String {
    let (name, copies) = (redundancy.name(), redundancy.copies);
    let (what, taken, more) = if redundancy.is_striped() {
        let (data, parity) = (redundancy.data_members, redundancy.failures_max());
        let stripes = format!(
            "Objects above 64 KiB are striped over {data} drives of one node with parity on {parity} more, and smaller ones \
             are on {copies} drives"
        );
        (stripes, "all of them", " What parity costs the CPU is not counted.")
    } else {
        (format!("Every byte is on {copies} drives of one node"), "all copies", "")
    };
    format!(
        "{what}, as `ringbolt format --redundancy {name}` makes them: a node that is lost takes {taken} with it. A new \
         drive is filled once the server has it (`ringbolt drive replace`): drives.replacement_hours are those until \
         then.{more}"
    )
}

/// With a larger difference, the sizes are not those of what is stored.
const LIVE_NOTED: f64 = 0.1;

fn other_live_bytes(plan: &Plan) -> Option<String> {
    let seen = plan.workload.objects.live_bytes_per_object?;
    let by_class =
        plan.layout.classes.iter().map(|class| class.objects_share * class.stored_bytes_per_object);
    let by_sizes: f64 = by_class.sum();
    ((seen / by_sizes - 1.0).abs() > LIVE_NOTED).then(|| {
        format!(
            "The node has {seen:.0} bytes live for an object, the sizes of the workload come to {by_sizes:.0}: capacity \
             counts with the former, all else with the sizes. `ringbolt plan scan` finds the real ones."
        )
    })
}

fn unused_drive(plan: &Plan) -> Option<String> {
    let (size, most) = (plan.hardware.drives.size_bytes, sizing::drive_bytes_max());
    let unused = size.checked_sub(most).filter(|unused| *unused > 0)?;
    Some(format!("A drive has room for {most} bytes in this format: {unused} bytes of each stay unused."))
}

/// Names the constants that were assumed, not measured.
fn assumptions(plan: &Plan) -> Option<String> {
    let assumed =
        plan.constants.iter().filter(|(_, constant)| matches!(constant.source, Source::Assumption { .. }));
    let names: Vec<&str> = assumed.map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| format!("Assumed, not measured: {}.", names.join(", ")))
}
