//! This module reads S3 Inventory in Parquet, whose schema names the columns.
//!
//! Source: "Amazon S3 Inventory list" in the Amazon S3 user guide: the columns are named `key`,
//! `size`, `is_latest` and so on; keys are not encoded.
//!
//! Invariant: one page and [`BATCH`] values of each used column are in memory at a time, however
//! long the file is, and also its footer, up to [`FOOTER_BYTES_MAX`].

use super::collector::Collector;
use super::error::ScanError;
use super::inventory::{Columns, Record, Skipped, Wrong, add};
use super::progress::Progress;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescPtr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// This is at both ends of a file.
const MAGIC: [u8; 4] = *b"PAR1";
/// This is at the end of a file whose footer is encrypted.
const ENCRYPTED_MAGIC: [u8; 4] = *b"PARE";
/// Includes the length of the footer and the magic bytes.
const TAIL_BYTES: u64 = 8;
const FOOTER_BYTES_MAX: u32 = 64 << 20;
/// This many records are read at a time.
const BATCH: usize = 4096;

/// Returns whether `file` is Parquet, by its beginning.
///
/// # Errors
/// Fails when the file cannot be read.
pub fn is_parquet(file: &mut File) -> io::Result<bool> {
    let mut begin = [0; MAGIC.len()];
    file.seek(SeekFrom::Start(0))?;
    let read = file.read_exact(&mut begin);
    file.seek(SeekFrom::Start(0))?;
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| begin == MAGIC || begin == ENCRYPTED_MAGIC),
    }
}

/// Adds every object in `file` to `collector`; `path` is for messages.
///
/// # Errors
/// Fails when the file cannot be read, is truncated, or has no columns Key and Size.
pub fn scan(
    mut file: File,
    path: &Path,
    collector: &mut Collector,
    skipped: &mut Skipped,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let refuse = |what: &str| ScanError::File { path: path.to_owned(), what: what.to_owned() };
    let length = check_footer(&mut file)
        .map_err(|source| ScanError::Read { path: path.to_owned(), source })?
        .map_err(refuse)?;
    // The library's reader asserts what it expects of a file. What was counted before a panic is
    // not used.
    let read = AssertUnwindSafe(|| read(file, length, path, collector, skipped, progress));
    catch_unwind(read).unwrap_or_else(|_| Err(refuse("no whole Parquet file: it is damaged; fetch it again")))
}

fn read(
    file: File,
    length: u64,
    path: &Path,
    collector: &mut Collector,
    skipped: &mut Skipped,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ScanError> {
    let refuse = |what: String| ScanError::File { path: path.to_owned(), what };
    let broken = |error: ParquetError| refuse(format!("no whole Parquet file: {error}; fetch it again"));
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names = schema.columns().iter().map(|column| column.name().to_owned());
    let columns = Columns::of(names.collect::<Vec<_>>().iter().map(String::as_str))?;
    let mut record = 0;
    for number in 0..reader.num_row_groups() {
        let group = reader.get_row_group(number).map_err(broken)?;
        check_places(group.metadata(), length).map_err(broken)?;
        let mut group = Group::open(&*group, &columns, schema.columns()).map_err(refuse)?;
        while group.next().map_err(broken)? {
            for row in 0..group.records {
                record += 1;
                add(&group.record(row), collector, skipped).map_err(|error| match error {
                    Wrong::Object(error) => error,
                    Wrong::Field(found, expected) => {
                        let found = String::from_utf8_lossy(&found).into_owned();
                        refuse(format!("record {record}: {found:?}: expected {expected}"))
                    }
                })?;
            }
            progress(Progress { objects: collector.objects(), total_bytes: collector.total_bytes() });
        }
    }
    Ok(())
}

/// Checks that all columns of a row group are within the file.
fn check_places(group: &RowGroupMetaData, length: u64) -> Result<(), ParquetError> {
    let lies_within = |column: &ColumnChunkMetaData| {
        let begin = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let end = begin.checked_add(column.compressed_size());
        begin >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end as u64 <= length)
    };
    match group.columns().iter().find(|column| !lies_within(column)) {
        Some(column) => {
            let name = column.column_descr().name();
            Err(ParquetError::General(format!("the column {name} is not within the file")))
        }
        None => Ok(()),
    }
}

/// Checks the end of the file before its lengths are trusted, and returns the length of the file.
/// The inner error is a text.
fn check_footer(file: &mut File) -> io::Result<Result<u64, &'static str>> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut tail = [0; TAIL_BYTES as usize];
    if length >= TAIL_BYTES {
        file.seek(SeekFrom::End(-(TAIL_BYTES as i64)))?;
        file.read_exact(&mut tail)?;
    }
    file.seek(SeekFrom::Start(0))?;
    let [a, b, c, d, magic @ ..] = tail;
    let footer_bytes = u32::from_le_bytes([a, b, c, d]);
    Ok(match magic {
        MAGIC if footer_bytes > FOOTER_BYTES_MAX => {
            Err("its footer would have more than 64 MiB: no inventory has; fetch it again")
        }
        MAGIC => Ok(length),
        ENCRYPTED_MAGIC => Err("an encrypted Parquet file: have S3 write the inventory without that"),
        _ => Err("a Parquet file that is cut off: fetch it again"),
    })
}

/// Holds the columns of a row group, and a batch of each.
struct Group {
    key: Column<ByteArray>,
    size: Column<i64>,
    etag: Option<Column<ByteArray>>,
    storage_class: Option<Column<ByteArray>>,
    is_latest: Option<Column<bool>>,
    is_delete_marker: Option<Column<bool>>,
    /// Counts the records in the batch.
    records: usize,
}

impl Group {
    /// Opens the columns of a row group. The error is a text.
    fn open(group: &dyn RowGroupReader, columns: &Columns, schema: &[ColumnDescPtr]) -> Result<Self, String> {
        let open = |at: usize| Opened::of(group, at, &schema[at]);
        let text = |at: Option<usize>| at.map(|at| open(at)?.text()).transpose();
        let flag = |at: Option<usize>| at.map(|at| open(at)?.flag()).transpose();
        Ok(Self {
            key: open(columns.key)?.text()?,
            size: open(columns.size)?.number()?,
            etag: text(columns.etag)?,
            storage_class: text(columns.storage_class)?,
            is_latest: flag(columns.is_latest)?,
            is_delete_marker: flag(columns.is_delete_marker)?,
            records: 0,
        })
    }

    /// Reads the next batch; returns false at the end.
    fn next(&mut self) -> Result<bool, ParquetError> {
        let Self { key, size, etag, storage_class, is_latest, is_delete_marker, records } = self;
        *records = key.next()?;
        let others = [
            Some(size.next()?),
            etag.as_mut().map(Column::next).transpose()?,
            storage_class.as_mut().map(Column::next).transpose()?,
            is_latest.as_mut().map(Column::next).transpose()?,
            is_delete_marker.as_mut().map(Column::next).transpose()?,
        ];
        match others.into_iter().flatten().find(|other| *other != *records) {
            Some(other) => Err(ParquetError::General(format!(
                "a column has {other} records where its keys have {records}"
            ))),
            None => Ok(*records > 0),
        }
    }

    fn record(&self, row: usize) -> Record<'_> {
        let flag =
            |column: &Option<Column<bool>>| column.as_ref().and_then(|column| column.get(row)).copied();
        let size = self.size.get(row).copied();
        Record {
            key: self.key.get(row).map_or(&[][..], ByteArray::data).into(),
            size_bytes: size.map(|size| u64::try_from(size).map_err(|_| size.to_string().into_bytes())),
            etag: self.etag.as_ref().and_then(|column| column.text(row)),
            storage_class: self.storage_class.as_ref().and_then(|column| column.text(row)),
            is_latest: flag(&self.is_latest),
            is_delete_marker: flag(&self.is_delete_marker),
        }
    }
}

/// This is a column of a row group, of any type.
struct Opened<'a> {
    reader: ColumnReader,
    schema: &'a ColumnDescPtr,
}

impl<'a> Opened<'a> {
    fn of(group: &dyn RowGroupReader, at: usize, schema: &'a ColumnDescPtr) -> Result<Self, String> {
        if schema.max_rep_level() > 0 {
            return Err(format!("the column {} is a list: no inventory has that", schema.name()));
        }
        let reader = group.get_column_reader(at).map_err(|error| format!("{}: {error}", schema.name()))?;
        Ok(Self { reader, schema })
    }

    fn refused(&self, wanted: &str) -> String {
        let found = self.schema.physical_type();
        format!("the column {} is of {found}: an inventory has {wanted} there", self.schema.name())
    }

    fn text(self) -> Result<Column<ByteArray>, String> {
        match self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => Ok(Column::new(Box::new(reader), self.schema)),
            _ => Err(self.refused("BYTE_ARRAY")),
        }
    }

    fn number(self) -> Result<Column<i64>, String> {
        match self.reader {
            ColumnReader::Int64ColumnReader(reader) => Ok(Column::new(Box::new(reader), self.schema)),
            _ => Err(self.refused("INT64")),
        }
    }

    fn flag(self) -> Result<Column<bool>, String> {
        match self.reader {
            ColumnReader::BoolColumnReader(reader) => Ok(Column::new(Box::new(reader), self.schema)),
            _ => Err(self.refused("BOOLEAN")),
        }
    }
}

/// Reads values that exist, and a level for each record.
trait Batches<T> {
    /// Returns the number of records that were read.
    fn read(&mut self, levels: &mut Vec<i16>, values: &mut Vec<T>) -> Result<usize, ParquetError>;
}

impl<D: DataType> Batches<D::T> for ColumnReaderImpl<D> {
    fn read(&mut self, levels: &mut Vec<i16>, values: &mut Vec<D::T>) -> Result<usize, ParquetError> {
        let (records, _, _) = self.read_records(BATCH, Some(levels), None, values)?;
        Ok(records)
    }
}

/// Holds a batch of a column.
struct Column<T> {
    reader: Box<dyn Batches<T>>,
    /// This is the level of a value that exists.
    level: i16,
    levels: Vec<i16>,
    values: Vec<T>,
    /// Holds the index of each record's value.
    places: Vec<Option<usize>>,
}

impl<T> Column<T> {
    fn new(reader: Box<dyn Batches<T>>, schema: &ColumnDescPtr) -> Self {
        let level = schema.max_def_level();
        Self { reader, level, levels: Vec::new(), values: Vec::new(), places: Vec::new() }
    }

    fn next(&mut self) -> Result<usize, ParquetError> {
        self.levels.clear();
        self.values.clear();
        let records = self.reader.read(&mut self.levels, &mut self.values)?;
        let mut next = 0;
        let mut place = |is_there: bool| {
            next += usize::from(is_there);
            is_there.then(|| next - 1)
        };
        self.places.clear();
        // A column without missing values has no levels.
        self.places.extend(
            (0..records).map(|at| place(self.level == 0 || self.levels.get(at) == Some(&self.level))),
        );
        Ok(records)
    }

    fn get(&self, row: usize) -> Option<&T> {
        self.values.get((*self.places.get(row)?)?)
    }
}

impl Column<ByteArray> {
    fn text(&self, row: usize) -> Option<&str> {
        self.get(row).and_then(|bytes| std::str::from_utf8(bytes.data()).ok()).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
