use super::*;
use proptest::prelude::*;

#[test]
fn sizes_are_exact() {
    for (text, expected) in [
        ("0", 0),
        ("4096", 4096),
        ("4KiB", 4096),
        ("4 kib", 4096),
        ("4kB", 4000),
        ("4KB", 4000),
        ("7.68TB", 7_680_000_000_000),
        ("15.36tb", 15_360_000_000_000),
        ("0.3 KiB", 307),
        ("0.7 KiB", 717),
        (".5MB", 500_000),
        ("1.5GiB", 1_610_612_736),
        ("+2PB", 2_000_000_000_000_000),
        ("18446744073709551615", u64::MAX),
        ("7B", 7),
    ] {
        assert_eq!(bytes(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_size_says_why() {
    for (text, part) in [
        ("", "not a number"),
        ("TB", "not a number"),
        ("1.2.3TB", "not a number"),
        ("nan", "not a number"),
        ("-1kB", "below 0"),
        ("4k", "write 4kB (a power of 1000)"),
        ("4Q", "powers of 1000"),
        ("4XB", "no unit of size"),
        ("4Gbit", "no unit of size"),
        ("20PB x", "no unit of size"),
        ("18447PB", "64 bits"),
        ("999999999999999999999", "digits"),
        (&"9".repeat(1000), "longer than"),
    ] {
        let reason = bytes(text).expect_err(text);
        assert!(reason.contains(part), "{text}: {reason}");
    }
}

#[test]
fn rates_have_their_units() {
    assert_eq!(bytes_per_s("25Gbit"), Ok(3.125e9));
    assert_eq!(bytes_per_s("100 gbit/s"), Ok(12.5e9));
    assert_eq!(bytes_per_s("3.2GB/s"), Ok(3.2e9));
    assert_eq!(bytes_per_s("500MiB/s"), Ok(524_288_000.0));
    assert!(bytes_per_s("25GB").unwrap_err().contains("25GB/s"));
    assert!(bytes_per_s("25Gb").unwrap_err().contains("25Gb/s"));
    assert!(bytes_per_s("25Gbps").unwrap_err().contains("25Gbit"));
    assert_eq!((per_s("90"), per_s("90/min"), per_s("8640000/d")), (Ok(90.0), Ok(1.5), Ok(100.0)));
    assert_eq!((per_s("5k"), per_s("6k/min"), per_s("8.64M/d")), (Ok(5e3), Ok(100.0), Ok(100.0)));
    assert_eq!(
        (number("400k"), number("400K"), number("1.5M"), number("2G")),
        (Ok(4e5), Ok(4e5), Ok(1.5e6), Ok(2e9))
    );
    assert!(per_s("5m/s").unwrap_err().contains("write 5M/s if 5000000/s is meant"));
    assert!(bytes("512m").unwrap_err().contains("write 512MB (a power of 1000) or 512MiB (of 1024)"));
    assert!(bytes("4k").unwrap_err().contains("write 4kB (a power of 1000) or 4KiB (of 1024)"));
    assert!(per_s("90/y").unwrap_err().contains("/min"));
}

#[test]
fn shares_and_ages_have_theirs() {
    assert_eq!(
        (share("20%"), share("0.2"), share("-3 %"), share("7%")),
        (Ok(0.2), Ok(0.2), Ok(-0.03), Ok(0.07))
    );
    assert!(share("20d").unwrap_err().contains("percent"));
    assert_eq!(
        (days("30d"), days("2y"), days("36h"), days("90min")),
        (Ok(30.0), Ok(730.5), Ok(1.5), Ok(0.0625))
    );
    assert!(days("3m").unwrap_err().contains("min"));
    assert!(days("3").unwrap_err().contains("unit"));
    for (text, part) in [
        ("3d", "write 3 if that is meant"),
        ("100m", "write 100M if 100000000 is meant"),
        ("1.5m", "write 1.5M if 1.5e6 is meant"),
        ("100,000", "write 100000,"),
        ("100_000_000", "write 100000000,"),
        ("1Ki", "\"Ki\" behind a number: write 1 if"),
    ] {
        let refused = number(text).unwrap_err();
        assert!(refused.contains(part) && !refused.contains("leave it out"), "{text}: {refused}");
    }
    assert!(number("inf").is_err() && number(&"9".repeat(399)).unwrap_err().contains("larger"));
}

#[test]
fn people_get_three_digits() {
    let shown = [
        human_bytes(7.68e12),
        human_bytes(999.0),
        human_bytes(999_600.0),
        human_bytes(0.0),
        human_binary((128_u64 << 30) as f64),
        human_binary(1_023.9 * 1024.0),
        human_bits_per_s(3.125e9),
        human_bytes_per_s(3.2e9),
        human_bytes(1e22),
    ];
    let expected =
        ["7.68 TB", "999 B", "1 MB", "0 B", "128 GiB", "1 MiB", "25 Gbit/s", "3.2 GB/s", "10000 EB"];
    assert_eq!(shown, expected);
    let shown =
        [0.0, 0.25, 12.34, 850.4, 12_300.0, -1_234.0, 4_560_000.0, 999_700.0, 7.8e9, 2e12].map(human_count);
    let expected = [
        "0",
        "0.25",
        "12.3",
        "850",
        "12,300",
        "-1,234",
        "4.56 million",
        "1 million",
        "7.8 billion",
        "2 trillion",
    ];
    assert_eq!(shown, expected);
    assert_eq!([0.2, 0.0035, 1.5, 1e-20].map(human_share), ["20%", "0.35%", "150%", "1.00e-18%"]);
    assert_eq!([59, 61, 4830, 7260].map(human_time), ["59 s", "1 min 1 s", "1 h 20 min", "2 h 1 min"]);
    assert_eq!([1.5, 30.0, 365.25 * 2.5].map(human_days), ["36 h", "30 d", "2.5 y"]);
    assert_eq!(human_per_s(1_200.0), "1,200/s");
    assert_eq!(human_bytes(f64::INFINITY), "inf B");
}

#[test]
fn exact_sizes_are_short_where_they_can_be() {
    for (size, expected) in [
        (7_680_000_000_000, "7.68TB"),
        (128 << 30, "128GiB"),
        (4096, "4KiB"),
        (1_500_000, "1.5MB"),
        (1_234, "1234B"),
        (2_000, "2kB"),
        (0, "0B"),
    ] {
        assert_eq!(exact_bytes(size), expected);
    }
}

proptest! {
    #[test]
    fn what_is_written_exactly_reads_back(size: u64, shift in 0_u32..64, whole in 0_u64..20_000, power in 0_u32..16) {
        for size in [size, size >> shift, whole * 10_u64.pow(power.min(14)), (whole << shift.min(49)).max(1)] {
            prop_assert_eq!(bytes(&exact_bytes(size)), Ok(size), "{}", exact_bytes(size));
        }
    }

    #[test]
    fn reals_written_exactly_read_back(value in prop::num::f64::POSITIVE | prop::num::f64::ZERO, whole: u32) {
        for value in [value, f64::from(whole), f64::from(whole) / 8.0, f64::from(whole) * 1e6] {
            if value.to_string().len() < TEXT_BYTES_MAX - 5 {
                prop_assert_eq!(bytes_per_s(&exact_bytes_per_s(value)), Ok(value));
                prop_assert_eq!(days(&exact_days(value)), Ok(value));
                prop_assert_eq!(share(&exact_share(-value)), Ok(-value));
            }
        }
    }

    #[test]
    fn what_people_see_is_near(value in 1e-3..1e18_f64) {
        let shown = human_bytes(value).replace(' ', "").replace("EB", "000PB");
        let read = mean_bytes(&shown).map_err(TestCaseError::fail)?;
        prop_assert!((read / value - 1.0).abs() <= 0.0051, "{value} was shown as {shown}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", digits in "[-+]?[0-9.]{0,40} ?[A-Za-z/%]{0,6}") {
        for text in [&text, &digits] {
            let _ = (bytes(text), mean_bytes(text), bytes_per_s(text), per_s(text), days(text), share(text));
            let read = [mean_bytes(text), bytes_per_s(text), per_s(text), days(text), share(text)];
            prop_assert!(read.into_iter().flatten().all(f64::is_finite), "{text}");
        }
    }

    #[test]
    fn no_value_makes_showing_panic(value in prop::num::f64::ANY) {
        for shown in [human_bytes(value), human_binary(value), human_bits_per_s(value), human_count(value)] {
            prop_assert!(!shown.is_empty());
        }
        prop_assert!(!human_share(value).is_empty() && !human_days(value).is_empty());
    }
}
