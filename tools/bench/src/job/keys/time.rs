//! This module lists the keys of time: when a job begins, how long it runs, and which jobs run
//! together.

use super::{Key, Kind};

pub const KEYS: &[Key] = &[
    Key::new("runtime", Kind::Seconds, "runtime=30s", "Stop after this time at the latest")
        .aliases(&["timeout"])
        .default("until size is done"),
    Key::new("time_based", Kind::Flag, "time_based", "Begin again until runtime is over").default("0"),
    Key::new("ramp_time", Kind::Seconds, "ramp_time=5s", "Run so long before anything is counted")
        .default("0"),
    Key::new("startdelay", Kind::Seconds, "startdelay=2s", "Begin so much later than the others")
        .aliases(&["start_delay"])
        .default("0"),
    Key::new("loops", Kind::Number, "loops=3", "Do all of it so many times").default("1").range("1 or more"),
    Key::new("steadystate", Kind::Special, "steadystate=iops:2%", "Stop once the rate is steady over a window")
        .aliases(&["ss"])
        .range("iops:, bw:, iops_slope: or bw_slope: and a limit, in per cent of the mean with %")
        .text(
            "The largest deviation from the window's mean, or the slope of a line through it (per sample), has to be \
             below the limit. With group_reporting the group's sum is judged. Give runtime too: it is the latest end.",
        ),
    Key::new("steadystate_duration", Kind::Seconds, "steadystate_duration=30s", "The window of steadystate")
        .aliases(&["ss_dur"])
        .default("30s"),
    Key::new("steadystate_ramp_time", Kind::Seconds, "steadystate_ramp_time=10s", "The window begins so late")
        .aliases(&["ss_ramp"])
        .default("0"),
    Key::new("steadystate_check_interval", Kind::Seconds, "steadystate_check_interval=2s", "A sample is so long")
        .aliases(&["ss_interval"])
        .default("1s"),
    Key::new("number_ios", Kind::Number, "number_ios=10000", "Stop after so many operations")
        .range("1 or more"),
    Key::new("stonewall", Kind::Flag, "stonewall", "Begin when all jobs above have ended")
        .aliases(&["wait_for_previous"])
        .default("0")
        .text("Begins a reporting group too. Each job file after the first begins so."),
    Key::new("wait_for", Kind::Text, "wait_for=fill", "Begin when the job of this name has ended")
        .text("It has to stand above, and can not be in a later stage."),
    Key::new("group_reporting", Kind::Flag, "group_reporting", "One result for all threads of the group")
        .default("0"),
    Key::new("new_group", Kind::Flag, "new_group", "Begin a reporting group").default("0"),
];
