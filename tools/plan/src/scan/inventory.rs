//! This module reads S3 Inventory: CSV, plain or compressed by gzip, or Parquet, and the manifest
//! that names the columns of CSV.
//!
//! Source: "Amazon S3 Inventory list" and "Locating your inventory" in the Amazon S3 user guide:
//! CSV has no header line, keys are encoded as in URLs, and its columns are in the manifest's
//! `fileSchema`. Other tools write a header line.
//!
//! Invariant: delete markers and versions that are not the latest are not objects of a plan; a note
//! counts them.

use super::collector::{Collector, Listed};
use super::error::ScanError;
use super::input;
use super::page::url_decoded;
use super::parquet;
use super::progress::Progress;
use csv::{ByteRecord, ReaderBuilder};
use serde::Deserialize;
use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const MANIFEST_BYTES_MAX: u64 = 64 << 20;
/// A quotation mark that is never closed would make one record of the whole file.
const RECORD_BYTES_MAX: u64 = 1 << 20;
const RECORDS_A_STEP: u64 = 4096;
const COLUMNS_SHOWN: usize = 200;
/// These are the names in manifests.
const CSV: &str = "CSV";
const PARQUET: &str = "Parquet";
const ORC: &str = "ORC";
const OTHER_COLUMNS: &str =
    "the columns that were given, in their order, as this is a line of names: leave --columns out";

/// Holds the numbers of the columns that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub count: usize,
    pub key: usize,
    pub size: usize,
    pub etag: Option<usize>,
    pub storage_class: Option<usize>,
    pub is_latest: Option<usize>,
    pub is_delete_marker: Option<usize>,
}

impl Columns {
    /// Finds the columns by their names in CSV or Parquet: `IsLatest` or `is_latest`.
    ///
    /// # Errors
    /// Fails when there is no column Key or no column Size.
    pub fn of<'a>(names: impl Iterator<Item = &'a str>) -> Result<Self, ScanError> {
        let names: Vec<String> =
            names.map(|name| name.trim().trim_matches('"').replace('_', "").to_ascii_lowercase()).collect();
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

/// Holds the used parts of `manifest.json`.
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

/// Adds every object in `paths` to `collector`. A path that ends in `.json` is the manifest, which
/// names the columns. If it is the only path, it also names the files, which are searched for in
/// its directory and in `data/` in it or beside it, as S3 lays them out. `columns` overrides the
/// manifest.
///
/// # Errors
/// Fails when a file cannot be read, when the columns are not known, or when a record is not valid.
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
        // Parquet files name their columns themselves.
        if columns.is_none() && manifest.format.eq_ignore_ascii_case(CSV) {
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
        match kind_of(path)? {
            FileKind::Parquet(_) if columns.is_some() => {
                let what = "a Parquet file says its columns itself: leave --columns out".to_owned();
                return Err(ScanError::File { path: path.to_owned(), what });
            }
            FileKind::Parquet(file) => parquet::scan(file, path, collector, &mut skipped, progress)?,
            FileKind::Text => scan_file(path, known.as_ref(), collector, &mut skipped, progress)?,
        }
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
    if ![CSV, PARQUET].iter().any(|known| manifest.format.eq_ignore_ascii_case(known)) {
        return Err(wrong(not_read(&manifest.format)));
    }
    Ok(manifest)
}

fn not_read(format: &str) -> String {
    format!("an inventory in {format:?}: CSV and Parquet are read; have S3 write it as one of these")
}

/// This is the kind of a file of an inventory, detected by its bytes, because names do not always
/// show it.
enum FileKind {
    Parquet(File),
    /// This is CSV, plain or compressed by gzip.
    Text,
}

fn kind_of(path: &Path) -> Result<FileKind, ScanError> {
    if path.as_os_str() == input::STDIN {
        return Ok(FileKind::Text);
    }
    let found = || -> io::Result<Option<FileKind>> {
        let mut file = File::open(path)?;
        // A pipe has no end to read first.
        if !file.metadata()?.is_file() {
            return Ok(Some(FileKind::Text));
        }
        Ok(match () {
            () if parquet::is_parquet(&mut file)? => Some(FileKind::Parquet(file)),
            () if is_orc(&mut file)? => None,
            () => Some(FileKind::Text),
        })
    };
    let found = found().map_err(|source| ScanError::Read { path: path.to_owned(), source })?;
    found.ok_or_else(|| ScanError::File { path: path.to_owned(), what: not_read(ORC) })
}

/// Detects ORC by both ends of the file: the last byte is the length of the section before it,
/// which ends with the magic bytes again.
fn is_orc(file: &mut File) -> io::Result<bool> {
    let (mut begin, mut end) = ([0; 3], [0; 4]);
    if file.metadata()?.len() < (begin.len() + end.len()) as u64 {
        return Ok(false);
    }
    file.read_exact(&mut begin)?;
    file.seek(SeekFrom::End(-(end.len() as i64)))?;
    file.read_exact(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(&begin == b"ORC" && end.starts_with(b"ORC"))
}

/// Finds a file of the manifest at `manifest` on this machine.
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

/// Counts what was skipped.
#[derive(Default)]
pub struct Skipped {
    delete_markers: u64,
    old_versions: u64,
    /// Counts the files whose first line was taken for a header.
    lines_of_names: u64,
}

impl Skipped {
    fn note(&self, collector: &mut Collector) {
        if self.lines_of_names > 0 {
            collector.note(format!(
                "the first line of {} files has no size: it was taken for the names of the columns",
                self.lines_of_names
            ));
        }
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

/// Limits the bytes that may be read until it is told that a record is complete.
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
    let mut is_first_line = true;
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
    let mut record = ByteRecord::new();
    let mut columns = known.cloned();
    let (mut records, mut line) = (0_u64, 1);
    let failed = |source: csv::Error| ScanError::Read { path: path.to_owned(), source: source.into() };
    while reader.read_byte_record(&mut record).map_err(failed)? {
        since_record_bytes.set(0);
        let is_first = std::mem::take(&mut is_first_line);
        line = record.position().map_or(line, csv::Position::line);
        let Some(columns) = &columns else {
            // The line is a header, which other tools than S3 write.
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
        let first = if is_first { FirstLine::of(&record, columns) } else { FirstLine::Record };
        match first {
            FirstLine::Record => {}
            FirstLine::Names => continue,
            FirstLine::OtherNames => {
                skipped.lines_of_names += 1;
                continue;
            }
            FirstLine::OtherColumns(names) => return Err(wrong(names.as_bytes(), OTHER_COLUMNS)),
        }
        if record.len() != columns.count {
            let found = format!("{} fields", record.len());
            return Err(wrong(found.as_bytes(), "as many as there are columns"));
        }
        let added = Record::of(&record, columns).and_then(|record| add(&record, collector, skipped));
        added.map_err(|error| match error {
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

/// Classifies the first line of a file whose columns are known.
enum FirstLine {
    Record,
    /// The line has the same names.
    Names,
    /// The line has other names, such as `object_key`: the columns that were given apply.
    OtherNames,
    /// Key and Size are in other columns.
    OtherColumns(String),
}

impl FirstLine {
    fn of(record: &ByteRecord, columns: &Columns) -> Self {
        let names = || record.iter().map(|name| std::str::from_utf8(name).unwrap_or_default());
        let place = |columns: &Columns| (columns.count, columns.key, columns.size);
        if let Ok(named) = Columns::of(names()) {
            let is_same = place(&named) == place(columns);
            return if is_same {
                Self::Names
            } else {
                Self::OtherColumns(names().collect::<Vec<_>>().join(", "))
            };
        }
        // Every size contains a digit, except that of a delete marker, which is empty.
        let size = record.get(columns.size).unwrap_or_default();
        let is_name = record.len() == columns.count
            && size.first().is_some_and(u8::is_ascii_alphabetic)
            && !size.iter().any(u8::is_ascii_digit);
        if is_name { Self::OtherNames } else { Self::Record }
    }
}

/// Says what is wrong with a record.
pub enum Wrong {
    /// Holds the field's content, and what was expected.
    Field(Vec<u8>, &'static str),
    Object(ScanError),
}

/// Holds what an inventory says about an object.
pub struct Record<'a> {
    /// This is decoded.
    pub key: Cow<'a, [u8]>,
    /// Holds the invalid text as the error; `None` if the field is empty.
    pub size_bytes: Option<Result<u64, Vec<u8>>>,
    pub etag: Option<&'a str>,
    pub storage_class: Option<&'a str>,
    pub is_latest: Option<bool>,
    pub is_delete_marker: Option<bool>,
}

impl<'a> Record<'a> {
    fn of(record: &'a ByteRecord, columns: &Columns) -> Result<Self, Wrong> {
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
        let digits = std::str::from_utf8(field(columns.size)).ok();
        let size = digits
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|size| size.parse().ok());
        Ok(Self {
            key: url_decoded(field(columns.key)).into(),
            size_bytes: Some(size.ok_or_else(|| field(columns.size).to_vec())),
            etag: text(columns.etag),
            storage_class: text(columns.storage_class),
            is_latest: flag(columns.is_latest)?,
            is_delete_marker: flag(columns.is_delete_marker)?,
        })
    }
}

/// Counts the record if it is an object.
pub fn add(record: &Record<'_>, collector: &mut Collector, skipped: &mut Skipped) -> Result<(), Wrong> {
    if record.is_delete_marker == Some(true) {
        skipped.delete_markers += 1;
        return Ok(());
    }
    if record.is_latest == Some(false) {
        skipped.old_versions += 1;
        return Ok(());
    }
    let size = record.size_bytes.clone().unwrap_or_else(|| Err(Vec::new()));
    let wrong = |found| Wrong::Field(found, "a whole number of bytes in the column Size");
    let object = Listed {
        key: &record.key,
        size_bytes: size.map_err(wrong)?,
        etag: record.etag,
        storage_class: record.storage_class,
    };
    collector.add(&object).map_err(|error| Wrong::Object(error.into()))
}

#[cfg(test)]
#[path = "inventory_tests.rs"]
mod tests;
