use crate::job::tests::{jobs, refusal};
use crate::spec::{Calls, Direction, Distribution, Https, ObjectOp, RateProcess};
use ringbolt_engine::ring::blocks::BlockMemory;

#[test]
fn stages_and_groups_follow_stonewall_and_new_group() {
    let jobs =
        jobs("[global]\nsize=1g\n[a]\nstonewall\n[b]\n[c]\nnew_group\n[d]\nstonewall=1\n[e]\nstonewall=0\n")
            .unwrap();
    let shape: Vec<_> = jobs.iter().map(|job| (job.stage, job.group)).collect();
    assert_eq!(shape, [(0, 0), (0, 0), (0, 1), (1, 2), (1, 2)]);
}

#[test]
fn the_later_of_two_opposites_counts() {
    let direct = |text: &str| jobs(&format!("[global]\nsize=1g\ndirect=1\n[a]\n{text}")).unwrap()[0].direct;
    assert!(direct(""));
    assert!(!direct("buffered=1\n"));
    assert!(direct("buffered=1\ndirect=1\n"));
    let read = |text: &str| jobs(&format!("[a]\nsize=1g\nrw=randrw\n{text}")).unwrap()[0].read_percent;
    assert_eq!((read(""), read("rwmixread=70\n"), read("rwmixwrite=70\n")), (50, 70, 30));
}

#[test]
fn one_operation_at_a_time_is_a_call_unless_an_engine_is_named() {
    let calls = |text: &str| jobs(&format!("[a]\nsize=1g\n{text}")).unwrap()[0].calls;
    assert_eq!(
        (calls(""), calls("iodepth=1\n"), calls("iodepth=2\n")),
        (Calls::Plain, Calls::Plain, Calls::Queued)
    );
    assert_eq!((calls("ioengine=io_uring\n"), calls("ioengine=mmap\n")), (Calls::Queued, Calls::Mapped));
}

#[test]
fn buffers_are_of_what_the_job_says() {
    let memory = |text: &str| jobs(&format!("[a]\nsize=1g\n{text}")).unwrap()[0].memory;
    assert_eq!((memory(""), memory("mem=malloc\n")), (BlockMemory::ORDINARY, BlockMemory::ORDINARY));
    assert_eq!(memory("iomem=mmaphuge:/huge/file\nfixedbufs\n"), BlockMemory::BEST);
    assert_eq!(memory("mem=shmhuge\n"), BlockMemory { huge_pages: true, registered: false });
    assert_eq!(memory("fixedbufs=1\n"), BlockMemory { huge_pages: false, registered: true });
    assert!(refusal("[a]\nsize=1g\nmem=cudamalloc\n").contains("write malloc or mmaphuge"));
}

#[test]
fn rates_are_for_the_directions_named() {
    let job = &jobs("[a]\nsize=1g\nrate_iops=,500\nrate=1m,\nrate_process=poisson\n").unwrap()[0];
    assert_eq!((job.rate.read, job.rate.write), (Some(1 << 20), None));
    assert_eq!((job.rate_iops.read, job.rate_iops.write, job.rate_iops.trim), (None, Some(500), Some(500)));
    assert_eq!(job.rate_process, RateProcess::Poisson);
}

#[test]
fn secrets_are_not_shown() {
    let text = "[a]\nioengine=s3\nobjects=1\nhttp_s3_keyid=visible\nhttp_s3_key=hidden\nblocksize=8k\n\
                time_based\nruntime=3\n";
    let job = &jobs(text).unwrap()[0];
    assert_eq!(job.objects.secret_key, "hidden");
    let given = |key: &str| job.given.get(key).map(String::as_str);
    assert_eq!((given("http_s3_key"), given("http_s3_keyid")), (Some("***"), Some("***")));
    assert_eq!((given("bs"), given("time_based")), (Some("8k"), Some("1")));
}

#[test]
fn objects_take_their_operations() {
    let of = |text: &str| jobs(&format!("[a]\nioengine=s3\nobjects=9\n{text}")).unwrap().remove(0).objects;
    assert_eq!(of("").ops, None);
    let endpoint = |host: &str| {
        let objects = of(&format!("http_host={host}\n"));
        (objects.host, objects.https)
    };
    assert_eq!(endpoint("http://node:9000/"), ("node:9000".to_owned(), Https::Off));
    assert_eq!(endpoint("https://node"), ("node".to_owned(), Https::On));
    assert_eq!(endpoint("[::1]:9000"), ("[::1]:9000".to_owned(), Https::Off));
    assert_eq!(of("op=head\n").ops, Some(vec![(ObjectOp::Head, 1)]));
    assert_eq!(of("opmix=get/7:put/3\n").ops, Some(vec![(ObjectOp::Get, 7), (ObjectOp::Put, 3)]));
    assert_eq!(of("op=delete\n").ops, Some(vec![(ObjectOp::Delete, 1)]));
    assert!(of("opmix=put/2:multipart/3:delete/5\n").deletes_its_own());
    assert_eq!(of("random_distribution=zipf:1.3\n").key_distribution, Distribution::Zipf(1.3));
    assert_eq!(of("random_distribution=zipf:1.3\nkeydist=random\n").key_distribution, Distribution::Even);
    let fio = jobs("[a]\nioengine=http\nsize=1m\nfilename=/larsmb/object\n").unwrap();
    assert_eq!(fio[0].objects.bucket, "larsmb");
}

#[test]
fn per_cent_of_a_file_are_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    let job = |percent: &str| format!("[a]\nfilename={}\nsize={percent}\n", path.display());
    assert_eq!(jobs(&job("50%")).unwrap()[0].size, Some(1 << 19));
    for percent in ["0%", "101%", "x%"] {
        assert!(refusal(&job(percent)).contains("1% to 100%"), "{percent}");
    }
    assert!(refusal("[a]\nsize=50%\n").contains("give bytes"));
}

#[test]
fn uneven_places_need_no_map() {
    assert!(jobs("[a]\nsize=1g\nrandom_distribution=zipf\n").unwrap()[0].norandommap);
    assert!(!jobs("[a]\nsize=1g\n").unwrap()[0].norandommap);
}

#[test]
fn a_seed_is_kept_or_drawn() {
    let seed = |text: &str| jobs(&format!("[a]\nsize=1g\n{text}")).unwrap()[0].seed;
    assert_eq!(seed(""), seed("randrepeat=1\n"));
    assert_ne!(seed("randrepeat=0\n"), seed("randrepeat=0\n"));
    assert_eq!(seed("randrepeat=0\nrandseed=7\n"), 7);
}

#[test]
fn what_can_not_be_is_refused_with_its_reason() {
    for (text, part) in [
        ("size=1g\ntime_based\n", "time_based needs runtime"),
        ("size=1g\nlatency_target=1ms\n", "needs latency_window"),
        ("size=1g\nlatency_window=1s\n", "needs latency_target"),
        ("size=1g\nlatency_percentile=99\n", "needs latency_target"),
        ("size=1g\nlatency_target=1ms\nlatency_window=1s\nrate_iops=9\n", "leave one out"),
        ("size=1g\nrate=1m\nrate_iops=9\n", "both given for reads"),
        ("size=1g\nrw=randrw\nbssplit=4k/50:8k/40\n", "add up to 90 per cent"),
        ("size=1g\nrwmixread=70\nrwmixwrite=70\n", "add up to 140"),
        ("size=1g\nrw=trim\n", "trim needs a block device"),
        ("size=1g\nrw=randtrim\nfilename=/dev/null\n", "/dev/null is none"),
        ("rw=read\n", "size is needed"),
        ("size=4k\nbs=8k\n", "does not fit"),
        ("size=8k\nnrfiles=4\n", "does not fit"),
        ("size=1g\nzero_buffers\nrefill_buffers\n", "zero_buffers writes zeroes"),
        ("size=1g\nzero_buffers\nverify=crc32c\n", "no room for the checksum"),
        ("size=1g\nverify=md5\n", "crc32c and pattern"),
        ("size=1g\nsync=2\n", "write none, dsync or sync"),
        ("size=1g\nwait_for=b\n", "no job above"),
        ("size=1g\nioengine=ringbolt\n", "needs one filename"),
        ("size=1g\nioengine=ringbolt\nfilename=a:b\n", "needs one filename"),
        ("ioengine=s3\n", "how many objects"),
        ("ioengine=s3\nobjects=1\nop=mixed\n", "needs opmix"),
        ("ioengine=s3\nobjects=1\nop=get\nopmix=get/1\n", "leave one out"),
        ("ioengine=s3\nobjects=1\nopmix=get/70:delete/30\n", "delete/30 is more than is put (0)"),
        ("ioengine=s3\nobjects=1\nopmix=put/2:multipart/3:delete/6\n", "delete/6 is more than is put (5)"),
        ("ioengine=s3\nobjects=1\nop=multipart\nbs=1g\npart_size=1m\n", "5m to 5g"),
        ("ioengine=s3\nobjects=1\nhttp_mode=swift\n", "only s3"),
        ("ioengine=s3\nobjects=1\nfsync=1\n", "fsync needs ioengine=io_uring"),
        ("ioengine=s3\nobjects=1\nverify=sha256\nrange_size=5000\n", "a multiple of 4096"),
        ("size=1g\nverify=sha256\n", "use verify=crc32c"),
        ("ioengine=sg\nsize=1g\n", "use io_uring"),
        ("size=1g\niodepth=0\n", "has to be from 1 to 32768"),
        ("size=1g\nloops=0\n", "at least 1"),
        ("size=1g\nverify=pattern\n", "needs verify_pattern"),
        ("size=1g\nverify_pattern=0xff\nrefill_buffers\n", "a pattern is all"),
        ("ioengine=s3\nobjects=1\nverify=pattern\nbuffer_pattern=1\n", "for files and devices"),
        ("size=1g\nsteadystate=iops\n", "no limit"),
        ("size=1g\nsteadystate=lat:2%\n", "use iops"),
        ("size=1g\nss_dur=30s\n", "needs steadystate"),
        ("size=1g\nss=bw:1%\nss_dur=1s\n", "2 to 86400 samples"),
        ("size=1g\npercentage_random=101\n", "from 0 to 100"),
        ("size=1g\npercentage_random=30\npercentage_sequential=30\n", "do not add up"),
        ("size=1g\nthinktime_spin=30us\n", "a part of thinktime"),
        ("size=1g\niodepth_batch_complete_max=0\n", "from 1 to 32768"),
        ("size=1g\nfadvise_hint=noreuse\n", "write 0 or 1"),
        ("ioengine=s3\nobjects=1\nhttp_host=ftp://x\n", "write http or https"),
        ("ioengine=s3\nobjects=1\nhttp_host=http://x/bucket\n", "bucket="),
        ("ioengine=s3\nobjects=1\nhttp_host=http://x\nhttps=on\n", "different things"),
        ("size=1g\ndirect=2\n", "write 0 or 1"),
        ("size=1g\nkb_base=1001\n", "write 1024 or 1000"),
        ("size=1g\nhttps=maybe\n", "off, on or insecure"),
        ("size=1g\nclient_wait=spin\n", "poll, sleep or auto"),
    ] {
        let error = refusal(&format!("[a]\n{text}"));
        assert!(error.contains(part), "{text:?}: {error}");
        assert!(error.starts_with("test.fio:"), "no place in {error}");
    }
}

#[test]
fn a_size_can_be_left_out_where_something_is() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(jobs(&format!("[a]\nfilename={}\n", file.path().display())).unwrap()[0].size.is_none());
    assert!(jobs("[a]\nfilename=/dev/no-such-drive\nrw=trim\n").unwrap()[0].size.is_none());
}

#[test]
fn distributions_of_directions_are_kept_apart() {
    let job = &jobs("[a]\nsize=1g\nrandom_distribution=zipf:1.2,random\n").unwrap()[0];
    assert_eq!(*job.distribution.get(Direction::Read), Distribution::Zipf(1.2));
    assert_eq!(*job.distribution.get(Direction::Write), Distribution::Even);
}
