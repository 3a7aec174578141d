use super::*;

#[test]
fn what_is_impossible_is_refused_with_the_reason() {
    for (set, part) in [
        (vec!["drives.count=0"], "command line: drives.count = 0: must be from 1 to 1000"),
        (vec!["drives.size=10MB"], "drives.size = 10MB: a Ringbolt drive has from 51576832 bytes"),
        (vec!["drives.size=100TB"], "nothing has an address"),
        (vec!["drives.size=7.68XB"], "\"XB\" is no unit of size"),
        (vec!["requests.overwrite_share=1.5"], "must be from 0 (0%) to 1 (100%)"),
        (vec!["requests.overwrite_share=nan"], "is not a number"),
        (vec!["requests.put_per_s=inf"], "is not a number"),
        (vec!["requests.put_per_s=-1"], "must be from 0/s"),
        (vec!["plan.start=9999-12"], "36 months from 9999-12 on go beyond 9999-12"),
        (vec!["growth.requests_per_month=-100%"], "must be from -0.99 (-99%)"),
        (vec!["day.shape=[1, 2, 3]"], "3 weights: write 24"),
        (vec!["day.shape=1"], "a list of 24 numbers"),
        (vec!["plan.months=241"], "must be from 1 to 240"),
        (vec!["plan.months=0"], "must be from 1 to 240"),
        (vec!["plan.samples=99"], "must be from 100 to 100000"),
        (vec!["plan.start=2026-13"], "as in 2026-12"),
        (vec!["plan.start=2026-12-01"], "as in 2026-12"),
        (vec!["retention.delete_after=0d"], "must be from 1 h"),
        (vec!["objects.part_size=4MiB"], "must be from 5MiB to 5GiB"),
        (vec!["objects.key_length=10"], "more than all of a key, which has 10 bytes"),
        (vec!["hot_set.request_share=5%"], "below object_share, 0.1"),
        (vec!["hot_set.object_share=0"], "a hot set has objects"),
        (vec!["requests.range_share=10%"], "requests.range_size is missing"),
        (
            vec!["requests.range_share=10%", "requests.range_size=200MiB"],
            "larger than the largest object, 64MiB",
        ),
        (vec!["redundancy.parity=2", "node.count=1", "drives.count=2"], "node.count × drives.count are 2"),
        (vec!["redundancy.data=4"], "pieces without parity"),
        (
            vec!["redundancy.format=mirror", "redundancy.parity=2"],
            "not both: give redundancy.format = \"none\"",
        ),
        (vec!["redundancy.format=mirror-3", "drives.count=2"], "but drives.count is 2: give more drives"),
        (
            vec!["redundancy.format=mirror", "drives.count=65"],
            "at most 64 drives: give fewer drives to a node",
        ),
        (
            vec!["redundancy.format=mirror-5"],
            "write none, mirror (two copies of everything), mirror-3, mirror-4, or",
        ),
        (
            vec!["redundancy.format=raid5"],
            "or default, which is what `ringbolt format` makes of as many drives",
        ),
        (vec!["redundancy.format=4+4"], "4 drives may not be lost: 3 at most"),
        (vec!["redundancy.format=13+3"], "16 data and parity drives: a stripe has 15 at most"),
        (
            vec!["redundancy.format=4+2", "drives.count=5"],
            "a stripe lies on 6 drives of a node, but drives.count is 5: give more drives",
        ),
        (
            vec!["redundancy.format=4+2", "redundancy.data=4", "redundancy.parity=2"],
            "not both: give redundancy.format = \"none\"",
        ),
        (vec!["drives.count=65"], "at most 64 drives: give fewer drives to a node"),
        (
            vec![
                "objects.count=0",
                "requests.put_per_s=0",
                "requests.get_per_s=0",
                "requests.delete_per_s=1",
            ],
            "requests.delete_per_s = 1: there are no objects and no puts",
        ),
        (
            vec!["growth.stored_per_month=10%", "requests.put_per_s=1"],
            "asks for 10 million new objects in the first month, but put_per_s × (1 − overwrite_share) brings 1.97 \
             million: raise requests.put_per_s to 5.071",
        ),
        (vec!["growth.stored_per_month=-10%"], "asks for 10 million objects less in the first month"),
        (vec!["drives.tbw=1PB", "drives.dwpd=1", "drives.tbw=1PB", "node.cores=0"], "must be from 1 to 4096"),
        (vec!["node.nic=25GB"], "write 25GB/s"),
        (vec!["drives.dwpd=[1]"], "drives.dwpd = a list of 1: write a number"),
    ] {
        let message = message(with(&set));
        assert!(message.contains(part), "{set:?}: {message}");
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for (sizes, part) in [
        ("[]", "no sizes: write at least one"),
        ("[{ size = 1, share = 0.5 }]", "add up to 0.5000: they must add up to 1"),
        ("[{ size = 1, share = 1.5 }]", "objects.sizes.0.share = 1.5: must be from 0"),
        ("[{ size = 1, share = 0.5 }, { from = 0, to = 9, share = 0.5 }]", "overlap: cut one"),
        ("[{ size = 1, share = 0.5 }, { size = 1, share = 0.5 }]", "overlap"),
        ("[{ from = 9, to = 1, share = 1 }]", "the first is the smaller one"),
        ("[{ size = \"6TiB\", share = 1 }]", "must be from 0B to 5TiB"),
        ("[{ size = \"6GiB\", share = 1 }]", "one request brings at most 5GiB"),
        ("[{ size = 1, from = 1, share = 1 }]", "either size, or from and to"),
        ("[{ size = 1 }]", "share is missing"),
        ("[{ size = 1, shar = 1 }]", "objects.sizes.0.shar: no such key; did you mean share?"),
        ("[1]", "write { size"),
        ("1", "a list of sizes with shares"),
    ] {
        let (mut workload, hardware) = documents();
        workload.text = workload.text.replace("part_size = ", "# part_size = ");
        let set = overrides(&[&format!("objects.sizes={sizes}")]);
        let message = message(parse(&workload, &hardware, &set, Path::new(""), NOW));
        assert!(message.contains(part), "{sizes}: {message}");
    }
    let parts = with(&["objects.sizes=[{ size = \"5TiB\", share = 1 }]"]);
    assert!(message(parts).contains("327680 parts, and an upload has at most 10000"));
}

#[test]
fn distributions_that_make_no_sense_are_refused() {
    for (distribution, part) in [
        ("kind = \"normal\"", "write one of lognormal, pareto, uniform, fixed"),
        ("median = 1", "objects.distribution.kind is missing"),
        ("kind = \"fixed\"", "objects.distribution.size is missing"),
        ("kind = \"fixed\", size = 1, sigma = 1", "fixed has size: leave sigma out"),
        ("kind = \"lognormal\", median = 100, sigma = 1", "objects.distribution.max is missing"),
        ("kind = \"lognormal\", median = 100, sigma = 0, max = 1000", "must be from 0.1 to 10"),
        ("kind = \"lognormal\", median = 100, sigma = 1, max = 50", "lies outside of min to max"),
        ("kind = \"pareto\", min = 0, max = 50, alpha = 1", "begins above 0"),
        ("kind = \"uniform\", min = 60, max = 50", "lies above max, 50B"),
    ] {
        let message = message(with(&[&format!("objects.distribution={{ {distribution} }}")]));
        assert!(message.contains(part), "{distribution}: {message}");
    }
    assert!(message(with(&["objects.distribution=1"])).contains("write a table"));
}

#[test]
fn what_is_unknown_is_told_what_is_near_with_its_line() {
    let line = |text: &str, of: &str| of.lines().position(|line| line.starts_with(text)).unwrap() + 1;
    let cores = line("cores", template().hardware);
    assert_eq!(
        message(replaced("\ncores = 16", "\ncoers = 16")),
        format!("hardware.toml:{cores}: node.coers: no such key; did you mean node.cores?")
    );
    assert_eq!(
        message(replaced("\ncores = 16", "\ncores = 0")),
        format!("hardware.toml:{cores}: node.cores = 0: must be from 1 to 4096")
    );
    let refused = message(replaced("[redundancy]", "[redundant]"));
    assert!(
        refused.contains("redundant: no such key; the sections of a hardware file are [node]"),
        "{refused}"
    );
    let refused = message(replaced("[redundancy]", "[growth]"));
    assert!(refused.contains("[growth] belongs into the workload file"), "{refused}");
    let refused = message(replaced("\ncores = 16", "\ncores = = 16"));
    assert!(refused.starts_with(&format!("hardware.toml:{cores}: not TOML: ")), "{refused}");
    let refused = message(replaced("\ncores = 16", ""));
    assert_eq!(refused, "hardware.toml: node.cores is missing: cores for the server, as in cores = 16");
    assert_eq!(
        message(with(&["drives.cont=1"])),
        "command line: drives.cont: no such key; did you mean drives.count?"
    );
    assert!(message(with(&["drives=1"])).contains("it is a section; name one of its keys"));
    assert!(
        message(with(&["objects.sizes.7.share=1"]))
            .contains("objects.sizes has 3 entries, from 0: 7 is none")
    );
    assert!(message(with(&["day.shape.1=1"])).contains("day.shape is not there: set all of it"));
    assert!(message(replaced("\nsizes = [", "\nscan = \"x\"\nsizes = [")).contains("keep one of them"));
    assert!(message(replaced("\ndwpd = 1", "\ndwpd = 1\ntbw = \"1PB\"")).contains("keep one of them"));
}

#[test]
fn currency_is_needed_for_prices_alone() {
    assert!(message(replaced("currency = \"EUR\"", "")).contains("cost.currency is missing"));
}

/// Each name in a row is a table within the one before: walking and dropping them recurses as deep.
#[test]
fn deep_nesting_ends_as_an_error() {
    let (workload, _) = documents();
    let deep = [
        format!("{}x = 1", "a.".repeat(200_000)),
        format!("[{}x]", "a.".repeat(200_000)),
        format!("x = {}1{}", "{ a = ".repeat(50_000), " }".repeat(50_000)),
        format!("x = {}", "[".repeat(200_000)),
        format!("x = 1 #\n{}\"b\" = 1", "a . ".repeat(200_000)),
        format!("{}x = 1", "\"#\".".repeat(200_000)),
    ];
    for text in deep {
        let hardware = Document { name: "hardware.toml".into(), text };
        let refused = message(parse(&workload, &hardware, &[], Path::new(""), NOW));
        assert!(refused.starts_with("hardware.toml:"), "{refused}");
    }
    for value in [format!("{{ {}x = 1 }}", "a.".repeat(200_000)), "[".repeat(200_000)] {
        let set = Override { path: "drives.count".to_owned(), value };
        let (workload, hardware) = documents();
        assert!(parse(&workload, &hardware, &[set], Path::new(""), NOW).is_err());
    }
    let long = Document { name: "hardware.toml".into(), text: "#".repeat((1 << 20) + 1) };
    assert!(message(parse(&workload, &long, &[], Path::new(""), NOW)).contains("at most 1048576"));
}
