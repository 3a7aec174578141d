//! What a request gives its object beside its content and metadata: storage class, tags, lock.
//!
//! Invariants:
//! - All of it is judged before the object's bytes are taken.
//! - A storage class is stored and shown, and stored alike. Those that promise another behaviour, such
//!   as waiting for a restore, are refused.

use super::Server;
use super::access::Caller;
use super::object_lock::lock_by_headers;
use super::tagging::{TAGGING, Tags};
use http::HeaderMap;
use ringbolt_engine::types::{Attributes, Bucket, StorageClass};
use s3s::{S3Result, s3_error};

const STORAGE_CLASS: &str = "x-amz-storage-class";

/// The storage classes that a server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StorageClasses {
    /// Those of S3 whose objects can be read at once.
    #[default]
    All,
    /// STANDARD alone.
    Standard,
}

impl StorageClasses {
    /// Returns the class of this name. Fails with InvalidStorageClass if this server does not take
    /// it.
    pub fn class_of(self, name: &str) -> S3Result<StorageClass> {
        let class = StorageClass::from_name(name);
        let taken = class.filter(|class| self == Self::All || *class == StorageClass::Standard);
        taken.ok_or_else(|| {
            let names = match self {
                Self::All => StorageClass::ALL.map(StorageClass::name).join(", "),
                Self::Standard => StorageClass::Standard.name().to_owned(),
            };
            s3_error!(
                InvalidStorageClass,
                "The storage class you specified is not valid; this server takes {names}"
            )
        })
    }
}

/// Writes the storage class that the headers of a request name among the attributes.
pub fn class_by_headers(
    headers: &HeaderMap,
    classes: StorageClasses,
    attributes: &mut Attributes,
) -> S3Result<()> {
    if let Some(name) = headers.get(STORAGE_CLASS).filter(|name| !name.is_empty()) {
        classes.class_of(&String::from_utf8_lossy(name.as_bytes()))?.write(attributes);
    }
    Ok(())
}

/// Writes the tags that the headers of a request name among the attributes.
pub fn tags_by_headers(headers: &HeaderMap, attributes: &mut Attributes) -> S3Result<()> {
    if let Some(text) = headers.get(TAGGING) {
        Tags::of_header(&String::from_utf8_lossy(text.as_bytes()))?.write(attributes);
    }
    Ok(())
}

impl Server {
    /// Writes all that a request gives its object among the attributes, its owner and its list too.
    /// Fails if the caller may not give it.
    pub fn give(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        key: &str,
        attributes: &mut Attributes,
    ) -> S3Result<()> {
        self.allow_given(caller, bucket, key)?;
        class_by_headers(&caller.headers, self.settings.storage_classes, attributes)?;
        tags_by_headers(&caller.headers, attributes)?;
        lock_by_headers(&caller.headers, bucket, attributes)?;
        self.own_and_share(caller, bucket, key, attributes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_promise_another_behaviour_are_refused() {
        assert_eq!(StorageClasses::All.class_of("STANDARD_IA").ok(), Some(StorageClass::StandardIa));
        for name in ["GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "SNOW", "standard", ""] {
            let error = StorageClasses::All.class_of(name).expect_err(name);
            assert_eq!(error.code().as_str(), "InvalidStorageClass");
        }
        assert!(StorageClasses::Standard.class_of("STANDARD").is_ok());
        assert!(StorageClasses::Standard.class_of("STANDARD_IA").is_err());
    }

    #[test]
    fn headers_become_attributes() {
        let mut headers = HeaderMap::new();
        headers.insert(STORAGE_CLASS, http::HeaderValue::from_static("ONEZONE_IA"));
        headers.insert(TAGGING, http::HeaderValue::from_static("b=2&a=1"));
        let mut attributes = Attributes::new();
        class_by_headers(&headers, StorageClasses::All, &mut attributes).unwrap();
        tags_by_headers(&headers, &mut attributes).unwrap();
        assert_eq!(StorageClass::of(&attributes), StorageClass::OneZoneIa);
        let tags: Vec<_> = ringbolt_engine::types::traits::tags(&attributes).collect();
        assert_eq!(tags, [("a", "1"), ("b", "2")]);
    }
}
