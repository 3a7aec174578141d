use super::*;
use crate::result::{JobResult, Usage};
use crate::spec::{ByDirection, Durable, ObjectOp};

fn job() -> Job {
    let block = ByDirection::same(BlockSize::Fixed(4096));
    Job { size: Some(1 << 20), block, depth: 8, ..Job::plain("mix", Engine::IoUring) }
}

#[test]
fn every_layer_does_the_same_on_as_many_things() {
    let mut job = job();
    (job.pattern.writes, job.size) = (true, Some((1 << 20) + 100));
    let wanted = check(&job).unwrap();
    let [raw, engine, s3] =
        [wanted.on_drive(Path::new("/a")), wanted.on_engine(Path::new("/b")), wanted.over_s3()];
    assert_eq!((raw.engine, engine.engine, s3.engine), (Engine::IoUring, Engine::Ringbolt, Engine::S3));
    assert!(raw.durable == Durable::Data && raw.direct, "writes are as durable as those of objects");
    for layer in [&raw, &engine, &s3] {
        assert_eq!((layer.size, layer.objects.objects, layer.depth), (Some(1 << 20), 256, 8));
        assert_eq!((layer.block.clone(), layer.seed, &layer.cpus), (job.block.clone(), job.seed, &raw.cpus));
    }
    assert!(wanted.drive_bytes() > 2 << 20);
}

#[test]
fn what_layers_can_not_share_is_refused_by_its_key() {
    let refused = |change: &dyn Fn(&mut Job)| {
        let mut job = job();
        change(&mut job);
        check(&job).err().unwrap_or_default()
    };
    assert!(refused(&|job| job.size = None).contains("size="));
    assert!(refused(&|job| job.block.read = BlockSize::Range { least: 1, most: 2 }).contains("bs="));
    assert!(refused(&|job| job.threads = 2).contains("numjobs"));
    assert!(refused(&|job| job.objects.ops = Some(vec![(ObjectOp::Get, 1)])).contains("op="));
    assert!(refused(&|job| job.pattern.trims = true).contains("trim"));
    assert_eq!(refused(&|_| ()), "");
}

fn result(ios: u64, cpu_ns: u64) -> JobResult {
    let mut result = JobResult::empty(&job());
    result.usage = Usage { user_ns: cpu_ns, wall_ns: 1_000_000_000, ..Usage::default() };
    let read = &mut result.by_direction.read;
    (read.ios, read.bytes, read.runtime_ns) = (ios, ios * 4096, 1_000_000_000);
    (0..ios).for_each(|_| read.clat.record(1_000_000_000 / ios));
    result
}

#[test]
fn losses_are_against_the_layer_below() {
    let layers =
        [(Layer::Drive, result(1000, 100_000_000), None), (Layer::S3, result(500, 100_000_000), Some(0.5))];
    let figures = layers
        .iter()
        .map(|(layer, result, server)| figures::LayerFigures::of(*layer, result, *server).unwrap());
    let report = Report::new(&job(), figures.collect());
    let loss = &report.losses[0];
    assert!((loss.iops_percent - 50.0).abs() < 0.1 && (loss.latency_p50_percent - 100.0).abs() < 1.0);
    // The CPU time is 100 us, against 200 us of the client and 1,000 us of the server.
    assert!((loss.cpu_percent - 1100.0).abs() < 0.1, "{loss:?}");
    let text = table::text(&report);
    assert!(
        text.contains("read IOPS") && text.contains("500 (-50%)") && !text.contains("write IOPS"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!((&json["version"], &json["layers"][1]["layer"]), (&1.into(), &"s3".into()));
    assert!(figures::LayerFigures::of(Layer::Drive, &result(0, 1), None).is_none());
}
