use super::*;
use crate::report::sample;
use crate::spec::BlockSize;

const REGION: Region = Region { start: 0, length: 1000 * 4096 };

fn source(job: &Job) -> Source {
    Source::new(job, 0, &Target::Files(vec![REGION])).unwrap()
}

/// Takes all operations of a pass, at a time when everything is due.
fn pass(source: &mut Source) -> Vec<Work> {
    std::iter::from_fn(|| match source.next(u64::MAX) {
        Next::Work(work) => Some(work),
        Next::WaitUntil(_) | Next::Exhausted => None,
    })
    .collect()
}

#[test]
fn a_seed_repeats_the_sequence_and_threads_differ() {
    let job = sample::job("job", 0, true, true);
    let places = |seed: u64, thread: u32| {
        let mut job = job.clone();
        job.seed = seed;
        let mut source = Source::new(&job, thread, &Target::Files(vec![REGION; 3])).unwrap();
        let works = pass(&mut source);
        works.iter().map(|work| (work.operation.verb as u8, work.operation.offset)).collect::<Vec<_>>()
    };
    assert_eq!(places(1, 0), places(1, 0));
    assert_ne!(places(1, 0), places(2, 0));
    assert_ne!(places(1, 0), places(1, 1));
}

#[test]
fn a_mix_has_its_exact_share_and_a_pass_its_size() {
    let mut job = sample::job("job", 0, true, true);
    job.read_percent = 35;
    let works = pass(&mut source(&job));
    assert_eq!(works.len(), 1000);
    assert_eq!(works.iter().filter(|work| work.operation.verb == Verb::Read).count(), 350);
    let offsets: std::collections::BTreeSet<u64> = works.iter().map(|work| work.operation.offset).collect();
    assert_eq!(offsets.len(), 1000, "the random map holds for reads and writes together");
}

#[test]
fn a_pass_moves_io_size_and_at_most_number_ios() {
    let mut job = sample::job("job", 0, true, false);
    job.block = ByDirection::same(BlockSize::Range { least: 4096, most: 65_536 });
    let bytes = |works: &[Work]| works.iter().map(|work| work.operation.length).sum::<u64>();
    assert_eq!(bytes(&pass(&mut source(&job))), REGION.length);
    job.io_size = Some(REGION.length * 3 / 2);
    let mut longer = source(&job);
    assert_eq!(bytes(&pass(&mut longer)), REGION.length * 3 / 2);
    assert!(matches!(longer.next(0), Next::Exhausted));
    longer.restart();
    assert_eq!(bytes(&pass(&mut longer)), REGION.length * 3 / 2);
    job.number_ios = Some(7);
    assert_eq!(pass(&mut source(&job)).len(), 7);
}

#[test]
fn files_are_taken_in_turn() {
    let mut job = sample::job("job", 0, true, false);
    job.pattern.random = false;
    let mut source = Source::new(&job, 0, &Target::Files(vec![REGION; 3])).unwrap();
    let works = pass(&mut source);
    let first: Vec<(u32, u64)> =
        works[..4].iter().map(|work| (work.operation.file, work.operation.offset)).collect();
    assert_eq!(first, [(0, 0), (1, 0), (2, 0), (0, 4096)]);
    assert_eq!(works.len(), 3000);
}

#[test]
fn intended_starts_do_not_depend_on_when_work_is_taken() {
    let mut job = sample::job("job", 0, true, false);
    job.rate_iops.read = Some(1000);
    let mut source = source(&job);
    assert!(matches!(source.next(0), Next::Work(Work { intended_ns: Some(0), .. })));
    assert!(matches!(source.next(999_999), Next::WaitUntil(1_000_000)));
    // After a stall of ten operations, all of them are due at once, each with its own start.
    let late: Vec<u64> = std::iter::from_fn(|| match source.next(10_500_000) {
        Next::Work(work) => work.intended_ns,
        Next::WaitUntil(_) | Next::Exhausted => None,
    })
    .collect();
    assert_eq!(late, (1..=10).map(|at| at * 1_000_000).collect::<Vec<u64>>());
}

#[test]
fn directions_with_rates_come_when_they_are_due() {
    let mut job = sample::job("job", 0, true, true);
    job.rate_iops.read = Some(100);
    job.rate_iops.write = Some(300);
    let mut source = source(&job);
    let mut counts = [0, 0];
    while let Next::Work(work) = source.next(999_999_999) {
        counts[usize::from(work.operation.verb == Verb::Write)] += 1;
    }
    assert_eq!(counts, [100, 300]);
    job.rate_iops.read = None;
    let mut source = self::source(&job);
    assert!(matches!(source.next(0), Next::Work(Work { intended_ns: Some(0), .. })));
    assert!(matches!(source.next(1), Next::Work(Work { intended_ns: None, .. })), "reads have no rate");
}

#[test]
fn a_trimmed_block_is_written_next() {
    let mut job = sample::job("job", 0, false, true);
    job.pattern.trims = true;
    let works = pass(&mut source(&job));
    for pair in works.chunks(2) {
        assert_eq!((pair[0].operation.verb, pair[1].operation.verb), (Verb::Trim, Verb::Write));
        assert_eq!(pair[0].operation.offset, pair[1].operation.offset);
    }
}

#[test]
fn objects_are_chosen_by_number_and_ops_by_weight() {
    let mut job = sample::job("job", 0, true, false);
    job.objects.ops = Some(vec![(ObjectOp::Get, 70), (ObjectOp::Put, 20), (ObjectOp::Head, 10)]);
    let works = pass(&mut Source::new(&job, 0, &Target::Objects(500)).unwrap());
    assert_eq!(works.len(), 500);
    assert!(works.iter().all(|work| work.operation.number < 500 && work.operation.length == 4096));
    let count = |verb: Verb| works.iter().filter(|work| work.operation.verb == verb).count();
    assert_eq!((count(Verb::Read), count(Verb::Write), count(Verb::Head)), (350, 100, 50));
    job.objects.ops = None;
    let works = pass(&mut Source::new(&job, 0, &Target::Objects(500)).unwrap());
    let numbers: std::collections::BTreeSet<u64> = works.iter().map(|work| work.operation.number).collect();
    assert_eq!(numbers.len(), 500, "each object once");
}

#[test]
fn a_mix_with_deletes_reads_only_what_is_there() {
    let mut job = sample::job("job", 0, true, false);
    (job.threads, job.norandommap, job.number_ios) = (2, true, Some(10_000));
    job.io_size = Some(10_000 * 4096);
    let weights = [(ObjectOp::Get, 40), (ObjectOp::Head, 10), (ObjectOp::Copy, 10), (ObjectOp::Put, 20)];
    job.objects.ops = Some([&weights[..], &[(ObjectOp::Multipart, 5), (ObjectOp::Delete, 15)]].concat());
    let mut sources = [0, 1].map(|thread| Source::new(&job, thread, &Target::Objects(100)).unwrap());
    let mut stored: std::collections::BTreeSet<u64> = (0..100).collect();
    let mut counts = [0; 6];
    let verbs = [Verb::Read, Verb::Head, Verb::Copy, Verb::Write, Verb::Multipart, Verb::Trim];
    // Each thread has one operation in flight: a thread must not ask for what the other has just
    // deleted.
    let mut in_flight: [Option<Operation>; 2] = [None, None];
    for turn in 0..20_000 {
        let (source, flight) = (&mut sources[turn % 2], &mut in_flight[turn % 2]);
        if let Some(ended) = flight.take() {
            source.ended(&ended, true);
        }
        let Next::Work(Work { operation, .. }) = source.next(u64::MAX) else { panic!("the pass is over") };
        counts[verbs.iter().position(|verb| *verb == operation.verb).unwrap()] += 1;
        match operation.verb {
            Verb::Write | Verb::Multipart => drop(stored.insert(operation.number)),
            Verb::Trim => assert!(stored.remove(&operation.number), "{operation:?} of nothing"),
            _ => assert!(stored.contains(&operation.number), "{operation:?} of what is gone"),
        }
        *flight = Some(operation);
    }
    for (count, share) in counts.into_iter().zip([40, 10, 10, 20, 5, 15]) {
        assert!((share * 200 - 20..=share * 200 + 20).contains(&count), "{count} at {share} per cent");
    }
}

#[test]
fn a_target_smaller_than_a_block_is_refused() {
    let job = sample::job("job", 0, true, false);
    let small = Region { start: 0, length: 4095 };
    assert!(Source::new(&job, 0, &Target::Files(vec![small])).unwrap_err().to_string().contains("4095"));
    assert!(Source::new(&job, 0, &Target::Objects(0)).is_err());
}
