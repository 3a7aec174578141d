//! This module makes the tables of a plan.

use super::answers::{date, full, looked_at};
use super::sizes::merged;
use super::table::{Align, Column, Table, or_nothing};
use super::words::{self, amount, binary_bytes, bytes, count, factor, money, percent};
use crate::constants::Source;
use crate::hardware::{Drives, Redundancy, SmallObjects};
use crate::month::Month;
use crate::result::{Constraint, Endurance, MonthPlan, Plan, Use};
use crate::sizes::SizeClass;

/// The table of months has at most this many rows in text.
const MONTHS_SHOWN: usize = 40;
/// The table of sizes has at most this many rows.
const CLASSES_SHOWN: usize = 20;

/// Returns the table of months, with one row for `every` months; 1 shows all.
pub fn months(plan: &Plan, every: usize) -> Table {
    let columns = [
        ("month", Align::Left),
        ("objects", Align::Right),
        ("stored", Align::Right),
        ("nodes", Align::Right),
        ("drives", Align::Right),
        ("p5-p95\nnodes", Align::Right),
        ("binding", Align::Left),
        ("one down:\nnodes", Align::Right),
        ("drives", Align::Right),
        ("peak\nputs/s", Align::Right),
        ("peak\ngets/s", Align::Right),
    ];
    let mut table = Table::new("Months", &columns);
    let last = plan.months.len().saturating_sub(1);
    for (index, month) in plan.months.iter().enumerate() {
        if index.is_multiple_of(every.max(1)) || index == last {
            table.rows.push(month_row(month));
        }
    }
    table.notes.push(
        "Stored: live on drives, with redundancy. p5-p95: of the nodes over the samples. One down: what suffices \
         when one node is down."
            .to_owned(),
    );
    if every > 1 {
        table.notes.push(format!("Of {} months each {every}th; --csv has all.", plan.months.len()));
    }
    table
}

/// Returns 1, 3, 6, 12 or 24 months per row, so that the text stays short.
pub fn months_every(plan: &Plan) -> usize {
    let fits = |every: &usize| plan.months.len().div_ceil(*every) <= MONTHS_SHOWN;
    [1, 3, 6, 12].into_iter().find(fits).unwrap_or(24)
}

fn month_row(month: &MonthPlan) -> Vec<String> {
    // Numbers that nobody will build are rounded, because they must fit.
    let whole = |number: u32| match f64::from(number) {
        many if many >= 1e5 => count(many),
        few => amount(few),
    };
    vec![
        month.month.to_string(),
        count(month.objects),
        bytes(month.stored_bytes),
        whole(month.needed.nodes),
        whole(month.needed.drives),
        format!("{}-{}", whole(month.nodes_p5), whole(month.nodes_p95)),
        month.needed.binding.title().to_owned(),
        whole(month.needed_with_one_down.nodes),
        whole(month.needed_with_one_down.drives),
        count(month.peak_put_per_s),
        count(month.peak_get_per_s),
    ]
}

/// Returns the use of each resource in the months that are shown in detail.
pub fn uses(plan: &Plan, at: Option<Month>) -> Table {
    let nodes = words::counted(&amount(f64::from(plan.nodes)), "node");
    let mut table = Table::new(
        format!("Use of each limit with {nodes}"),
        &[("constraint", Align::Left), ("limit", Align::Right)],
    );
    let months = looked_at(plan, at);
    for month in &months {
        for title in [format!("{}\nused", month.month), "one down".to_owned(), "nodes".to_owned()] {
            table.columns.push(Column { title, align: Align::Right });
        }
    }
    for constraint in Constraint::ALL {
        let mut row = vec![constraint.title().to_owned(), limit(plan, constraint)];
        for month in &months {
            let found = month.uses.iter().find(|one| one.constraint == constraint);
            row.extend(found.map_or_else(|| [(); 3].map(|()| words::NOTHING.to_owned()), use_cells));
        }
        table.rows.push(row);
    }
    table.notes.push(
        "Used: of the limit at the busiest seconds; 100% is all that the limit lets be used. One down: with one node \
         less. Nodes: what this constraint alone asks for. Limit: the part of the resource that may be used."
            .to_owned(),
    );
    if plan.nodes <= 1 {
        table.notes.push("With one node alone nothing is left when it is down: shown as -.".to_owned());
    }
    table
}

fn use_cells(one: &Use) -> [String; 3] {
    [percent(one.use_of_limit), percent(one.use_of_limit_with_one_down), amount(f64::from(one.nodes))]
}

fn limit(plan: &Plan, constraint: Constraint) -> String {
    let limits = &plan.hardware.limits;
    match constraint {
        Constraint::Capacity => percent(limits.capacity),
        Constraint::DriveIops => percent(limits.drive_iops),
        Constraint::DriveBandwidth => percent(limits.drive_bandwidth),
        Constraint::Endurance => words::years(plan.hardware.drives.wanted_life_years),
        Constraint::Ram => percent(limits.ram),
        Constraint::Cpu => percent(limits.cpu),
        Constraint::Nic => percent(limits.nic),
    }
}

/// Returns when the drives are full.
pub fn fullness(plan: &Plan) -> Table {
    let columns = [
        ("full", Align::Left),
        ("5% before", Align::Right),
        ("median", Align::Right),
        ("95% before", Align::Right),
        ("samples that get there", Align::Right),
    ];
    let mut table = Table::new("Time to full", &columns);
    for (name, when) in [("80%", &plan.fill.at_80_percent), ("100%", &plan.fill.at_100_percent)] {
        let day = |days: Option<f64>| or_nothing(days.map(|days| date(plan, days)));
        table.rows.push(vec![
            name.to_owned(),
            day(when.days_p5),
            day(when.days_p50),
            day(when.days_p95),
            percent(when.share_of_samples),
        ]);
    }
    let nodes = words::counted(&amount(f64::from(plan.nodes)), "node");
    table.notes.push(format!(
        "Live bytes over what can be live on {nodes}; - is beyond the horizon. {} samples, seed {}.",
        amount(f64::from(plan.workload.horizon.samples)),
        plan.workload.horizon.seed
    ));
    table
}

/// Returns how objects are stored on drives, by their size.
pub fn layout(plan: &Plan) -> Table {
    let mut columns = vec![
        ("size", Align::Left),
        ("objects", Align::Right),
        ("users' bytes", Align::Right),
        ("mean size", Align::Right),
        ("mean stored", Align::Right),
        ("waste", Align::Right),
    ];
    let redundancy = plan.hardware.redundancy;
    let redundant = (redundancy.parity > 0 || redundancy.is_on_node())
        && plan.layout.redundant_bytes_per_object.is_some();
    let in_all = match redundancy.copies {
        1 => format!("in {} + {} pieces", redundancy.data, redundancy.parity),
        _ if redundancy.is_striped() => format!("on {} drives", redundancy.name()),
        copies => format!("in {copies} copies"),
    };
    if redundant {
        columns.extend([(in_all.as_str(), Align::Right), ("for each\nbyte", Align::Right)]);
    }
    let cells = |bytes: Option<f64>, by_byte: Option<f64>| {
        bytes.filter(|_| redundant).map(|bytes| [binary_bytes(bytes), or_nothing(by_byte.map(factor))])
    };
    let mut table = Table::new("Layout by size", &columns);
    let classes = merged(&plan.layout.classes, CLASSES_SHOWN);
    for class in &classes {
        let mut row = vec![
            size_range(class.lower_bytes, class.upper_bytes),
            percent(class.objects_share),
            percent(class.logical_share),
            binary_bytes(class.logical_bytes_per_object),
            binary_bytes(class.stored_bytes_per_object),
            percent(class.waste_share),
        ];
        let all = cells(class.redundant_bytes_per_object, class.redundant_bytes_per_logical_byte);
        row.extend(all.into_iter().flatten());
        table.rows.push(row);
    }
    let layout = &plan.layout;
    let mut row = vec![
        "all".to_owned(),
        percent(1.0),
        percent(1.0),
        binary_bytes(layout.logical_bytes_per_object),
        binary_bytes(layout.stored_bytes_per_object),
        percent(layout.waste_share),
    ];
    let all = cells(layout.redundant_bytes_per_object, layout.redundant_bytes_per_logical_byte);
    row.extend(all.into_iter().flatten());
    table.rows.push(row);
    table.notes.push(format!(
        "Waste: of the stored bytes, what is none of the users': record, headers, padding. Without redundancy. \
         Index: {} of memory for each object.",
        bytes(layout.index_bytes_per_object)
    ));
    if classes.len() < plan.layout.classes.len() {
        table.notes.push(format!("{} classes put together; --json has all.", plan.layout.classes.len()));
    }
    table
}

/// Formats a range of sizes: "4 KiB to 8 KiB", or one size.
pub fn size_range(lower: u64, upper: u64) -> String {
    let size = |value: u64| binary_bytes(value as f64);
    if lower == upper { size(lower) } else { format!("{} to {}", size(lower), size(upper)) }
}

/// Returns what one node has.
pub fn node(plan: &Plan) -> Table {
    let node = &plan.node;
    let mut table = Table::facts("One node");
    table.fact("Drives", bytes(node.raw_bytes));
    table.fact(
        "Format",
        format!("{}: superblocks, and what is behind the last whole extent", bytes(node.format_bytes)),
    );
    table.fact("Checkpoints", format!("{}: those in force and the next ones", bytes(node.checkpoint_bytes)));
    table.fact("Held back", format!("{}: room for the cleaner and the log", bytes(node.held_back_bytes)));
    if node.uneven_bytes > 0.0 {
        table.fact(
            "Uneven",
            format!(
                "{}: drives with fewer shards than others, which are full first",
                bytes(node.uneven_bytes)
            ),
        );
    }
    let of_drives = |size: f64| {
        let share = if node.raw_bytes > 0.0 { size / node.raw_bytes } else { f64::NAN };
        format!("{}, {} of the drives", bytes(size), percent(share))
    };
    table.fact("Can be live", of_drives(node.usable_bytes));
    let redundancy = plan.hardware.redundancy;
    if let Some(once) = node.usable_once_bytes.filter(|_| redundancy.is_on_node()) {
        let (name, why) = once_of(redundancy);
        table.fact(name, format!("{}: {why}", of_drives(once)));
    }
    table.fact(
        "Index",
        format!(
            "{} of {} of RAM in the first month",
            binary_bytes(node.index_bytes),
            binary_bytes(node.ram_bytes)
        ),
    );
    table
}

/// Returns what is left when everything counts once, and why.
fn once_of(redundancy: Redundancy) -> (&'static str, String) {
    let (copies, data, parity) = (redundancy.copies, redundancy.data_members, redundancy.failures_max());
    if redundancy.is_striped() {
        let why = format!(
            "of small objects one copy of {copies}, of large ones {data} of {} drives",
            data + parity
        );
        return ("Without redundancy", why);
    }
    ("One copy of it", format!("each byte is there {copies} times"))
}

/// Returns the writes and the wear of the drives.
pub fn endurance(plan: &Plan) -> Table {
    let endurance = &plan.endurance;
    let mut table = Table::facts("Writes and drive life, first month");
    table.fact(
        "Users write",
        format!("{} a day on each drive", bytes(endurance.user_bytes_per_day_per_drive)),
    );
    table.fact(
        "The drive gets",
        format!(
            "{} a day, {} drive writes a day",
            bytes(endurance.host_bytes_per_day_per_drive),
            amount(endurance.drive_writes_per_day)
        ),
    );
    let redundancy = plan.hardware.redundancy;
    let all = match redundancy.copies {
        1 => String::new(),
        _ if redundancy.is_striped() => "; all copies and parity in it".to_owned(),
        copies => format!("; all {copies} copies in it"),
    };
    table.fact("Write amplification", amplification(endurance) + &all);
    table
        .fact("Live in the log", format!("{} of the small objects' part", percent(endurance.log_live_share)));
    let drives = &plan.hardware.drives;
    let rated = drives.endurance_bytes.map_or_else(|| "not known".to_owned(), bytes);
    let used = match drives.endurance_used_share {
        used if used > 0.0 => format!(", of which {} are behind the drives", percent(used)),
        _ => String::new(),
    };
    table.fact(
        "Endurance",
        format!(
            "{rated}{used}; amplification within the drive {}",
            factor(drives.internal_write_amplification)
        ),
    );
    let life = match (endurance.life_years, drives.endurance_bytes) {
        (Some(life), _) => words::years(life),
        (None, Some(_)) => "without end: nothing is written".to_owned(),
        (None, None) => "not known".to_owned(),
    };
    table.fact("Life", format!("{life}; wanted: {}", words::years(drives.wanted_life_years)));
    table
}

fn amplification(endurance: &Endurance) -> String {
    if endurance.user_bytes_per_day_per_drive <= 0.0 {
        return "none: users write no bytes of objects, if anything".to_owned();
    }
    format!(
        "{}: objects {}, cleaner {}, checkpoints {}, deletes {}",
        factor(endurance.write_amplification),
        factor(endurance.write_amplification_objects),
        factor(endurance.write_amplification_cleaner),
        factor(endurance.write_amplification_checkpoints),
        factor(endurance.write_amplification_deletes)
    )
}

/// Returns what can be lost.
pub fn durability(plan: &Plan) -> Table {
    let durability = &plan.durability;
    let mut table = Table::facts("Durability");
    table.fact(
        "Drive failures",
        format!(
            "{} a year among {}",
            amount(durability.drive_failures_per_year),
            words::counted(&amount(f64::from(durability.drives)), "drive")
        ),
    );
    if let Some(groups) = durability.groups {
        let copies = plan.hardware.redundancy.copies;
        table.fact(
            "Groups of drives",
            format!(
                "{} of {copies} drives each; when one is down as a whole, data are lost",
                amount(f64::from(groups))
            ),
        );
    }
    let rebuild = durability.rebuild_hours.map_or_else(
        || format!("none: {}", durability.rebuild_bound_by),
        |hours| format!("{}, limited by {}", words::hours(hours), durability.rebuild_bound_by),
    );
    table.fact("Rebuild of a drive", rebuild);
    if let (Some(read), Some(written)) = (durability.rebuild_read_bytes, durability.rebuild_written_bytes) {
        let from = match plan.hardware.redundancy {
            redundancy if redundancy.is_striped() => {
                format!("; each part of a stripe is made from {}", redundancy.data_members)
            }
            _ => String::new(),
        };
        let amounts = format!("{} of the other drives, {}", bytes(read), bytes(written));
        table.fact("It reads and writes", format!("{amounts} to the new one{from}"));
    }
    table.fact("Losing any object", {
        let loss = words::probability(durability.data_loss_probability_per_year);
        format!("{loss}, within a year; a loss takes {} with it", bytes(durability.bytes_lost_per_loss))
    });
    table.fact("Model", durability.model.clone());
    table
}

pub fn cost(plan: &Plan) -> Table {
    let (cost, prices) = (&plan.cost, &plan.hardware.cost);
    let money = |value: f64| money(value, &prices.currency);
    let mut table = Table::facts("Cost");
    let nodes = words::counted(&amount(f64::from(plan.nodes)), "node");
    table.fact(
        "Purchase",
        format!("{} for {nodes}, spread over {}", money(cost.purchase), words::years(prices.years)),
    );
    table.fact(
        "Power",
        format!(
            "{} a month, {} W per usable TB",
            money(cost.power_per_month),
            or_nothing(cost.watts_per_usable_tb.map(amount))
        ),
    );
    table.fact("Both", format!("{} a month", money(cost.per_month)));
    table.fact("Per usable TB-month", or_nothing(cost.per_usable_tb_month.map(money)));
    table.fact("Per stored TB-month", or_nothing(cost.per_stored_tb_month.map(money)));
    let requests = cost.per_million_requests.map_or_else(|| "no requests".to_owned(), money);
    table.fact("Per million requests", requests);
    table
        .notes
        .push("TB: 10^12 bytes. Requests carry all of the cost here, as if storing were free.".to_owned());
    table
}

/// Returns a summary of workload and hardware, with the sources of what was measured.
pub fn made_from(plan: &Plan) -> Table {
    let (workload, hardware) = (&plan.workload, &plan.hardware);
    let (requests, drives) = (&workload.requests, &hardware.drives);
    let mut table = Table::facts("Made from");
    table.fact("Workload", workload.name.clone());
    table.fact("Objects", {
        let mean = binary_bytes(workload.objects.sizes.mean_bytes());
        format!("{} in the first month, {mean} on average", count(workload.objects.count as f64))
    });
    table.fact("Sizes from", workload.objects.sizes_source.clone());
    table.fact("Requests a second", {
        let rates = [
            ("put", requests.put_per_s),
            ("get", requests.get_per_s),
            ("head", requests.head_per_s),
            ("list", requests.list_per_s),
            ("delete", requests.delete_per_s),
        ];
        let rates = rates.map(|(name, rate)| format!("{name} {}", count(rate)));
        format!("{}; busiest seconds {} times the mean", rates.join(", "), amount(workload.day.peak()))
    });
    for (name, by_size) in
        [("GETs by size", &requests.gets_by_size), ("HEADs by size", &requests.heads_by_size)]
    {
        if let Some(classes) = by_size {
            let share = |class: &SizeClass| {
                format!("{} of {}", percent(class.share), size_range(class.lower_bytes, class.upper_bytes))
            };
            table.fact(name, classes.iter().map(share).collect::<Vec<_>>().join(", "));
        }
    }
    table.fact("Hardware", hardware.name.clone());
    table.fact(
        "Node",
        format!(
            "{} cores, {} RAM, NIC {}/s, {} of {}",
            hardware.node.cores,
            binary_bytes(hardware.node.ram_bytes as f64),
            bytes(hardware.node.nic_bytes_per_s),
            words::counted(&drives.count.to_string(), "drive"),
            bytes(drives.size_bytes as f64)
        ),
    );
    drives_from(&mut table, drives);
    let pieces = hardware.redundancy;
    table.fact(
        "Redundancy",
        match pieces.parity {
            _ if pieces.is_mirror() => {
                format!("{}: each byte on {} drives of a node", pieces.name(), pieces.copies)
            }
            _ if pieces.is_striped() => format!(
                "{}: large objects on {} drives of a node with parity on {} more, small ones on {}",
                pieces.name(),
                pieces.data_members,
                pieces.failures_max(),
                pieces.copies
            ),
            0 if pieces.data <= 1 => "none: each object once".to_owned(),
            parity => {
                let small = match pieces.small_objects {
                    SmallObjects::Pieces => String::new(),
                    SmallObjects::Copies => format!("; {} copies of objects up to 64 KiB", 1 + parity),
                };
                format!("{} pieces, any {} of them suffice{small}", pieces.data + parity, pieces.data)
            }
        },
    );
    table
}

/// Adds what is known about the drives, and its source.
fn drives_from(table: &mut Table, drives: &Drives) {
    let speed = &drives.speed;
    table.fact(
        "Speed of a drive",
        format!(
            "4 KiB: {} reads/s, {} writes/s; {}/s reading, {}/s writing",
            count(speed.read_iops),
            count(speed.write_iops),
            bytes(speed.read_bytes_per_s),
            bytes(speed.write_bytes_per_s)
        ),
    );
    table.fact("Speed from", speed.source.clone());
    let worn = match drives.endurance_used_share {
        used if used > 0.0 => {
            "; what is behind the drives: drives.endurance_used, or a drive named by --device"
        }
        _ => "",
    };
    table.fact(
        "Endurance from",
        match drives.endurance_bytes {
            Some(_) => format!(
                "drives.tbw, or drives.dwpd and warranty_years, of the hardware file: the maker's data sheet{worn}"
            ),
            None => "nothing: the hardware file gives none".to_owned(),
        },
    );
    table.fact(
        "Failures from",
        "drives.annual_failure_rate and replacement_hours of the hardware file: 1% and 24 hours where it gives none, \
         assumptions",
    );
    table.fact(
        "Prices and watts",
        "those of the hardware file: offers and data sheets, 0 where it gives none",
    );
}

/// Returns each constant with its source.
pub fn constants(plan: &Plan) -> Table {
    let columns = [("name", Align::Left), ("value", Align::Right), ("source", Align::Left)];
    let mut table = Table::new("Constants", &columns);
    for (name, constant) in &plan.constants {
        table.rows.push(vec![name.clone(), amount(constant.value), source(&constant.source)]);
    }
    table
}

fn source(source: &Source) -> String {
    match source {
        Source::Measured { how, machine, unix_ms } => {
            format!("measured {} on {machine}: {how}", words::minute(*unix_ms))
        }
        Source::Datasheet { of } => format!("datasheet: {of}"),
        Source::Format { what } => format!("the format: {what}"),
        Source::Assumption { why } => format!("assumption: {why}"),
    }
}

pub fn notes(plan: &Plan) -> Table {
    let mut table = Table::new("Notes", &[("", Align::Right), ("", Align::Left)]);
    for (index, note) in plan.notes.iter().enumerate() {
        table.rows.push(vec![format!("{}.", index + 1), note.clone()]);
    }
    table
}

/// Returns all tables in order.
pub fn all(plan: &Plan, at: Option<Month>, months_every: usize) -> Vec<Table> {
    let mut tables = vec![
        months(plan, months_every),
        uses(plan, at),
        fullness(plan),
        layout(plan),
        node(plan),
        endurance(plan),
        durability(plan),
        cost(plan),
        made_from(plan),
        constants(plan),
    ];
    if !plan.notes.is_empty() {
        tables.push(notes(plan));
    }
    tables
}

/// Returns a sentence for the heading of a figure.
pub fn full_sentence(plan: &Plan) -> String {
    format!(
        "80% full: {}. 100% full: {}.",
        full(plan, &plan.fill.at_80_percent),
        full(plan, &plan.fill.at_100_percent)
    )
}
