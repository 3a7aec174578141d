use super::super::input::testing::gzip;
use super::*;
use crate::scan::file::ScannedSizes;
use tempfile::TempDir;

const COLUMNS: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag, StorageClass";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn scanned(paths: &[PathBuf], columns: Option<&str>) -> Result<ScannedSizes, String> {
    let mut collector = Collector::default();
    scan(paths, columns, &mut collector, &mut |_| {}).map_err(|error| error.to_string())?;
    collector.finish("inventory".into()).map_err(|error| error.to_string())
}

fn manifest(format: &str, file: &str) -> String {
    format!(
        "{{\"sourceBucket\": \"b\", \"version\": \"2016-11-30\", \"fileFormat\": \"{format}\", \
         \"fileSchema\": \"{COLUMNS}\", \"files\": [{{\"key\": \"inventory/b/all/data/{file}\", \"size\": 1}}]}}"
    )
}

const RECORDS: &str = "\"b\",\"a%20b+c\",\"v1\",\"true\",\"false\",\"100\",\"abc-2\",\"STANDARD\"\n\
    \"b\",\"a%20b+d\",\"v1\",\"true\",\"false\",\"200\",\"abc\",\"GLACIER\"\n\
    \"b\",\"a%20b+d\",\"v0\",\"false\",\"false\",\"999\",\"abc\",\"STANDARD\"\n\
    \"b\",\"gone\",\"v1\",\"true\",\"true\",\"\",\"\",\"\"\n";

fn assert_records(sizes: &ScannedSizes) {
    assert_eq!((sizes.objects, sizes.total_bytes), (2, 300));
    assert_eq!((sizes.key_bytes_mean, sizes.key_shared_bytes_mean), (5.0, 2.0), "keys are decoded");
    assert_eq!(sizes.storage_classes.keys().collect::<Vec<_>>(), ["GLACIER", "STANDARD"]);
    assert_eq!(sizes.multipart.unwrap().part_bytes_mean, 50.0);
    assert!(sizes.notes[0].starts_with("1 delete markers") && sizes.notes[1].starts_with("1 older versions"));
}

#[test]
fn columns_come_from_the_manifest_from_the_caller_or_from_a_line_of_names() {
    let folder = Folder::new();
    let plain = folder.write("all.csv", RECORDS);
    assert_records(&scanned(std::slice::from_ref(&plain), Some(COLUMNS)).unwrap());
    let named = folder.write(
        "named.csv",
        format!("bucket,KEY,VersionId,IsLatest,IsDeleteMarker,size,ETag,StorageClass\n{RECORDS}"),
    );
    assert_records(&scanned(&[named], None).unwrap());
    let compressed = folder.write("data/x.csv.gz", gzip(RECORDS.as_bytes()));
    let manifest = folder.write("2026-11-21T00-00Z/manifest.json", manifest("CSV", "x.csv.gz"));
    assert_records(&scanned(std::slice::from_ref(&manifest), None).unwrap());
    assert_records(&scanned(&[compressed, manifest.clone()], None).unwrap());
    let twice = scanned(&[plain.clone(), plain, manifest], None).unwrap();
    assert_eq!((twice.objects, twice.keys_out_of_order), (4, 1), "files that are named are all that is read");
}

/// Regression: the header was read as an object, and refused for its size.
#[test]
fn a_line_of_names_is_no_object_also_where_the_columns_are_given() {
    let folder = Folder::new();
    let named = |name: &str, line: &str| folder.write(name, format!("{line}\n{RECORDS}"));
    let same = named("same.csv", COLUMNS);
    assert_records(&scanned(std::slice::from_ref(&same), Some(COLUMNS)).unwrap());
    folder.write("all.csv", format!("{COLUMNS}\n{RECORDS}"));
    let manifest = folder.write("manifest.json", manifest("CSV", "all.csv"));
    assert_records(&scanned(&[manifest], None).unwrap());
    let other = named("other.csv", "bucket_name,object,v,latest,marker,bytes,tag,class");
    let sizes = scanned(&[other, same.clone()], Some(COLUMNS)).unwrap();
    assert_eq!((sizes.objects, sizes.total_bytes), (4, 600));
    assert!(sizes.notes[0].contains("first line of 1 files"), "{:?}", sizes.notes);
    // The names are in another order than the columns that were given.
    let refused =
        scanned(&[same], Some("Key, Bucket, VersionId, IsLatest, IsDeleteMarker, Size, ETag, StorageClass"));
    assert!(
        refused.as_ref().unwrap_err().contains("line 1: ")
            && refused.unwrap_err().contains("leave --columns out")
    );
    // Only the first line may be a header.
    let late = folder.write("late.csv", format!("{RECORDS}{COLUMNS}\n"));
    assert!(scanned(&[late], Some(COLUMNS)).unwrap_err().contains("line 5: "));
}

#[test]
fn orc_is_refused_by_its_bytes() {
    let folder = Folder::new();
    let orc = folder.write("data.csv", [&b"ORC"[..], &[0; 100], b"ORC\x17"].concat());
    assert!(scanned(&[orc], Some("Key, Size")).unwrap_err().contains("an inventory in \"ORC\""));
    let named = folder.write("plain.csv", "ORC-1,5\n");
    assert_eq!(scanned(&[named], Some("Key, Size")).unwrap().total_bytes, 5);
}

#[test]
fn what_is_missing_is_named() {
    let folder = Folder::new();
    let plain = folder.write("all.csv", RECORDS);
    let refused = |paths: &[PathBuf], columns| scanned(paths, columns).unwrap_err();
    assert!(refused(&[], None).contains("no files given"));
    assert!(refused(std::slice::from_ref(&plain), None).contains("none is Key"), "there is no line of names");
    assert!(refused(&[plain], Some("Bucket, Key")).contains("none is Size"));
    let alone = folder.write("alone/manifest.json", manifest("CSV", "y.csv.gz"));
    assert!(refused(&[alone], None).contains("y.csv.gz is not there"));
    let orc = folder.write("orc/manifest.json", manifest("ORC", "y.orc"));
    assert!(refused(&[orc], None).contains("\"ORC\": CSV and Parquet are read"));
    let broken = folder.write("broken/manifest.json", "{}");
    assert!(refused(&[broken], None).contains("no manifest"));
    let none = folder.0.path().join("none.csv");
    assert!(refused(&[none], Some(COLUMNS)).contains("none.csv"));
}

#[test]
fn a_record_that_is_none_is_named_with_its_line() {
    let folder = Folder::new();
    let mut number = 0;
    let mut refused = |records: String| {
        number += 1;
        let path = folder.write(&format!("{number}.csv"), records);
        scanned(&[path], Some("Key, Size")).unwrap_err()
    };
    let good = "\"a\nb\",\"1\"\n";
    for (record, expected) in [
        ("\"c\",\"1.5\"\n", "whole number of bytes in the column Size"),
        ("\"c\",\"\"\n", "whole number"),
        ("\"c\",\"+1\"\n", "whole number"),
        ("\"c\"\n", "\"1 fields\": expected as many as there are columns"),
        ("\"c\",\"1\",\"2\"\n", "\"3 fields\""),
    ] {
        let error = refused(format!("{good}{record}"));
        assert!(error.contains(".csv, line 3: ") && error.contains(expected), "{record}: {error}");
    }
    let open = refused(format!("{good}\"c,{}", "x\n".repeat(4 << 20)));
    assert!(open.contains("quotation mark"), "{open}");
    let cut = gzip(good.repeat(1000).as_bytes());
    let path = folder.write("cut.csv.gz", &cut[..cut.len() - 5]);
    assert!(scanned(&[path], Some("Key, Size")).is_err(), "cut off");
}
