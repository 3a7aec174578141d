//! What Complete demands of the list of parts, on uploads made up in memory.

use super::*;
use crate::s3::checksum::of_bytes;
use ringbolt_engine::types::UploadId;
use s3s::S3ErrorCode;

fn part(number: u16, size_bytes: u64) -> PartInfo {
    let etag = Etag { md5: [number as u8; 16], parts: 0 };
    PartInfo { number, size_bytes, modified_ms: 0, etag, attributes: Attributes::new() }
}

fn upload(parts: Vec<PartInfo>, attributes: Attributes) -> UploadInfo {
    UploadInfo { id: UploadId(7), key: b"key".to_vec(), initiated_ms: 0, attributes, parts }
}

fn completed(number: i32) -> String {
    let etag = Etag { md5: [number as u8; 16], parts: 0 };
    format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>")
}

fn read(parts: &str) -> S3Result<Vec<Listed>> {
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    Ok(PartList::read(XmlReader::new(document.as_bytes(), 100_000)?)?.parts)
}

fn code<T>(result: S3Result<T>) -> Option<S3ErrorCode> {
    result.err().map(|error| error.code().clone())
}

#[test]
fn the_list_is_complete_and_ascending() {
    assert_eq!(code(read("")), Some(S3ErrorCode::MalformedXML));
    assert_eq!(code(read("<Part/>")), Some(S3ErrorCode::MalformedXML));
    assert_eq!(code(read(&(completed(2) + &completed(1)))), Some(S3ErrorCode::InvalidPartOrder));
    assert_eq!(code(read(&(completed(1) + &completed(1)))), Some(S3ErrorCode::InvalidPartOrder));
    assert_eq!(code(read(&completed(0))), Some(S3ErrorCode::InvalidArgument));
    assert_eq!(read(&(completed(1) + &completed(5))).unwrap().len(), 2);
}

#[test]
fn a_part_says_everything_once_and_its_checksum_is_known() {
    let part = |more: &str| read(&format!("<Part><PartNumber>1</PartNumber><ETag>e</ETag>{more}</Part>"));
    for algorithm in [Algorithm::Crc32, Algorithm::XxHash128, Algorithm::Sha512] {
        let (element, value) = (algorithm.element(), of_bytes(algorithm, b"abc"));
        let given = format!("<{element}>{value}</{element}>");
        assert_eq!(part(&given).unwrap()[0].checksum, Some((algorithm, value)));
        assert_eq!(code(part(&format!("{given}{given}"))), Some(S3ErrorCode::MalformedXML));
        let bad = format!("<{element}>wrong</{element}>");
        assert_eq!(code(part(&bad)), Some(S3ErrorCode::InvalidRequest));
    }
    let two =
        "<ChecksumCRC32>NSRBwg==</ChecksumCRC32><ChecksumSHA1>qZk+NkcGgWq6PiVxeFDCbJzQ2J0=</ChecksumSHA1>";
    for bad in [two, "<ChecksumCRC23>AAAA</ChecksumCRC23>", "<ETag>f</ETag>", "<PartNumber>1</PartNumber>"] {
        assert_eq!(code(part(bad)), Some(S3ErrorCode::MalformedXML), "{bad}");
    }
    assert_eq!(part("<Size>5</Size><LastModified>now</LastModified>").unwrap().len(), 1);
}

#[test]
fn parts_must_be_there_match_and_be_large_enough() {
    let listed = |numbers: &[i32]| read(&numbers.iter().copied().map(completed).collect::<String>()).unwrap();
    let stored = upload(vec![part(1, PART_BYTES_MIN), part(2, 9), part(3, 1)], Attributes::new());
    assert_eq!(choose_parts(&stored, &listed(&[1, 2])).unwrap().len(), 2);
    assert_eq!(code(choose_parts(&stored, &listed(&[1, 4]))), Some(S3ErrorCode::InvalidPart));
    assert_eq!(code(choose_parts(&stored, &listed(&[1, 2, 3]))), Some(S3ErrorCode::EntityTooSmall));
    let other = read("<Part><PartNumber>1</PartNumber><ETag>ffff</ETag></Part>").unwrap();
    assert_eq!(code(choose_parts(&stored, &other)), Some(S3ErrorCode::InvalidPart));
}

#[test]
fn the_etag_is_the_md5_of_md5s() {
    let (one, two) = (part(1, 1), part(2, 1));
    let etag = etag_of_parts(&[&one, &two]);
    let mut bytes = one.etag.md5.to_vec();
    bytes.extend(two.etag.md5);
    assert_eq!(etag, Etag { md5: Md5::digest(&bytes), parts: 2 });
}

#[test]
fn the_announced_checksum_must_be_that_of_the_parts() {
    let attributes = vec![
        (CHECKSUM_ALGORITHM.to_owned(), "CRC32".to_owned()),
        (CHECKSUM_TYPE.to_owned(), "FULL_OBJECT".to_owned()),
        ("content-type".to_owned(), "a/b".to_owned()),
    ];
    let mut parts = vec![part(1, 3), part(2, 3)];
    for (part, bytes) in parts.iter_mut().zip([b"abc", b"def"]) {
        headers::add_checksum(
            &mut part.attributes,
            Algorithm::Crc32,
            of_bytes(Algorithm::Crc32, bytes),
            None,
        );
    }
    let stored = upload(parts, attributes);
    let chosen: Vec<&PartInfo> = stored.parts.iter().collect();
    let whole = of_bytes(Algorithm::Crc32, b"abcdef");
    let made = object_attributes(&stored, &chosen, Some((Algorithm::Crc32, whole.clone()))).unwrap();
    assert_eq!(stored_checksum(&made), Some((Algorithm::Crc32, whole.as_str())));
    assert_eq!(stored_kind(&made), Some(Kind::FullObject));
    assert_eq!(headers::find(&made, CHECKSUM_ALGORITHM), None);
    let wrong = Some((Algorithm::Crc32, "bad".to_owned()));
    assert_eq!(code(object_attributes(&stored, &chosen, wrong)), Some(S3ErrorCode::BadDigest));
}

#[test]
fn checksum_types_that_can_not_be() {
    assert_eq!(asked_checksum(None, None).unwrap(), None);
    assert_eq!(
        asked_checksum(Some("CRC64NVME"), None).unwrap(),
        Some((Algorithm::Crc64Nvme, Kind::FullObject))
    );
    for (name, algorithm) in
        [("SHA256", Algorithm::Sha256), ("MD5", Algorithm::Md5), ("XXHASH64", Algorithm::XxHash64)]
    {
        assert_eq!(asked_checksum(Some(name), None).unwrap(), Some((algorithm, Kind::Composite)));
    }
    let name = UploadName { id: UploadId(1), checksum: Some((Algorithm::Crc32, Kind::FullObject)) };
    assert!(check_kind(name, None).is_ok() && check_kind(name, Some("FULL_OBJECT")).is_ok());
    assert_eq!(code(check_kind(name, Some("COMPOSITE"))), Some(S3ErrorCode::InvalidRequest));
    for (algorithm, kind) in [
        (None, Some("COMPOSITE")),
        (Some("MD4"), None),
        (Some("CRC32"), Some("HALF")),
        (Some("SHA1"), Some("FULL_OBJECT")),
        (Some("XXHASH3"), Some("FULL_OBJECT")),
        (Some("CRC64NVME"), Some("COMPOSITE")),
    ] {
        assert_eq!(code(asked_checksum(algorithm, kind)), Some(S3ErrorCode::InvalidRequest));
    }
}

#[test]
fn a_repeated_complete_is_known_by_upload_and_parts() {
    let info = ObjectInfo {
        size_bytes: 1,
        modified_ms: 0,
        etag: Etag::default(),
        attributes: Attributes::new(),
        parts: vec![part(1, 1)],
        upload: Some(UploadId(7)),
        generation: 1,
    };
    let name = |id| UploadName { id: UploadId(id), checksum: None };
    let listed = |number| read(&completed(number)).unwrap();
    assert!(completed_by(&info, name(7), &listed(1)));
    assert!(!completed_by(&info, name(8), &listed(1)));
    assert!(!completed_by(&info, name(7), &listed(2)));
}
