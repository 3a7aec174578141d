//! The documents of listings, written from a page of the engine straight into one text.
//!
//! A page of 1,000 is the longest XML that is often asked for. Nothing is made for an entry but its
//! part of the text; docs/bench.md says what that saves.
//!
//! Invariants:
//! - Entries stand in the order of the page, and all common prefixes behind them.
//! - Elements, their order and their values are those of s3s, which a test compares. Only the
//!   common prefixes and delete markers of versions and uploads stand where S3 has them, and not at
//!   the front.

use super::answer_xml::XmlAnswer;
use super::judge::owner_of;
use super::multipart::UploadName;
use crate::host::url_pieces;
use crate::xml::XmlWriter;
use ringbolt_engine::types::{
    Bucket, Etag, ListItem, ListPage, StorageClass, UploadInfo, UploadItem, UploadPage,
};
use s3s::dto::Owner;
use std::fmt::Display;
use std::rc::Rc;

/// What an object takes in a document, without its name and owner: the elements, and the longest
/// numbers.
const OBJECT_BYTES: usize = 224;
/// The same of a version.
const VERSION_BYTES: usize = 304;
/// The same of an upload, whose checksum has a name.
const UPLOAD_BYTES: usize = 400;
/// What a document takes behind its entries, without names.
const TAIL_BYTES: usize = 256;

/// How names appear in an answer.
#[derive(Clone, Copy, Debug)]
pub enum Encoding {
    /// As they are, with references for what XML does not hold.
    Plain,
    /// With percent signs, as `encoding-type=url` asks for.
    Url,
}

/// A listing whose request was found to be sound: what all of them share.
#[derive(Debug)]
pub struct Listing {
    pub bucket: Rc<Bucket>,
    pub owner: Owner,
    pub encoding: Encoding,
    /// The most items of the page.
    pub max: i32,
    pub prefix: String,
    /// What groups keys into common prefixes, if anything does. It is not empty.
    pub delimiter: Option<String>,
}

/// A place between the items of a listing that has several items of one key: versions or uploads.
#[derive(Debug)]
pub struct Marker<'a> {
    pub key: &'a [u8],
    /// The version or upload of that key behind which the place is, if it is not behind them all.
    pub id: Option<String>,
}

/// Where a page of ListObjectsV2 begins, as the request said it, and where the next one begins.
#[derive(Debug)]
pub struct Continuation<'a> {
    pub token: Option<&'a str>,
    pub start_after: Option<&'a str>,
    pub next_token: Option<String>,
}

/// One entry of a listing of versions. `V` shows the version's id as clients know it.
#[derive(Clone, Debug)]
pub enum VersionEntry<'a, V> {
    Version {
        key: &'a [u8],
        version_id: V,
        is_latest: bool,
        /// The version is a delete marker, which has neither size nor ETag.
        is_marker: bool,
        size_bytes: u64,
        modified_ms: u64,
        etag: Etag,
        class: StorageClass,
    },
    CommonPrefix(&'a [u8]),
}

impl Listing {
    /// Writes the answer of ListObjects, version 1.
    pub fn objects(&self, marker: &str, next_marker: Option<&[u8]>, page: &ListPage) -> XmlAnswer {
        XmlAnswer::document("ListBucketResult", |result| {
            result.text("Name", &self.bucket.name);
            self.name(result, "Prefix", self.prefix.as_bytes());
            self.name(result, "Marker", marker.as_bytes());
            result.text("MaxKeys", self.max);
            result.text("IsTruncated", page.truncated);
            self.items(result, &page.items, &self.owner());
            self.delimiter(result);
            self.optional_name(result, "NextMarker", next_marker);
            self.encoding_type(result);
        })
    }

    /// Writes the answer of ListObjectsV2.
    pub fn objects_v2(&self, place: &Continuation<'_>, shows_owner: bool, page: &ListPage) -> XmlAnswer {
        XmlAnswer::document("ListBucketResult", |result| {
            result.text("Name", &self.bucket.name);
            self.name(result, "Prefix", self.prefix.as_bytes());
            result.text("MaxKeys", self.max);
            result.text("KeyCount", page.items.len());
            result.optional("ContinuationToken", place.token);
            result.text("IsTruncated", page.truncated);
            result.optional("NextContinuationToken", place.next_token.as_ref());
            let owner = if shows_owner { self.owner() } else { String::new() };
            self.items(result, &page.items, &owner);
            self.delimiter(result);
            self.encoding_type(result);
            self.optional_name(result, "StartAfter", place.start_after.map(str::as_bytes));
        })
    }

    /// Writes the answer of ListObjectVersions. `next` is where the next page begins, if there is
    /// one.
    pub fn versions<'a, V: Display>(
        &self,
        from: &Marker<'_>,
        next: Option<&Marker<'_>>,
        entries: impl Iterator<Item = VersionEntry<'a, V>> + Clone,
    ) -> XmlAnswer {
        XmlAnswer::document("ListVersionsResult", |result| {
            self.delimiter(result);
            self.encoding_type(result);
            result.text("IsTruncated", next.is_some());
            self.name(result, "KeyMarker", from.key);
            result.text("MaxKeys", self.max);
            result.text("Name", &self.bucket.name);
            self.next(result, next, "NextVersionIdMarker");
            self.name(result, "Prefix", self.prefix.as_bytes());
            result.optional("VersionIdMarker", from.id.as_ref());
            let owner = self.owner();
            let names = entries.clone().map(|entry| match entry {
                VersionEntry::Version { key, .. } | VersionEntry::CommonPrefix(key) => key,
            });
            reserve(result, names, VERSION_BYTES + owner.len());
            for entry in entries.clone() {
                self.version(result, &owner, entry);
            }
            self.prefixes(
                result,
                entries.filter_map(|entry| match entry {
                    VersionEntry::CommonPrefix(prefix) => Some(prefix),
                    VersionEntry::Version { .. } => None,
                }),
            );
        })
    }

    /// Writes the answer of ListMultipartUploads. `next` is where the next page begins, if there is
    /// one; `others` shows an owner that is not the bucket's by its id.
    pub fn uploads(
        &self,
        from: &Marker<'_>,
        next: Option<&Marker<'_>>,
        page: &UploadPage,
        others: &dyn Fn(&str) -> Owner,
    ) -> XmlAnswer {
        XmlAnswer::document("ListMultipartUploadsResult", |result| {
            result.text("Bucket", &self.bucket.name);
            self.delimiter(result);
            self.encoding_type(result);
            result.text("IsTruncated", next.is_some());
            self.name(result, "KeyMarker", from.key);
            result.text("MaxUploads", self.max);
            self.next(result, next, "NextUploadIdMarker");
            self.name(result, "Prefix", self.prefix.as_bytes());
            result.text("UploadIdMarker", from.id.as_deref().unwrap_or_default());
            let (initiator, owner) = (account("Initiator", &self.owner), self.owner());
            let names = page.items.iter().map(|item| match item {
                UploadItem::Upload(upload) => upload.key.as_slice(),
                UploadItem::CommonPrefix(prefix) => prefix,
            });
            reserve(result, names, UPLOAD_BYTES + initiator.len() + owner.len());
            for item in &page.items {
                if let UploadItem::Upload(upload) = item {
                    self.upload(result, (&initiator, &owner), upload, others);
                }
            }
            self.prefixes(
                result,
                page.items.iter().filter_map(|item| match item {
                    UploadItem::CommonPrefix(prefix) => Some(prefix.as_slice()),
                    UploadItem::Upload(_) => None,
                }),
            );
        })
    }

    /// Writes the objects and the common prefixes of a page. `owner` is what each object says of
    /// its owner.
    fn items(&self, result: &mut XmlWriter, items: &[ListItem], owner: &str) {
        reserve(result, items.iter().map(ListItem::name), OBJECT_BYTES + owner.len());
        for item in items {
            let ListItem::Object { key, size_bytes, modified_ms, etag, class } = item else { continue };
            result.raw("<Contents>");
            result.etag(*etag);
            self.name(result, "Key", key);
            result.time("LastModified", *modified_ms);
            result.raw(owner);
            result.raw("<Size>");
            result.plain(size_bytes);
            result.raw("</Size><StorageClass>");
            result.raw(class.name());
            result.raw("</StorageClass></Contents>");
        }
        self.prefixes(
            result,
            items.iter().filter_map(|item| match item {
                ListItem::CommonPrefix(prefix) => Some(prefix.as_slice()),
                ListItem::Object { .. } => None,
            }),
        );
    }

    /// Writes a version or a delete marker. Common prefixes are written behind them all.
    fn version<V: Display>(&self, result: &mut XmlWriter, owner: &str, entry: VersionEntry<'_, V>) {
        let VersionEntry::Version {
            key,
            version_id,
            is_latest,
            is_marker,
            size_bytes,
            modified_ms,
            etag,
            class,
        } = entry
        else {
            return;
        };
        if is_marker {
            result.raw("<DeleteMarker>");
        } else {
            result.raw("<Version>");
            result.etag(etag);
        }
        result.raw(if is_latest { "<IsLatest>true</IsLatest>" } else { "<IsLatest>false</IsLatest>" });
        self.name(result, "Key", key);
        result.time("LastModified", modified_ms);
        result.raw(owner);
        if !is_marker {
            result.raw("<Size>");
            result.plain(size_bytes);
            result.raw("</Size><StorageClass>");
            result.raw(class.name());
            result.raw("</StorageClass>");
        }
        result.raw("<VersionId>");
        result.plain(version_id);
        result.raw(if is_marker { "</VersionId></DeleteMarker>" } else { "</VersionId></Version>" });
    }

    fn upload(
        &self,
        result: &mut XmlWriter,
        (initiator, owner): (&str, &str),
        upload: &UploadInfo,
        others: &dyn Fn(&str) -> Owner,
    ) {
        let other = owner_of(&upload.attributes).map(others);
        let shown = |role| other.as_ref().map(|owner| account(role, owner));
        let (other_initiator, other_owner) = (shown("Initiator"), shown("Owner"));
        let initiator = other_initiator.as_deref().unwrap_or(initiator);
        let owner = other_owner.as_deref().unwrap_or(owner);
        let name = UploadName::new(upload.id, &upload.attributes);
        result.element("Upload", |result| {
            result.optional("ChecksumAlgorithm", name.checksum.map(|(algorithm, _)| algorithm.name()));
            result.optional("ChecksumType", name.checksum.map(|(_, kind)| kind.name()));
            result.time("Initiated", upload.initiated_ms);
            result.raw(initiator);
            self.name(result, "Key", &upload.key);
            result.raw(owner);
            result.text("StorageClass", StorageClass::of(&upload.attributes).name());
            result.text("UploadId", name.show());
        });
    }

    fn prefixes<'a>(&self, result: &mut XmlWriter, prefixes: impl Iterator<Item = &'a [u8]>) {
        for prefix in prefixes {
            result.element("CommonPrefixes", |result| self.name(result, "Prefix", prefix));
        }
    }

    /// Writes a key, a prefix or a delimiter as the request wants names to appear.
    fn name(&self, result: &mut XmlWriter, element: &str, name: &[u8]) {
        result.element(element, |result| match (self.encoding, std::str::from_utf8(name)) {
            (Encoding::Plain, Ok(name)) => result.escaped(name),
            (Encoding::Plain, Err(_)) => result.escaped(&String::from_utf8_lossy(name)),
            // Percent-encoded names have no markup.
            (Encoding::Url, _) => url_pieces(name).for_each(|piece| result.raw(piece)),
        });
    }

    fn optional_name(&self, result: &mut XmlWriter, element: &str, name: Option<&[u8]>) {
        if let Some(name) = name {
            self.name(result, element, name);
        }
    }

    fn next(&self, result: &mut XmlWriter, next: Option<&Marker<'_>>, id_element: &str) {
        self.optional_name(result, "NextKeyMarker", next.map(|next| next.key));
        result.optional(id_element, next.and_then(|next| next.id.as_ref()));
    }

    fn delimiter(&self, result: &mut XmlWriter) {
        self.optional_name(result, "Delimiter", self.delimiter.as_deref().map(str::as_bytes));
    }

    fn encoding_type(&self, result: &mut XmlWriter) {
        if matches!(self.encoding, Encoding::Url) {
            result.text("EncodingType", "url");
        }
    }

    fn owner(&self) -> String {
        account("Owner", &self.owner)
    }
}

/// Returns the element that names an owner as `role`. It is written once for all entries.
fn account(role: &str, owner: &Owner) -> String {
    XmlWriter::fragment(|fragment| {
        fragment.element(role, |who| {
            who.optional("DisplayName", owner.display_name.as_ref());
            who.optional("ID", owner.id.as_ref());
        });
    })
}

/// Makes room for entries of these names, each of which takes `entry_bytes` beside its name. Names
/// with much to escape outgrow it.
fn reserve<'a>(result: &mut XmlWriter, names: impl Iterator<Item = &'a [u8]>, entry_bytes: usize) {
    let entries: usize = names.map(|name| name.len() + entry_bytes).sum();
    result.reserve(entries + TAIL_BYTES);
}

#[cfg(test)]
mod tests;
