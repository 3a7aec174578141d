//! S3 Inventory in CSV: files, plain or by gzip, and the manifest that says what their columns are.
//!
//! Source: "Amazon S3 Inventory list" and "Locating your inventory" in the Amazon S3 user guide: no line of names, keys
//! encoded as in URLs, the columns in the manifest's `fileSchema`.
//!
//! Invariant: delete markers and versions that are not the newest are no objects of a plan; they are counted in a note.

use super::collector::{Collector, Listed};
use super::error::ScanError;
use super::input;
use super::page::url_decoded;
use super::progress::Progress;
use csv::{ByteRecord, ReaderBuilder};
use serde::Deserialize;
use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// A quotation mark that is never closed would make one record of the whole file.
const RECORD_BYTES_MAX: u64 = 1 << 20;
const RECORDS_A_STEP: u64 = 4096;
const COLUMNS_SHOWN: usize = 200;

/// What is looked at in a record, by number of its column.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Columns {
    count: usize,
    key: usize,
    size: usize,
    etag: Option<usize>,
    storage_class: Option<usize>,
    is_latest: Option<usize>,
    is_delete_marker: Option<usize>,
}

impl Columns {
    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, ScanError> {
        let names: Vec<String> =
            names.map(|name| name.trim().trim_matches('"').to_ascii_lowercase()).collect();
        let find = |wanted: &str| names.iter().position(|name| name == wanted);
        let refuse = |what| {
            let columns = names.join(", ").chars().take(COLUMNS_SHOWN).collect();
            ScanError::Columns { columns, what }
        };
        Ok(Self {
            count: names.len(),
            key: find("key").ok_or_else(|| refuse("none is Key"))?,
            size: find("size").ok_or_else(|| refuse("none is Size"))?,
            etag: find("etag"),
            storage_class: find("storageclass"),
            is_latest: find("islatest"),
            is_delete_marker: find("isdeletemarker"),
        })
    }
}

/// `manifest.json`, as far as it matters here.
#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "fileFormat")]
    format: String,
    #[serde(rename = "fileSchema")]
    schema: String,
    files: Vec<ManifestFile>,
}

#[derive(Deserialize)]
struct ManifestFile {
    key: String,
}

/// Gives every object in `paths` to `collector`. A path that ends in `.json` is the manifest: it says the columns, and
/// alone also the files, which are looked for beside it and in `data/` beside it or its folder, as S3 lays them out.
/// `columns` wins over it.
///
/// # Errors
/// When a file can not be read, the columns are not known, or a record is not as it should be.
pub fn scan(
    paths: &[PathBuf],
    columns: Option<&str>,
    collector: &mut Collector,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let is_manifest = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let (manifests, mut files): (Vec<&PathBuf>, Vec<&PathBuf>) = paths.iter().partition(is_manifest);
    let mut known = columns.map(|columns| Columns::of(columns.split(','))).transpose()?;
    let mut found = Vec::new();
    for path in manifests {
        let manifest = read_manifest(path)?;
        if columns.is_none() {
            known = Some(Columns::of(manifest.schema.split(','))?);
        }
        if files.is_empty() {
            found.extend(
                manifest.files.iter().map(|file| find(path, &file.key)).collect::<Result<Vec<_>, _>>()?,
            );
        }
    }
    files.extend(&found);
    if files.is_empty() {
        return Err(ScanError::NoFiles);
    }
    let mut skipped = Skipped::default();
    for path in files {
        scan_file(path, known.as_ref(), collector, &mut skipped, progress)?;
    }
    skipped.note(collector);
    Ok(())
}

fn read_manifest(path: &Path) -> Result<Manifest, ScanError> {
    let mut text = String::new();
    let read = input::open(path)?.take(MANIFEST_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|source| ScanError::Read { path: path.to_owned(), source })?;
    let wrong = |what: String| ScanError::File { path: path.to_owned(), what };
    let manifest: Manifest = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("no manifest of an inventory: {error}")))?;
    if !manifest.format.eq_ignore_ascii_case("csv") {
        let format = manifest.format;
        return Err(wrong(format!("an inventory in {format:?}: only CSV is read; have S3 write it as CSV")));
    }
    Ok(manifest)
}

/// Where a file of the manifest at `manifest` is on this machine.
fn find(manifest: &Path, key: &str) -> Result<PathBuf, ScanError> {
    let name = key.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..");
    let name = name.ok_or_else(|| ScanError::File {
        path: manifest.to_owned(),
        what: format!("names the file {key:?}, which is no name"),
    })?;
    let folder = manifest.parent().unwrap_or(Path::new(""));
    let places =
        [folder.join(name), folder.join("data").join(name), folder.join("..").join("data").join(name)];
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.into_iter().find(|place| place.is_file()).ok_or_else(|| ScanError::File {
        path: manifest.to_owned(),
        what: format!("its file {name} is not there (looked for {}); fetch it", looked.join(", ")),
    })
}

/// What was passed over.
#[derive(Default)]
struct Skipped {
    delete_markers: u64,
    old_versions: u64,
}

impl Skipped {
    fn note(&self, collector: &mut Collector) {
        if self.delete_markers > 0 {
            collector
                .note(format!("{} delete markers were passed over: they have no bytes", self.delete_markers));
        }
        if self.old_versions > 0 {
            collector.note(format!(
                "{} older versions were passed over: Ringbolt keeps the newest only",
                self.old_versions
            ));
        }
    }
}

/// Lets through so much until it is told that a record was whole.
struct Bounded<R> {
    inner: R,
    since_record_bytes: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.since_record_bytes.get() > RECORD_BYTES_MAX {
            return Err(io::Error::other("a record of more than 1 MiB: is a quotation mark never closed?"));
        }
        let count = self.inner.read(buffer)?;
        self.since_record_bytes.set(self.since_record_bytes.get() + count as u64);
        Ok(count)
    }
}

fn scan_file(
    path: &Path,
    known: Option<&Columns>,
    collector: &mut Collector,
    skipped: &mut Skipped,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let since_record_bytes = Rc::new(Cell::new(0));
    let bounded = Bounded { inner: input::open(path)?, since_record_bytes: since_record_bytes.clone() };
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
    let mut record = ByteRecord::new();
    let mut columns = known.cloned();
    let (mut records, mut line) = (0_u64, 1);
    let failed = |source: csv::Error| ScanError::Read { path: path.to_owned(), source: source.into() };
    while reader.read_byte_record(&mut record).map_err(failed)? {
        since_record_bytes.set(0);
        line = record.position().map_or(line, csv::Position::line);
        let Some(columns) = &columns else {
            // Not S3's own: a line of names, as other tools write it.
            let names = record.iter().map(|name| std::str::from_utf8(name).unwrap_or_default());
            columns = Some(Columns::of(names)?);
            continue;
        };
        let wrong = |found: &[u8], expected| ScanError::Line {
            path: path.to_owned(),
            line,
            found: String::from_utf8_lossy(found).chars().take(COLUMNS_SHOWN).collect(),
            expected,
        };
        if record.len() != columns.count {
            let found = format!("{} fields", record.len());
            return Err(wrong(found.as_bytes(), "as many as there are columns"));
        }
        add(&record, columns, collector, skipped).map_err(|error| match error {
            Wrong::Field(found, expected) => wrong(&found, expected),
            Wrong::Object(error) => error,
        })?;
        records += 1;
        if records.is_multiple_of(RECORDS_A_STEP) {
            progress(Progress { objects: collector.objects(), total_bytes: collector.total_bytes() });
        }
    }
    Ok(())
}

enum Wrong {
    /// What was there, what was expected.
    Field(Vec<u8>, &'static str),
    Object(ScanError),
}

fn add(
    record: &ByteRecord,
    columns: &Columns,
    collector: &mut Collector,
    skipped: &mut Skipped,
) -> Result<(), Wrong> {
    let field = |number: usize| record.get(number).unwrap_or_default();
    let text = |number: Option<usize>| {
        number.and_then(|number| std::str::from_utf8(field(number)).ok()).filter(|text| !text.is_empty())
    };
    let flag = |number: Option<usize>| match number.map(|number| field(number).to_ascii_lowercase()) {
        None => Ok(None),
        Some(text) if text == b"true" => Ok(Some(true)),
        Some(text) if text == b"false" => Ok(Some(false)),
        Some(text) => Err(Wrong::Field(text, "true or false")),
    };
    if flag(columns.is_delete_marker)? == Some(true) {
        skipped.delete_markers += 1;
        return Ok(());
    }
    if flag(columns.is_latest)? == Some(false) {
        skipped.old_versions += 1;
        return Ok(());
    }
    let size = std::str::from_utf8(field(columns.size)).ok();
    let size =
        size.filter(|size| size.bytes().all(|byte| byte.is_ascii_digit())).and_then(|size| size.parse().ok());
    let wrong = || Wrong::Field(field(columns.size).to_vec(), "a whole number of bytes in the column Size");
    let object = Listed {
        key: &url_decoded(field(columns.key)),
        size_bytes: size.ok_or_else(wrong)?,
        etag: text(columns.etag),
        storage_class: text(columns.storage_class),
    };
    collector.add(&object).map_err(|error| Wrong::Object(error.into()))
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
