//! This module merges classes of sizes for readers.
//!
//! Invariant: merging keeps every object and every byte: shares add up, and means are means over
//! the objects.

use crate::model::layout::by_logical_byte;
use crate::result::ClassLayout;

/// Returns at most `most` classes: neighbours are merged by powers of two of their size, no more
/// than necessary.
pub fn merged(classes: &[ClassLayout], most: usize) -> Vec<ClassLayout> {
    if classes.len() <= most {
        return classes.to_vec();
    }
    let mut octaves = 1;
    loop {
        let same = |left: &ClassLayout, right: &ClassLayout| {
            octave(left.lower_bytes) / octaves == octave(right.lower_bytes) / octaves
        };
        let merged: Vec<ClassLayout> = classes.chunk_by(same).map(sum).collect();
        // A class of 64 octaves holds every possible size.
        if merged.len() <= most.max(1) || octaves > u64::BITS {
            return merged;
        }
        octaves += 1;
    }
}

/// Returns 0 for 0, otherwise one more than the binary logarithm, rounded down.
fn octave(size_bytes: u64) -> u32 {
    u64::BITS - size_bytes.leading_zeros()
}

fn sum(classes: &[ClassLayout]) -> ClassLayout {
    let mut whole = classes[0];
    let objects: f64 = classes.iter().map(|class| class.objects_share).sum();
    let mean = |of: fn(&ClassLayout) -> f64| {
        let weighted: f64 = classes.iter().map(|class| class.objects_share * of(class)).sum();
        if objects > 0.0 { weighted / objects } else { 0.0 }
    };
    whole.upper_bytes = classes.iter().map(|class| class.upper_bytes).max().unwrap_or(whole.upper_bytes);
    whole.objects_share = objects;
    whole.logical_share = classes.iter().map(|class| class.logical_share).sum();
    whole.logical_bytes_per_object = mean(|class| class.logical_bytes_per_object);
    whole.stored_bytes_per_object = mean(|class| class.stored_bytes_per_object);
    let redundant = |class: &ClassLayout| class.redundant_bytes_per_object.unwrap_or_default();
    whole.redundant_bytes_per_object = whole.redundant_bytes_per_object.map(|_| mean(redundant));
    let by_byte = |bytes: f64| by_logical_byte(bytes, whole.logical_bytes_per_object);
    whole.redundant_bytes_per_logical_byte = whole.redundant_bytes_per_object.and_then(by_byte);
    let stored = whole.stored_bytes_per_object;
    whole.waste_share = if stored > 0.0 { 1.0 - whole.logical_bytes_per_object / stored } else { 0.0 };
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn merging_keeps_objects_and_bytes() {
        let classes = sample::classes(2000);
        for most in [1, 5, 20, 40] {
            let merged = merged(&classes, most);
            assert!(merged.len() <= most && merged.len() > most / 3, "{most}: {}", merged.len());
            let sum =
                |classes: &[ClassLayout], of: fn(&ClassLayout) -> f64| classes.iter().map(of).sum::<f64>();
            let figures: [fn(&ClassLayout) -> f64; 4] = [
                |class| class.objects_share,
                |class| class.logical_share,
                |class| class.objects_share * class.logical_bytes_per_object,
                |class| class.objects_share * class.stored_bytes_per_object,
            ];
            for (index, of) in figures.into_iter().enumerate() {
                let (before, after) = (sum(&classes, of), sum(&merged, of));
                assert!((before - after).abs() <= before * 1e-9, "{most}, figure {index}: {before} {after}");
            }
            assert_eq!(merged[0].lower_bytes, classes[0].lower_bytes);
            assert_eq!(merged.last().unwrap().upper_bytes, classes.last().unwrap().upper_bytes);
            assert!(merged.iter().all(|class| (0.0..1.0).contains(&class.waste_share)));
        }
    }

    #[test]
    fn few_classes_stay_as_they_are() {
        let classes = sample::classes(3);
        assert_eq!(merged(&classes, 20), classes);
        assert!(merged(&[], 20).is_empty());
    }
}
