//! This module compares the CPU time that servers spend on the same requests. The servers share a core and take
//! turns; one client, on the calling thread, sends to whichever has its turn.

use super::closed_loop::{ClosedLoop, Plan};
use super::process::Server;
use crate::stats::median;
use crate::usage::process_cpu_ns;
use clap::Args;
use ringbolt_bench::spec::{Https, ObjectOp};
use std::time::Duration;

type AnyError = Box<dyn std::error::Error>;

/// Holds the options that say how long is measured.
#[derive(Args, Clone, Copy, Debug)]
pub struct Turns {
    /// Turns of each side.
    #[arg(long, default_value_t = 11)]
    pub repeats: usize,
    /// Measured milliseconds of each turn, after a fifth of that which is not counted.
    #[arg(long, default_value_t = 1500)]
    pub turn_ms: u64,
    /// Connections, with one request in flight on each.
    #[arg(long, default_value_t = 16)]
    pub connections: u32,
}

/// Says what is requested.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub op: ObjectOp,
    pub bytes: u64,
    pub objects: u64,
}

/// This is a server that takes part.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub name: &'a str,
    pub server: &'a Server,
    pub https: Https,
}

impl Turns {
    fn load(self, scenario: Scenario, side: &Side<'_>) -> Result<ClosedLoop, AnyError> {
        let Scenario { name, op, bytes: object_bytes, objects } = scenario;
        ClosedLoop::start(Plan {
            name: name.replace(' ', "-").to_lowercase(),
            host: side.server.address.to_string(),
            https: side.https,
            op,
            objects,
            object_bytes,
            connections: self.connections,
        })
    }

    /// Returns the server's CPU time of a request, in microseconds.
    fn turn(self, load: &mut ClosedLoop, server: &Server) -> Result<f64, AnyError> {
        load.run_for(Duration::from_millis(self.turn_ms / 5))?;
        let before_ns = process_cpu_ns(server.pid())?;
        let answered = load.run_for(Duration::from_millis(self.turn_ms))?.len();
        let used_ns = process_cpu_ns(server.pid())? - before_ns;
        load.rest()?;
        Ok(used_ns as f64 / 1000.0 / answered as f64)
    }

    /// Measures one scenario by turns, and prints each. Returns the median of each side's CPU time of a request
    /// in microseconds, in the order of the sides.
    pub fn measure(self, scenario: Scenario, sides: &[Side<'_>]) -> Result<Vec<f64>, AnyError> {
        let mut loads = Vec::new();
        for side in sides {
            loads.push((self.load(scenario, side)?, side, Vec::new()));
        }
        for repeat in 1..=self.repeats {
            // What comes before a turn must not be what comes before it always.
            let order: Vec<usize> = match repeat % 2 {
                0 => (0..loads.len()).rev().collect(),
                _ => (0..loads.len()).collect(),
            };
            for at in order {
                let (load, side, found) = &mut loads[at];
                found.push(self.turn(load, side.server)?);
            }
            print!("{repeat:2}: {}", scenario.name);
            for (_, side, found) in &loads {
                print!("  {} {:8.2} us", side.name, found[repeat - 1]);
            }
            println!();
        }
        let medians: Vec<f64> = loads.iter().map(|(_, _, found)| median(found)).collect();
        print!("medians of {}:", self.repeats);
        sides.iter().zip(&medians).for_each(|(side, us)| print!("  {} {us:.2} us", side.name));
        println!();
        Ok(medians)
    }
}
