use super::super::inventory::scan as scan_files;
use super::*;
use crate::scan::file::ScannedSizes;
use parquet::basic::{Compression, GzipLevel};
use parquet::data_type::{BoolType, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use std::path::PathBuf;
use std::sync::Arc;

/// This is the schema that S3 writes, also in its manifest.
const SCHEMA: &str = "message s3.inventory {
  required binary bucket (UTF8);
  required binary key (UTF8);
  optional boolean is_latest;
  optional boolean is_delete_marker;
  optional int64 size;
  optional binary e_tag (UTF8);
  optional binary storage_class (UTF8);
}";

/// Describes a file. In each row group, the second record is an older version and the third a
/// delete marker without a size; all others are objects of 100 bytes.
struct Written {
    records: usize,
    row_groups: usize,
    compression: Compression,
}

const FEW: Written = Written { records: 4, row_groups: 1, compression: Compression::SNAPPY };

impl Written {
    fn to(&self, path: &Path) {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = WriterProperties::builder().set_compression(self.compression).build();
        let file = File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
        for group in 0..self.row_groups {
            let mut row_group = writer.next_row_group().unwrap();
            for number in 0.. {
                let Some(mut column) = row_group.next_column().unwrap() else { break };
                self.column(number, group, &mut column);
                column.close().unwrap();
            }
            row_group.close().unwrap();
        }
        writer.close().unwrap();
    }

    fn column(&self, number: usize, group: usize, column: &mut SerializedColumnWriter<'_>) {
        let there = vec![1; self.records];
        let texts = |text: &dyn Fn(usize) -> String| -> Vec<ByteArray> {
            (0..self.records).map(|at| ByteArray::from(text(at).into_bytes())).collect()
        };
        let flags = |flag: fn(usize) -> bool| -> Vec<bool> { (0..self.records).map(flag).collect() };
        match number {
            0 => drop(column.typed::<ByteArrayType>().write_batch(&texts(&|_| "b".into()), None, None)),
            1 => {
                let keys = texts(&|at| format!("a%20b+c/{group}/{at:06}"));
                column.typed::<ByteArrayType>().write_batch(&keys, None, None).unwrap();
            }
            2 => {
                let latest = flags(|at| at != 1);
                column.typed::<BoolType>().write_batch(&latest, Some(&there), None).unwrap();
            }
            3 => {
                let markers = flags(|at| at == 2);
                column.typed::<BoolType>().write_batch(&markers, Some(&there), None).unwrap();
            }
            4 => {
                let levels: Vec<i16> = (0..self.records).map(|at| i16::from(at != 2)).collect();
                let sizes = vec![100; self.records - 1];
                column.typed::<Int64Type>().write_batch(&sizes, Some(&levels), None).unwrap();
            }
            5 => {
                let tags = texts(&|_| "ab-2".into());
                column.typed::<ByteArrayType>().write_batch(&tags, Some(&there), None).unwrap();
            }
            _ => {
                let classes = texts(&|_| "GLACIER".into());
                column.typed::<ByteArrayType>().write_batch(&classes, Some(&there), None).unwrap();
            }
        }
    }
}

fn scanned(path: &Path, columns: Option<&str>) -> Result<ScannedSizes, String> {
    let mut collector = Collector::default();
    let paths = [PathBuf::from(path)];
    scan_files(&paths, columns, &mut collector, &mut |_| {}).map_err(|error| error.to_string())?;
    collector.finish("inventory".into()).map_err(|error| error.to_string())
}

#[test]
fn objects_are_counted_whatever_the_compression() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.parquet");
    let gzip = Compression::GZIP(GzipLevel::default());
    for compression in [Compression::SNAPPY, gzip, Compression::UNCOMPRESSED] {
        Written { compression, ..FEW }.to(&path);
        let sizes = scanned(&path, None).unwrap();
        assert_eq!((sizes.objects, sizes.total_bytes, sizes.multipart.unwrap().parts), (2, 200, 4));
        assert_eq!(sizes.key_bytes_mean, 16.0, "keys are not encoded");
        assert_eq!(sizes.storage_classes["GLACIER"], 2);
        assert!(sizes.notes[0].starts_with("1 delete markers") && sizes.notes[1].starts_with("1 older"));
    }
}

/// The file has more than a batch, in several row groups, and the manifest names it.
#[test]
fn long_files_are_read_batch_by_batch() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.parquet");
    Written { records: 2 * BATCH + 7, row_groups: 3, ..FEW }.to(&path);
    let manifest = folder.path().join("manifest.json");
    let schema = SCHEMA.replace('\n', " ");
    let text = format!(
        "{{\"fileFormat\": \"Parquet\", \"fileSchema\": \"{schema}\", \"files\": [{{\"key\": \"x/data.parquet\"}}]}}"
    );
    std::fs::write(&manifest, text).unwrap();
    for path in [&path, &manifest] {
        let sizes = scanned(path, None).unwrap();
        let objects = 3 * (2 * BATCH as u64 + 5);
        assert_eq!((sizes.objects, sizes.total_bytes), (objects, objects * 100));
    }
}

#[test]
fn what_is_no_whole_inventory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.parquet");
    FEW.to(&path);
    assert!(scanned(&path, Some("Key, Size")).unwrap_err().contains("leave --columns out"));
    let whole = std::fs::read(&path).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        scanned(&path, None).unwrap_err()
    };
    assert!(refused(&whole[..whole.len() - 1]).contains("cut off"));
    assert!(refused(&whole[..5]).contains("cut off"));
    let mut long = whole.clone();
    let at = long.len() - 8;
    long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(refused(&long).contains("64 MiB"));
    let mut encrypted = whole.clone();
    let at = encrypted.len() - 4;
    encrypted[at..].copy_from_slice(b"PARE");
    assert!(refused(&encrypted).contains("encrypted"));
    // Damage is an error, or is not detected because no checksum covers it; it never ends the
    // program.
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..300 {
        let mut damaged = whole.clone();
        let at = random.usize(4..damaged.len() - 8);
        damaged[at] ^= 1 << random.u8(..8);
        std::fs::write(&path, &damaged).unwrap();
        _ = scanned(&path, None);
    }
}

#[test]
fn columns_of_other_types_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.parquet");
    let schema = "message x { required binary key (UTF8); required binary size (UTF8); }";
    let file = File::create(&path).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("1")], None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let refused = scanned(&path, None).unwrap_err();
    assert!(refused.contains("the column size is of BYTE_ARRAY: an inventory has INT64 there"), "{refused}");
}
