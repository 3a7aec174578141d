//! This module shows what a scan found, as text.

use super::table::Table;
use super::words::{amount, binary_bytes, bytes, percent};
use crate::scan::file::ScannedSizes;
use ringbolt_tool_common::text::plain;

/// Sizes are shown at these quantiles of the objects.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// At most this many storage classes are named.
const STORAGE_CLASSES_SHOWN: usize = 10;

/// Returns the text for people.
pub fn text(sizes: &ScannedSizes) -> String {
    let mut table = Table::facts(plain(&sizes.source));
    table.fact("Objects", amount(sizes.objects as f64));
    table.fact("Bytes", bytes(sizes.total_bytes as f64));
    table.fact("Mean size", binary_bytes(sizes.mean_bytes()));
    if let Ok(histogram) = sizes.histogram() {
        for quantile in QUANTILES {
            let size = binary_bytes(histogram.at_quantile(quantile) as f64);
            table.fact(format!("{} of the objects", percent(quantile)), format!("at most {size}"));
        }
    }
    table.fact("Largest", binary_bytes(sizes.largest_bytes as f64));
    let (key, shared) = (amount(sizes.key_bytes_mean), amount(sizes.key_shared_bytes_mean));
    table.fact("Keys", format!("{key} bytes on average, {shared} of them as in the key before"));
    if let Some(multipart) = sizes.multipart {
        let (objects, part) = (amount(multipart.objects as f64), binary_bytes(multipart.part_bytes_mean));
        table.fact("In parts", format!("{objects} objects, in parts of {part} on average"));
    }
    if !sizes.storage_classes.is_empty() {
        let named = sizes.storage_classes.iter().take(STORAGE_CLASSES_SHOWN);
        let named: Vec<String> =
            named.map(|(class, objects)| format!("{class} {}", amount(*objects as f64))).collect();
        let left = sizes.storage_classes.len().saturating_sub(STORAGE_CLASSES_SHOWN);
        let more = if left == 0 { String::new() } else { format!(", and {left} more") };
        table.fact("Storage classes", named.join(", ") + &more);
    }
    table.notes.extend(sizes.notes.iter().cloned());
    table.text().trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::collector::{Collector, Listed};

    #[test]
    fn it_says_how_large_objects_are() {
        let mut collector = Collector::default();
        for number in 0..100_u64 {
            let key = format!("photos/{number:04}");
            let size_bytes = if number < 60 { 4096 } else { 1 << 20 };
            collector.add(&Listed { key: key.as_bytes(), size_bytes, ..Listed::default() }).unwrap();
        }
        let text = text(&collector.finish("bucket\u{1b} photos".into()).unwrap());
        assert!(text.starts_with("bucket  photos\n"), "{text}");
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("Objects").ends_with(" 100"), "{text}");
        assert!(
            line("50% of").ends_with("at most 4 KiB") && line("90% of").ends_with("at most 1 MiB"),
            "{text}"
        );
        assert!(line("Bytes").ends_with("42.2 MB"), "{text}");
        assert!(line("Keys").contains("11 bytes on average"), "{text}");
        assert!(!text.contains("In parts") && !text.contains("Storage classes"), "{text}");
    }
}
