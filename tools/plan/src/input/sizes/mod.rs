//! This module reads the sizes of objects: a list, a distribution, or the result of a scan.
//!
//! Invariant: exactly one of the three is given. Ranges are cut into 16 classes per octave, so that
//! code that walks over the classes sees what is not linear in the size (padding, the border
//! between small and large objects).

mod distribution;
mod grid;
mod list;

pub use self::list::requested;

use super::error::InputError;
use super::fields::Fields;
use super::named_file;
use crate::scan::file::ScannedSizes;
use crate::sizes::{SizeClass, SizeHistogram, SizesError};

/// Holds the sizes and where they come from.
#[derive(Clone, Debug)]
pub struct Sizes {
    pub histogram: SizeHistogram,
    /// Describes the source as text.
    pub source: String,
    pub scan: Option<ScannedSizes>,
}

impl Sizes {
    pub fn largest_bytes(&self) -> u64 {
        self.histogram.classes().last().map_or(0, |class| class.upper_bytes)
    }
}

/// Reads the sizes.
///
/// # Errors
/// Fails when none or more than one of the three is given, or when its values make no sense.
pub fn read(fields: &Fields, notes: &mut Vec<String>) -> Result<Sizes, InputError> {
    const WAYS: [&str; 3] = ["objects.sizes", "objects.scan", "objects.distribution"];
    let given = [fields.has(WAYS[0]), fields.has(WAYS[1]), fields.has_distribution()];
    let mut given = WAYS.iter().zip(given).filter(|(_, given)| *given).map(|(way, _)| *way);
    let (first, second) = (given.next(), given.next());
    if let (Some(first), Some(second)) = (first, second) {
        return Err(fields.refuse(first, format!("{second} says the sizes too: keep one of them")));
    }
    match first {
        Some("objects.sizes") => list::read(fields),
        Some("objects.scan") => scanned(fields, notes),
        Some(_) => distribution::read(fields, notes),
        None => Err(fields.missing("objects.sizes")),
    }
}

fn scanned(fields: &Fields, notes: &mut Vec<String>) -> Result<Sizes, InputError> {
    const KEY: &str = "objects.scan";
    let Some(path) = fields.file_if(KEY)? else { return Err(fields.missing(KEY)) };
    let text = named_file(&path)?;
    let refuse = |reason: String| InputError::File { path: path.clone(), reason };
    let scan = ScannedSizes::from_json(&text).map_err(|error| refuse(error.to_string()))?;
    let histogram = scan.histogram().map_err(|error| refuse(error.to_string()))?;
    notes.extend(scan.notes.iter().map(|note| format!("{}: {note}", path.display())));
    Ok(Sizes { histogram, source: format!("scan of {}", scan.source), scan: Some(scan) })
}

/// Makes a histogram of classes that were written or computed.
fn histogram(fields: &Fields, key: &str, classes: Vec<SizeClass>) -> Result<SizeHistogram, InputError> {
    SizeHistogram::new(classes).map_err(|error| {
        let advice = match error {
            SizesError::Overlap { .. } => ": cut the larger one in two around the other",
            _ => "",
        };
        fields.refuse(key, format!("{error}{advice}"))
    })
}
