//! This module measures many small objects: their memory, and the time until a restarted server
//! responds.

use crate::{AnyError, BUCKET, Bench, make_bucket, renderer, start};
use ringbolt_benches::engine_load::{object_body, object_key};
use ringbolt_benches::http::client::{ClientError, Connection, block_on};
use ringbolt_benches::http::process::{ServeOptions, Server};
use ringbolt_benches::http::request::{Payload, Renderer, Request};
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::{on_core, process_resident_bytes};
use ringbolt_benches::verdict::at_most;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// This many connections store the objects; with more, a commit is shared by more.
const STORING: usize = 64;

/// Measures resident bytes for each object: those of a server just started on them, less those of
/// one just started on an empty drive.
pub fn memory(bench: &mut Bench) -> Result<(), AnyError> {
    let count = bench.options.objects;
    println!("\nmemory of {count} objects with 40-byte keys");
    let options = bench.fresh("s3-million", "4GiB")?;
    let server = start(&options)?;
    make_bucket(&server)?;
    server.stop()?;
    let mut empty = Vec::new();
    for _ in 0..bench.options.repeats {
        empty.push(resident_after_start(&options)?);
    }
    let server = start(&options)?;
    store(bench, &server)?;
    println!("resident after storing, before a restart: {:.1} MB", resident(&server)? / 1e6);
    server.stop()?;
    let mut loaded = Vec::new();
    for repeat in 0..bench.options.repeats {
        loaded.push(resident_after_start(&options)?);
        println!(
            "{}: empty {:.1} MB, loaded {:.1} MB",
            repeat + 1,
            empty[repeat] / 1e6,
            loaded[repeat] / 1e6
        );
    }
    let each = (median(&loaded) - median(&empty)) / count as f64;
    bench.verdicts.judge("resident memory for each object", each, "B", at_most(200.0));
    Ok(())
}

/// Measures the time from the start to the first response, by turns after an orderly stop and after
/// a kill.
pub fn restart(bench: &mut Bench) -> Result<(), AnyError> {
    let count = bench.options.objects;
    println!("\nrestart with {count} objects");
    let options = bench.fresh("s3-million", "4GiB")?;
    let server = start(&options)?;
    make_bucket(&server)?;
    store(bench, &server)?;
    let (mut after_stop, mut after_kill) = (Vec::new(), Vec::new());
    // The first end is a kill: the objects are only in the log and in existing checkpoints.
    let mut running = server;
    for repeat in 1..=bench.options.repeats {
        running.kill()?;
        let (killed, seconds) = first_get(bench, &options)?;
        after_kill.push(seconds);
        println!("{repeat}: after a kill {seconds:.2} s");
        let stopping = killed.stop()?;
        let (stopped, seconds) = first_get(bench, &options)?;
        after_stop.push(seconds);
        println!("{repeat}: after a stop ({:.2} s) {seconds:.2} s", stopping.as_secs_f64());
        running = stopped;
    }
    let name = format!("restart with {count} objects");
    // Only the first start after a kill replays the whole log, so the worst value counts.
    let worst = after_kill.iter().copied().fold(f64::NAN, f64::max);
    bench.verdicts.judge(&format!("{name}, after a stop"), median(&after_stop), "s", at_most(3.0));
    bench.verdicts.judge(&format!("{name}, after a kill, worst"), worst, "s", at_most(3.0));
    running.stop()?;
    Ok(())
}

/// Starts a server and waits until the last object can be read.
fn first_get(bench: &Bench, options: &ServeOptions) -> Result<(Server, f64), AnyError> {
    let started = Instant::now();
    let mut server = Server::start_ringbolt(options)?;
    let path = format!("/{BUCKET}/{}", object_key(bench.options.objects - 1));
    let request = renderer(&server).signed("GET", &path);
    let (status, time) = server.first_answer(&request, started, Duration::from_secs(120))?;
    if status != 200 {
        return Err(format!("the last object answered {status} after a restart").into());
    }
    Ok((server, time.as_secs_f64()))
}

fn resident(server: &Server) -> Result<f64, AnyError> {
    Ok(process_resident_bytes(server.pid())? as f64)
}

fn resident_after_start(options: &ServeOptions) -> Result<f64, AnyError> {
    let server = start(options)?;
    let bytes = resident(&server)?;
    server.stop()?;
    Ok(bytes)
}

/// Stores objects `0..objects` through S3.
fn store(bench: &Bench, server: &Server) -> Result<(), AnyError> {
    let (count, length) = (bench.options.objects, bench.options.object_bytes);
    let renderer = renderer(server);
    let started = Instant::now();
    on_core(bench.options.place.client_core, || store_here(renderer, count, length))??;
    let seconds = started.elapsed().as_secs_f64();
    println!("stored {count} objects of {length} bytes in {seconds:.1} s, {:.0}/s", count as f64 / seconds);
    Ok(())
}

fn store_here(renderer: Renderer, count: u64, length: usize) -> Result<(), ClientError> {
    let address = renderer.address;
    let (next, renderer) = (Rc::new(Cell::new(0u64)), Rc::new(renderer));
    block_on(async {
        let workers: Vec<_> = (0..STORING)
            .map(|_| {
                let (next, renderer) = (next.clone(), renderer.clone());
                monoio::spawn(async move {
                    let mut connection = Connection::open(address).await?;
                    while next.get() < count {
                        let number = next.replace(next.get() + 1);
                        let path = format!("/{BUCKET}/{}", object_key(number));
                        let bytes =
                            renderer.put(&path, &object_body(number, length), Payload::UnsignedWithCrc32c);
                        connection.ask_checked(&Request { bytes, expected_body: None }).await?;
                    }
                    Ok::<(), ClientError>(())
                })
            })
            .collect();
        for worker in workers {
            worker.await?;
        }
        Ok(())
    })?
}
