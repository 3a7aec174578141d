use super::keys::{self, Fallback, File};
use super::*;
use crate::hardware::Redundancy;
use proptest::prelude::*;
use ringbolt_tool_common::units::exact_bytes;

mod impossible;
mod named_files;
mod planned;
mod templates;

const NOW: u64 = 1_795_219_200;

fn documents() -> (Document, Document) {
    let document = |name: &str, text: &str| Document { name: name.into(), text: text.to_owned() };
    let Template { workload, hardware } = template();
    (document("workload.toml", workload), document("hardware.toml", hardware))
}

fn overrides(of: &[&str]) -> Vec<Override> {
    of.iter().map(|text| text.parse().unwrap()).collect()
}

/// Reads the template with overrides.
fn with(of: &[&str]) -> Result<Input, InputError> {
    let (workload, hardware) = documents();
    parse(&workload, &hardware, &overrides(of), Path::new(""), NOW)
}

/// Reads the template with one text replaced by another, in the file that contains it.
fn replaced(from: &str, to: &str) -> Result<Input, InputError> {
    let (mut workload, mut hardware) = documents();
    let files = [&mut workload, &mut hardware].into_iter().filter(|file| file.text.contains(from));
    let files: Vec<&mut Document> = files.collect();
    assert_eq!(files.len(), 1, "{from} is in one file");
    files.into_iter().for_each(|file| file.text = file.text.replacen(from, to, 1));
    parse(&workload, &hardware, &[], Path::new(""), NOW)
}

fn message(result: Result<Input, InputError>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn an_override_stands_in_place_of_the_file() {
    let Input { workload, hardware, .. } = with(&[
        "drives.count=20",
        "drives.size = 15.36TB",
        "node.ram=\"1TiB\"",
        "node.nic=100Gbit",
        "objects.count=2e9",
        "requests.put_per_s=8640000/d",
        "growth.requests_per_month=-2%",
        "plan.start=2027-03",
        "retention.delete_after=30d",
        "day.shape=[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]",
        "objects.sizes.0.size=8KiB",
        "day.shape.0=4",
        "plan.name=what if, then",
    ])
    .unwrap();
    assert_eq!((hardware.drives.count, hardware.drives.size_bytes), (20, 15_360_000_000_000));
    assert_eq!((hardware.node.ram_bytes, hardware.node.nic_bytes_per_s), (1 << 40, 12.5e9));
    assert_eq!((workload.objects.count, workload.requests.put_per_s), (2_000_000_000, 100.0));
    assert_eq!((workload.growth.requests_share_per_month, workload.retention_days), (-0.02, Some(30.0)));
    assert_eq!(
        (workload.horizon.start.to_string(), workload.name.as_str()),
        ("2027-03".into(), "what if, then")
    );
    assert_eq!((workload.day.shape[0], workload.day.shape[1], workload.day.shape[23]), (6.0, 0.0, 1.5));
    assert_eq!(workload.objects.sizes.classes()[0].lower_bytes, 8192);
}

/// People write large numbers like this. Regression: a hint said to omit the letter, which makes
/// them a million times smaller.
#[test]
fn letters_of_thousands_and_millions_are_read() {
    let set = with(&["objects.count=100M", "drives.read_iops=400k", "requests.get_per_s=18M/h"]).unwrap();
    assert_eq!(set.workload.objects.count, 100_000_000);
    assert_eq!((set.hardware.drives.speed.read_iops, set.workload.requests.get_per_s), (4e5, 5e3));
    let written = replaced("\ncount = 100_000_000", "\ncount = \"100M\"").unwrap();
    assert_eq!(written.workload.objects.count, 100_000_000);
    let refused = message(with(&["objects.count=100m"]));
    assert!(refused.contains("write 100M if 100000000 is meant"), "{refused}");
}

#[test]
fn requests_may_be_for_some_sizes_more_than_for_others() {
    let list =
        "[{ from = 0, to = \"100KiB\", share = \"90%\" }, { from = \"100KiB\", to = \"5TiB\", share = 0.1 }]";
    let set = with(&[&format!("requests.gets_by_size={list}"), "requests.heads_by_size.0.share=1"]);
    assert!(message(set).contains("no such key"), "a list that is not there");
    let set = with(&[&format!("requests.gets_by_size={list}")]).unwrap().workload;
    let by_size = set.requests.gets_by_size.as_ref().unwrap();
    assert_eq!((by_size[0].upper_bytes, by_size[1].lower_bytes), ((100 << 10) - 1, 100 << 10));
    assert_eq!((by_size[0].share, set.requests.heads_by_size.as_ref()), (0.9, None));
    // No class contains sizes of both, and there are as many objects as before.
    let classes = set.objects.sizes.classes();
    assert!(classes.iter().all(|class| class.upper_bytes < 100 << 10 || class.lower_bytes >= 100 << 10));
    let plain = with(&[]).unwrap().workload.objects.sizes;
    assert!((set.objects.sizes.mean_bytes() / plain.mean_bytes() - 1.0).abs() < 1e-9);
    for (list, part) in [
        ("[{ from = 0, to = 100, share = 1 }]", "no object has from 0 to 100 bytes"),
        ("[{ from = 0, to = \"5TiB\", share = 0.5 }]", "add up to 0.5"),
        ("[]", "no sizes"),
        ("1", "a list of sizes"),
    ] {
        let refused = message(with(&[&format!("requests.heads_by_size={list}")]));
        assert!(refused.contains("requests.heads_by_size") && refused.contains(part), "{list}: {refused}");
    }
}

#[test]
fn the_last_override_of_a_key_counts() {
    assert_eq!(with(&["drives.count=1", "drives.count=2"]).unwrap().hardware.drives.count, 2);
}

#[test]
fn another_way_to_say_a_thing_takes_its_place() {
    let input = with(&["drives.tbw=10PB"]).unwrap();
    assert_eq!(input.hardware.drives.endurance_bytes, Some(1e16));
    let fixed = with(&["objects.distribution={ kind = \"fixed\", size = \"1MiB\" }"]).unwrap();
    assert_eq!(fixed.workload.objects.sizes.mean_bytes(), 1_048_576.0);
    assert_eq!(fixed.workload.objects.sizes_source, "all of 1MiB");
    let uniform = with(&[
        "objects.distribution={ kind = \"fixed\", size = \"1MiB\" }",
        "objects.distribution={ kind = \"uniform\", min = 100, max = \"1MB\" }",
    ]);
    assert!((uniform.unwrap().workload.objects.sizes.mean_bytes() - 500_050.0).abs() < 1e-3);
    let one_by_one = with(&["objects.distribution.kind=fixed", "objects.distribution.size=4KiB"]);
    assert_eq!(one_by_one.unwrap().workload.objects.sizes.mean_bytes(), 4096.0);
}

#[test]
fn endurance_is_counted_as_makers_do() {
    // 7.68 TB once a day for five years of 365 days are sold as 14,016 TB.
    assert_eq!(with(&[]).unwrap().hardware.drives.endurance_bytes, Some(14.016e15));
    // Servnet's calculator of DWPD and TBW: 3.84 TB, 1 DWPD, 5 years: 7,008 TB.
    let published = with(&["drives.size=3.84TB", "drives.warranty_years=5"]).unwrap();
    let endurance = published.hardware.drives.endurance_bytes.unwrap();
    assert!((endurance / 7.008e15 - 1.0).abs() < 1e-12, "{endurance}");
    let none = replaced("\ndwpd = 1", "").unwrap();
    assert_eq!(none.hardware.drives.endurance_bytes, None);
    assert!(none.notes.iter().any(|note| note.contains("drives.tbw")), "{:?}", none.notes);
}

#[test]
fn sizes_are_cut_into_classes_that_keep_their_shares() {
    let sizes = with(&[]).unwrap().workload.objects.sizes;
    let share = |from: u64, to: u64| -> f64 {
        let within =
            sizes.classes().iter().filter(|class| class.lower_bytes >= from && class.upper_bytes <= to);
        within.map(|class| class.share).sum()
    };
    assert!((share(4096, 4096) - 0.58).abs() < 1e-12);
    assert!((share(65_536, (1 << 20) - 1) - 0.4).abs() < 1e-12);
    assert!((share(1 << 20, 64 << 20) - 0.02).abs() < 1e-12);
    assert!(
        sizes.classes().iter().all(|class| class.upper_bytes - class.lower_bytes <= class.lower_bytes / 16)
    );
}

#[test]
fn defaults_hold_when_keys_are_not_there() {
    let (mut workload, mut hardware) = documents();
    workload.text =
        "[objects]\ncount = 1\nsizes = [{ size = 1, share = 1 }]\n[requests]\nput_per_s = 1\nget_per_s = 1\n"
            .to_owned();
    hardware.text = "[node]\ncores = 1\nram = \"1GiB\"\nnic = \"1Gbit\"\n[drives]\ncount = 1\nsize = \"1TB\"\n\
        read_iops = 1\nwrite_iops = 1\nread_bandwidth = \"1GB/s\"\nwrite_bandwidth = \"1GB/s\"\nspeed_source = \"x\"\n"
        .to_owned();
    let Input { workload, hardware, notes } = parse(&workload, &hardware, &[], Path::new(""), NOW).unwrap();
    assert_eq!((workload.horizon.months, workload.horizon.samples), (36, 1000));
    assert_eq!(workload.horizon.start.to_string(), "2026-11");
    assert_eq!((workload.day.peak(), workload.hot_set.object_share), (2.0, 1.0));
    assert_eq!((workload.objects.key_bytes, workload.objects.key_shared_bytes), (48.0, 0.0));
    assert_eq!((hardware.redundancy, hardware.limits.capacity), (Redundancy::SINGLE, 0.85));
    assert_eq!((hardware.drives.annual_failure_rate, hardware.node.count), (0.01, None));
    assert!(notes.iter().any(|note| note.contains("no prices")), "{notes:?}");
}

#[test]
fn redundancy_is_named_as_format_names_it() {
    for (name, redundancy) in [
        ("none", Redundancy::SINGLE),
        ("mirror", Redundancy::mirror(2)),
        ("mirror-3", Redundancy::mirror(3)),
        ("mirror-4", Redundancy::mirror(4)),
        ("4+2", Redundancy::stripes(4, 2)),
        ("9+1", Redundancy::stripes(9, 1)),
    ] {
        let set = format!("redundancy.format={name}");
        let Input { hardware, notes, .. } = with(&[&set, "drives.rebuild_rate=200MB/s"]).unwrap();
        assert_eq!((hardware.redundancy, hardware.redundancy.name().as_str()), (redundancy, name));
        assert_eq!(hardware.drives.rebuild_bytes_per_s, Some(2e8));
        assert_eq!(notes, [] as [String; 0]);
    }
    assert_eq!(with(&[]).unwrap().hardware.drives.rebuild_bytes_per_s, None);
}

/// These are the defaults of `ringbolt format`; who asks for pieces gets nothing beside them.
#[test]
fn without_a_word_redundancy_is_what_format_makes_of_the_drives() {
    for (drives, name) in [
        (1, "none"),
        (2, "mirror"),
        (3, "mirror"),
        (4, "2+2"),
        (5, "3+2"),
        (6, "4+2"),
        (10, "4+2"),
        (11, "8+3"),
    ] {
        let hardware = with(&[&format!("drives.count={drives}")]).unwrap().hardware;
        assert_eq!(hardware.redundancy.name(), name, "{drives} drives");
    }
    let pieces = with(&["redundancy.data=4", "redundancy.parity=2"]).unwrap().hardware;
    assert_eq!(pieces.redundancy, Redundancy::pieces(4, 2));
}

#[test]
fn what_is_odd_is_noted() {
    for (set, part) in [
        (vec!["redundancy.data=4", "redundancy.parity=2", "node.count=3"], "fewer nodes than the 6 pieces"),
        (vec!["drives.size=15.36TB"], "drives.price is still that of the file"),
        (vec!["requests.delete_per_s=1000"], "all objects are gone"),
        (vec!["retention.delete_after=30d"], "objects.count says 100 million"),
        (vec!["limits.cpu=1"], "limits.cpu 100%"),
        (vec!["objects.part_size=1GiB"], "no object is larger than a part"),
        (vec!["objects.count=0"], "begins empty"),
        (vec!["growth.requests_per_month=50%"], "compounds to 1.46 million times"),
        (
            vec!["growth.stored_per_month=5%", "requests.put_per_s=2.6"],
            "raise growth.requests_per_month to 5%",
        ),
        (vec!["growth.stored_per_month=1%"], "the growth counts"),
    ] {
        let notes = with(&set).unwrap().notes;
        assert!(notes.iter().any(|note| note.contains(part)), "{set:?}: {notes:?}");
    }
    assert_eq!(with(&[]).unwrap().notes, [] as [String; 0]);
}

#[test]
fn a_plan_of_the_same_text_is_the_same() {
    assert_eq!(with(&["drives.count=3"]), with(&["drives.count=3"]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_text_makes_it_panic(
        text in "\\PC{0,200}",
        toml in "(\\[?[a-z_.]{1,12}\\]?( ?= ?[-0-9\"a-z\\[\\]{}.,%]{0,12})?\n){0,8}",
    ) {
        let (workload, hardware) = documents();
        for text in [text, toml] {
            let odd = |of: &Document| Document { name: of.name.clone(), text: text.clone() };
            let _ = parse(&odd(&workload), &hardware, &[], Path::new(""), NOW);
            let _ = parse(&workload, &odd(&hardware), &[], Path::new(""), NOW);
        }
    }

    #[test]
    fn no_value_of_a_key_makes_it_panic(key in 0..keys::all().count(), value in prop_oneof![
        "[-0-9.e%a-zA-Z/]{1,12}",
        "\\PC{1,20}",
        any::<f64>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        Just("[1, 2]".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("1e308".to_owned()),
    ]) {
        let key = keys::all().nth(key).unwrap();
        let set = Override { path: key.path.to_owned(), value };
        let (workload, hardware) = documents();
        match parse(&workload, &hardware, std::slice::from_ref(&set), Path::new("/nowhere"), NOW) {
            Ok(input) => {
                let numbers = serde_json::to_value((&input.workload, &input.hardware)).unwrap().to_string();
                // Values that are not finite become null. The options of the template are absent,
                // except for start.
                prop_assert!(!numbers.contains("NaN") && !numbers.contains("inf\""), "{set}: {numbers}");
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn what_is_set_is_what_is_planned(count in 1_u32..1000, size in 100_u64..10_000, share in 0.0..0.5_f64) {
        let size_bytes = size * 1_000_000_000;
        let set = [
            format!("drives.count={count}"),
            format!("drives.size={}", exact_bytes(size_bytes)),
            format!("requests.overwrite_share={share}"),
        ];
        // With redundancy a node has fewer drives.
        let input = with(&[&set[0], &set[1], &set[2], "redundancy.format=none"]).unwrap();
        prop_assert_eq!(input.hardware.drives.count, count);
        prop_assert_eq!(input.hardware.drives.size_bytes, size_bytes);
        prop_assert_eq!(input.workload.requests.overwrite_share, share);
    }

    /// A piece of the template is cut out and replaced.
    #[test]
    fn no_mistake_makes_it_panic(
        at in 0.0..1.0_f64,
        length in 0_usize..40,
        typed in "[-0-9\"=\\[\\]{}.,%#\n a-z]{0,8}",
    ) {
        let (workload, hardware) = documents();
        let spoilt = |of: &Document| {
            let border = |at: usize| (at..=of.text.len()).find(|at| of.text.is_char_boundary(*at)).unwrap();
            let from = border((at * of.text.len() as f64) as usize);
            let to = border((from + length).min(of.text.len()));
            let text = format!("{}{typed}{}", &of.text[..from], &of.text[to..]);
            Document { name: of.name.clone(), text }
        };
        let _ = parse(&spoilt(&workload), &hardware, &[], Path::new(""), NOW);
        let _ = parse(&workload, &spoilt(&hardware), &[], Path::new(""), NOW);
    }
}
