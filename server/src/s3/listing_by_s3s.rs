//! The documents of listings as s3s writes them. [`listing_xml`](super::listing_xml) is compared
//! with them: what it writes by a test, and what it costs by `benches/src/bin/listing_xml.rs`.
//!
//! Nothing else uses this: it is there for tests, and behind the feature `internals`.

use super::attributes::{checksum_algorithm, checksum_type};
use super::listing_xml::{Continuation, Encoding, Listing, Marker, VersionEntry};
use super::multipart::UploadName;
use super::timestamp::timestamp;
use crate::host::url_encode;
use crate::xml::write_references;
use ringbolt_engine::types::{
    Bucket as StoredBucket, BucketId, Etag, ListItem, ListPage, UploadId, UploadInfo, UploadItem, UploadPage,
};
use s3s::dto::*;
use s3s::xml::{Serialize, Serializer};
use std::rc::Rc;

fn show(encoding: Encoding, name: &[u8]) -> String {
    match encoding {
        Encoding::Plain => String::from_utf8_lossy(name).into_owned(),
        Encoding::Url => url_encode(name),
    }
}

fn common_prefix(encoding: Encoding, prefix: &[u8]) -> CommonPrefix {
    CommonPrefix { prefix: Some(show(encoding, prefix)) }
}

fn encoding_type(encoding: Encoding) -> Option<EncodingType> {
    matches!(encoding, Encoding::Url).then(|| EncodingType::from_static(EncodingType::URL))
}

/// Returns the document of an output, as it is sent: with references.
fn document(output: &impl Serialize) -> String {
    let mut bytes = Vec::with_capacity(256);
    let mut serializer = Serializer::new(&mut bytes);
    let written = serializer.decl().and_then(|()| output.serialize(&mut serializer));
    written.expect("writing into memory cannot fail");
    let xml = String::from_utf8(bytes).expect("s3s writes text");
    write_references(&xml).unwrap_or(xml)
}

fn delimiter(listing: &Listing) -> Option<String> {
    listing.delimiter.as_ref().map(|delimiter| show(listing.encoding, delimiter.as_bytes()))
}

fn split(listing: &Listing, items: &[ListItem], owner: Option<&Owner>) -> (ObjectList, CommonPrefixList) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for item in items {
        match item {
            ListItem::Object { key, size_bytes, modified_ms, etag, class } => objects.push(Object {
                key: Some(show(listing.encoding, key)),
                size: i64::try_from(*size_bytes).ok(),
                last_modified: Some(timestamp(*modified_ms)),
                e_tag: Some(ETag::Strong(etag.to_string())),
                storage_class: Some(ObjectStorageClass::from_static(class.name())),
                owner: owner.cloned(),
                ..Object::default()
            }),
            ListItem::CommonPrefix(prefix) => prefixes.push(common_prefix(listing.encoding, prefix)),
        }
    }
    (objects, prefixes)
}

/// Writes what [`Listing::objects`] writes.
pub fn objects(listing: &Listing, marker: &str, next_marker: Option<&[u8]>, page: &ListPage) -> String {
    let (contents, common_prefixes) = split(listing, &page.items, Some(&listing.owner));
    document(&ListObjectsOutput {
        name: Some(listing.bucket.name.clone()),
        prefix: Some(show(listing.encoding, listing.prefix.as_bytes())),
        marker: Some(show(listing.encoding, marker.as_bytes())),
        max_keys: Some(listing.max),
        is_truncated: Some(page.truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter(listing),
        next_marker: next_marker.map(|next| show(listing.encoding, next)),
        encoding_type: encoding_type(listing.encoding),
        request_charged: None,
    })
}

/// Writes what [`Listing::objects_v2`] writes.
pub fn objects_v2(listing: &Listing, place: &Continuation<'_>, shows_owner: bool, page: &ListPage) -> String {
    let (contents, common_prefixes) = split(listing, &page.items, shows_owner.then_some(&listing.owner));
    document(&ListObjectsV2Output {
        name: Some(listing.bucket.name.clone()),
        prefix: Some(show(listing.encoding, listing.prefix.as_bytes())),
        max_keys: Some(listing.max),
        key_count: i32::try_from(page.items.len()).ok(),
        continuation_token: place.token.map(str::to_owned),
        is_truncated: Some(page.truncated),
        next_continuation_token: place.next_token.clone(),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: delimiter(listing),
        encoding_type: encoding_type(listing.encoding),
        start_after: place.start_after.map(|name| show(listing.encoding, name.as_bytes())),
        request_charged: None,
    })
}

/// Writes what [`Listing::versions`] writes, with common prefixes and delete markers at the front.
pub fn versions<V: ToString>(
    listing: &Listing,
    from: &Marker<'_>,
    next: Option<&Marker<'_>>,
    entries: &[VersionEntry<'_, V>],
) -> String {
    let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            VersionEntry::Version { key, version_id, is_latest, is_marker: true, modified_ms, .. } => {
                markers.push(DeleteMarkerEntry {
                    key: Some(show(listing.encoding, key)),
                    version_id: Some(version_id.to_string()),
                    is_latest: Some(*is_latest),
                    last_modified: Some(timestamp(*modified_ms)),
                    owner: Some(listing.owner.clone()),
                });
            }
            VersionEntry::Version {
                key,
                version_id,
                is_latest,
                size_bytes,
                modified_ms,
                etag,
                class,
                ..
            } => {
                let class = ObjectVersionStorageClass::from_static(class.name());
                versions.push(ObjectVersion {
                    key: Some(show(listing.encoding, key)),
                    version_id: Some(version_id.to_string()),
                    is_latest: Some(*is_latest),
                    size: i64::try_from(*size_bytes).ok(),
                    last_modified: Some(timestamp(*modified_ms)),
                    e_tag: Some(ETag::Strong(etag.to_string())),
                    storage_class: Some(class),
                    owner: Some(listing.owner.clone()),
                    ..ObjectVersion::default()
                });
            }
            VersionEntry::CommonPrefix(prefix) => prefixes.push(common_prefix(listing.encoding, prefix)),
        }
    }
    document(&ListObjectVersionsOutput {
        name: Some(listing.bucket.name.clone()),
        prefix: Some(show(listing.encoding, listing.prefix.as_bytes())),
        key_marker: Some(show(listing.encoding, from.key)),
        version_id_marker: from.id.clone(),
        max_keys: Some(listing.max),
        is_truncated: Some(next.is_some()),
        versions: Some(versions),
        common_prefixes: Some(prefixes),
        delimiter: delimiter(listing),
        encoding_type: encoding_type(listing.encoding),
        next_key_marker: next.map(|next| show(listing.encoding, next.key)),
        next_version_id_marker: next.and_then(|next| next.id.clone()),
        delete_markers: Some(markers),
        request_charged: None,
    })
}

/// Writes what [`Listing::uploads`] writes, with common prefixes at the front.
pub fn uploads(listing: &Listing, from: &Marker<'_>, next: Option<&Marker<'_>>, page: &UploadPage) -> String {
    let (mut uploads, mut prefixes) = (Vec::new(), Vec::new());
    for item in &page.items {
        match item {
            UploadItem::Upload(upload) => uploads.push(show_upload(listing, upload)),
            UploadItem::CommonPrefix(prefix) => prefixes.push(common_prefix(listing.encoding, prefix)),
        }
    }
    document(&ListMultipartUploadsOutput {
        bucket: Some(listing.bucket.name.clone()),
        prefix: Some(show(listing.encoding, listing.prefix.as_bytes())),
        key_marker: Some(show(listing.encoding, from.key)),
        upload_id_marker: Some(from.id.clone().unwrap_or_default()),
        max_uploads: Some(listing.max),
        is_truncated: Some(next.is_some()),
        uploads: Some(uploads),
        common_prefixes: Some(prefixes),
        delimiter: delimiter(listing),
        encoding_type: encoding_type(listing.encoding),
        next_key_marker: next.map(|next| show(listing.encoding, next.key)),
        next_upload_id_marker: next.and_then(|next| next.id.clone()),
        request_charged: None,
    })
}

fn show_upload(listing: &Listing, upload: &UploadInfo) -> MultipartUpload {
    let name = UploadName::new(upload.id, &upload.attributes);
    let owner = listing.owner.clone();
    MultipartUpload {
        key: Some(show(listing.encoding, &upload.key)),
        upload_id: Some(name.show()),
        initiated: Some(timestamp(upload.initiated_ms)),
        initiator: Some(Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: name.checksum.map(|(algorithm, _)| checksum_algorithm(algorithm)),
        checksum_type: name.checksum.map(|(_, kind)| checksum_type(kind)),
    }
}

/// The listings that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Objects,
    ObjectsV2,
    ObjectsV2Url,
    Versions,
    Uploads,
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Objects, Self::ObjectsV2, Self::ObjectsV2Url, Self::Versions, Self::Uploads];
}

/// A page of each kind of listing, as the engine gives it, to be written in both ways.
#[derive(Debug)]
pub struct Sample {
    listing: Listing,
    objects: ListPage,
    uploads: UploadPage,
}

impl Sample {
    /// Makes pages of so many entries with keys of 40 bytes.
    pub fn new(entries: u32) -> Self {
        let key = |number: u32| format!("archive/2026/11/{number:08}/measurement.bin").into_bytes();
        let time = |number: u32| 1_764_000_000_123 + 61_000 * u64::from(number);
        let object = |number: u32| ListItem::Object {
            key: key(number),
            size_bytes: 4096 + u64::from(number) * 977,
            modified_ms: time(number),
            etag: Etag { md5: (u128::from(number) << 64 | 0xfedc_ba98_7654).to_be_bytes(), parts: 0 },
            class: Default::default(),
        };
        let upload = |number: u32| UploadInfo {
            id: UploadId(u128::from(number)),
            key: key(number),
            initiated_ms: time(number),
            attributes: Vec::new(),
            parts: Vec::new(),
        };
        let bucket = StoredBucket {
            id: BucketId(1),
            name: "measured".to_owned(),
            owner: "8".repeat(64),
            created_ms: 0,
            attributes: Vec::new(),
            versioning: Default::default(),
            lock: None,
            quota: None,
            lifecycle: None,
            config: Vec::new(),
            parsed: Default::default(),
        };
        let listing = Listing {
            owner: Owner { display_name: Some("somebody".to_owned()), id: Some(bucket.owner.clone()) },
            bucket: Rc::new(bucket),
            encoding: Encoding::Plain,
            max: 1000,
            prefix: "archive/".to_owned(),
            delimiter: None,
        };
        let objects =
            ListPage { items: (0..entries).map(object).collect(), truncated: true, next: b"last".to_vec() };
        let uploads = (0..entries).map(|number| UploadItem::Upload(upload(number)));
        Self { listing, objects, uploads: UploadPage { items: uploads.collect(), truncated: true } }
    }

    /// Writes a page with the writer of this server, and returns its length in bytes.
    pub fn write(&mut self, kind: Kind) -> usize {
        self.encode(kind);
        let Self { listing, objects, uploads } = self;
        let (from, next) = markers();
        let written = match kind {
            Kind::Objects => listing.objects("a", None, objects),
            Kind::ObjectsV2 | Kind::ObjectsV2Url => listing.objects_v2(&continuation(), false, objects),
            Kind::Versions => listing.versions(&from, Some(&next), objects.items.iter().map(version)),
            Kind::Uploads => listing.uploads(&from, Some(&next), uploads, &|_| listing.owner.clone()),
        };
        written.text().len()
    }

    /// Writes a page by s3s, and returns its length in bytes.
    pub fn write_by_s3s(&mut self, kind: Kind) -> usize {
        self.encode(kind);
        let Self { listing, objects: page, uploads: upload_page } = self;
        let (from, next) = markers();
        let written = match kind {
            Kind::Objects => objects(listing, "a", None, page),
            Kind::ObjectsV2 | Kind::ObjectsV2Url => objects_v2(listing, &continuation(), false, page),
            Kind::Versions => {
                let entries: Vec<_> = page.items.iter().map(version).collect();
                versions(listing, &from, Some(&next), &entries)
            }
            Kind::Uploads => uploads(listing, &from, Some(&next), upload_page),
        };
        written.len()
    }

    fn encode(&mut self, kind: Kind) {
        self.listing.encoding = if kind == Kind::ObjectsV2Url { Encoding::Url } else { Encoding::Plain };
    }
}

fn markers() -> (Marker<'static>, Marker<'static>) {
    (Marker { key: b"a", id: None }, Marker { key: b"b", id: Some("null".to_owned()) })
}

fn continuation() -> Continuation<'static> {
    Continuation { token: Some("YQ"), start_after: None, next_token: Some("Yg".to_owned()) }
}

fn version(item: &ListItem) -> VersionEntry<'_, &'static str> {
    match item {
        ListItem::Object { key, size_bytes, modified_ms, etag, class } => VersionEntry::Version {
            key,
            version_id: "0123456789abcdef0123456789abcdef",
            is_latest: true,
            is_marker: false,
            size_bytes: *size_bytes,
            modified_ms: *modified_ms,
            etag: *etag,
            class: *class,
        },
        ListItem::CommonPrefix(prefix) => VersionEntry::CommonPrefix(prefix),
    }
}
