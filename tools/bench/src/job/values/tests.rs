use super::*;
use crate::job::tests::MACHINE;
use crate::job::units::Units;
use crate::spec::{BlockSize, Calls, Distribution, Engine, ObjectOp};

const UNITS: Units = Units { kb_base: 1024, machine: MACHINE };

fn sizes(text: &str) -> Result<(u64, u64, u64), String> {
    let sizes = by_direction(text, &ByDirection::same(1), |part| block_size(part, &UNITS))?;
    Ok((sizes.read, sizes.write, sizes.trim))
}

#[test]
fn directions_are_filled_as_by_fio() {
    for (text, wanted) in [
        ("4k", (4096, 4096, 4096)),
        ("4k,8k", (4096, 8192, 8192)),
        ("4k,8k,512", (4096, 8192, 512)),
        (",8k", (1, 8192, 8192)),
        ("8k,", (8192, 1, 1)),
        (",,8k", (1, 1, 8192)),
    ] {
        assert_eq!(sizes(text), Ok(wanted), "{text}");
    }
    for (text, part) in
        [("1,2,3,4", "at most three"), ("", "needed"), ("0", "at least 1"), ("3g", "largest block")]
    {
        assert!(sizes(text).unwrap_err().contains(part), "{text}");
    }
}

#[test]
fn splits_add_up_to_100() {
    let split = |text: &str| {
        block_splits(text, &ByDirection::same(BlockSize::Fixed(1)), &UNITS)
            .map(|split| (split.read, split.write))
    };
    let of = |parts: &[(u64, u32)]| BlockSize::Split(parts.to_vec());
    let both = of(&[(4096, 50), (65536, 50)]);
    assert_eq!(split("4k/50:64k/50"), Ok((both.clone(), both)));
    assert_eq!(split("4k/10:8k/:16k/").unwrap().0, of(&[(4096, 10), (8192, 45), (16384, 45)]));
    assert_eq!(split("1/:2/:3").unwrap().0, of(&[(1, 33), (2, 33), (3, 34)]));
    let (read, write) = split("64k/40:1024k/60,1024k/100").unwrap();
    assert_eq!((read, write), (of(&[(65536, 40), (1 << 20, 60)]), of(&[(1 << 20, 100)])));
    for text in ["4k/50:64k/40", "4k/60:8k/50", "4k/100:8k/", "4k/101", "4k/x", "/50", "0/100"] {
        assert!(split(text).is_err(), "{text}");
    }
}

#[test]
fn ranges_of_blocks_are_checked() {
    assert_eq!(block_range("4k-64k", &UNITS), Ok(BlockSize::Range { least: 4096, most: 65536 }));
    assert_eq!(block_range("4k-4k", &UNITS), Ok(BlockSize::Fixed(4096)));
    assert!(block_range("0-4k", &UNITS).is_err());
    assert!(block_range("4k", &UNITS).is_err());
}

#[test]
fn distributions_have_their_numbers() {
    assert_eq!(distribution("random"), Ok(Distribution::Even));
    assert_eq!(distribution("zipf"), Ok(Distribution::Zipf(1.1)));
    assert_eq!(distribution("zipf:0.5"), Ok(Distribution::Zipf(0.5)));
    assert_eq!(distribution("pareto:0.3"), Ok(Distribution::Pareto(0.3)));
    assert_eq!(distribution("normal:20"), Ok(Distribution::Normal(20.0)));
    assert_eq!(
        distribution("zoned:50/5:30/15:20/"),
        Ok(Distribution::Zoned(vec![(50, 5), (30, 15), (20, 80)]))
    );
    for text in [
        "zipf:1",
        "zipf:0",
        "zipf:x",
        "zipf:1.2:0.5",
        "zipf:nan",
        "pareto:1",
        "normal",
        "normal:0",
        "zoned",
        "zoned:50/10",
        "zoned:50/0:50/100",
        "zoned_abs:1/2",
        "sequence:2",
        "wild",
        "random:3",
        "normal:inf",
    ] {
        assert!(distribution(text).is_err(), "{text}");
    }
    let both = distributions("zoned:50/10:50/90,30/10:70/90").unwrap();
    assert_eq!(both.write, Distribution::Zoned(vec![(30, 10), (70, 90)]));
    let mixed = distributions("zipf:1.2,random").unwrap();
    assert_eq!((mixed.read, mixed.write), (Distribution::Zipf(1.2), Distribution::Even));
}

#[test]
fn lists_are_sorted_and_bounded() {
    assert_eq!(cores("3,0-2,1"), Ok(vec![0, 1, 2, 3]));
    assert_eq!(nodes("all"), Ok(vec![]));
    for text in ["", "a", "3-1", "0-999999999999", "5000"] {
        assert!(cores(text).is_err(), "{text}");
    }
    assert_eq!(percentiles("99.9:50:50"), Ok(vec![50.0, 99.9]));
    assert!(percentiles("0").is_err() && percentiles("101").is_err() && percentiles("nan").is_err());
    assert!(percentiles(&["1"; 21].join(":")).unwrap_err().contains("more than 20"));
    let named = paths("/dev/a:b\\:c").unwrap();
    assert_eq!(named, ["/dev/a", "b:c"].map(std::path::PathBuf::from));
    assert!(paths("a::b").is_err());
}

#[test]
fn mixes_have_weights() {
    assert_eq!(mix("get/70:put/30"), Ok(vec![(ObjectOp::Get, 70), (ObjectOp::Put, 30)]));
    assert_eq!(mix("get/1:list/0"), Ok(vec![(ObjectOp::Get, 1)]));
    for text in ["get", "get/x", "fetch/3", "get/0", "get/1:get/2", "get/-1", ""] {
        assert!(mix(text).is_err(), "{text}");
    }
}

#[test]
fn engines_of_fio_lead_to_io_uring() {
    for (name, wanted) in [("libaio", Calls::Queued), ("psync", Calls::Plain), ("mmap", Calls::Mapped)] {
        assert_eq!((engine(name), calls(name)), (Ok(Engine::IoUring), wanted), "{name}");
    }
    assert_eq!((difference("psync"), difference("io_uring")), (None, None));
    assert!(difference("sync").unwrap().contains("pread and pwrite"));
    assert!(engine("rbd").unwrap_err().contains("use fio"));
    assert!(engine("sg").unwrap_err().contains("use io_uring"));
    assert!(engine("quick").unwrap_err().contains("write io_uring"));
    assert_eq!(engine("http"), engine("s3"));
    assert!(pattern("read:8k").unwrap_err().contains("modifiers"));
    assert!(pattern("trimwrite").unwrap().trims);
    assert!(pattern("reed").is_err());
}
