//! The versions of objects, as requests name them and as answers show them.
//!
//! Invariants:
//! - A version is shown as `null`, or by an id that this server made for that key. An id of another
//!   key, or of another server, is that of a version that does not exist.
//! - In a bucket that has never kept versions, no answer names one.

use super::Server;
use super::access::Caller;
use super::error::{EngineResult, invalid_argument};
use super::judge::OnKey;
use super::object::no_such_key;
use crate::access::Action;
use http::header::{ALLOW, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED};
use ringbolt_engine::node::{ObjectReader, Opened};
use ringbolt_engine::types::{Bucket, Marker, ObjectInfo, Version, VersionId, Versioning};
use s3s::{S3Error, S3Result, s3_error};

/// The header that names the version of an answer.
pub const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
/// The header that says that a version is a delete marker.
pub const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
/// How answers show the null version.
pub const NULL_VERSION: &str = "null";

/// The version that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    Version(Version),
    /// The id is well-formed, but no version of this key ever had it.
    Foreign,
}

/// Makes the error for a version that does not exist: 404.
pub fn no_such_version() -> S3Error {
    s3_error!(NoSuchVersion, "The specified version does not exist.")
}

impl Server {
    /// Returns the version that a request names. Fails if the text is no id of a version at all.
    pub fn named_version(&self, bucket: &Bucket, key: &str, text: Option<&str>) -> S3Result<Named> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Named::Version(Version::Newest));
        };
        if text == NULL_VERSION {
            return Ok(Named::Version(Version::Null));
        }
        let Some(id) = VersionId::parse(text) else {
            return Err(invalid_argument("Invalid version id specified"));
        };
        let version = self.core.version_of_id(bucket.id, key.as_bytes(), id);
        Ok(version.map_or(Named::Foreign, Named::Version))
    }

    /// Returns how answers show a version.
    pub fn show_version(&self, bucket: &Bucket, key: &[u8], generation: u64, is_null: bool) -> String {
        match is_null {
            true => NULL_VERSION.to_owned(),
            false => self.core.id_of_version(bucket.id, key, generation).to_string(),
        }
    }

    /// Returns how answers to writes show a version that was written: the null version is not named.
    pub fn show_written(&self, bucket: &Bucket, key: &str, info: &ObjectInfo) -> Option<String> {
        (!info.is_null).then(|| self.show_version(bucket, key.as_bytes(), info.generation, false))
    }

    /// Adds the id of the version that an answer is about, where the bucket keeps versions.
    pub fn add_version(
        &self,
        headers: &mut HeaderMap,
        bucket: &Bucket,
        key: &str,
        (generation, is_null): (u64, bool),
    ) {
        if bucket.versioning == Versioning::Off {
            return;
        }
        let shown = self.show_version(bucket, key.as_bytes(), generation, is_null);
        if let Ok(value) = HeaderValue::try_from(shown) {
            headers.insert(VERSION_ID, value);
        }
    }

    /// Opens the version that a request names, for an action for which its bucket was found. Fails if
    /// there is no such object, or if the caller may not do this with it.
    pub async fn open_object(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> S3Result<ObjectReader> {
        let absent = match self.named_version(bucket, on.key, on.version)? {
            Named::Foreign => no_such_version(),
            Named::Version(version) => {
                match self.core.open_version(bucket.id, on.key.as_bytes(), version).await.s3()? {
                    Opened::Object(reader) => {
                        self.allow_opened(caller, action, bucket, (on, reader.info()))?;
                        return Ok(reader);
                    }
                    Opened::Marker(marker) => self.is_marker(bucket, on.key, version, marker),
                    Opened::Absent if version == Version::Newest => no_such_key(),
                    Opened::Absent => no_such_version(),
                }
            }
        };
        Err(self.refused_absent(caller, action, bucket, on).unwrap_or(absent))
    }

    /// Does the same as [`Self::find_object`], with the parts also of an object that has very many.
    pub async fn find_object_and_parts(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> S3Result<ObjectInfo> {
        let mut reader = self.open_object(caller, action, bucket, on).await?;
        reader.load_parts().await.s3()?;
        Ok(reader.info().clone())
    }

    /// Returns what is known of the version that a request names, as [`Self::open_object`] finds it.
    /// The parts are not among it if there are very many.
    pub async fn find_object(
        &self,
        caller: &Caller,
        action: Action,
        bucket: &Bucket,
        on: OnKey<'_>,
    ) -> S3Result<ObjectInfo> {
        Ok(self.open_object(caller, action, bucket, on).await?.info().clone())
    }

    /// Makes the error for a delete marker: 404 where it is the newest version of a key, and 405
    /// where the request named it.
    fn is_marker(&self, bucket: &Bucket, key: &str, version: Version, marker: Marker) -> S3Error {
        let mut headers = HeaderMap::new();
        headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
        self.add_version(&mut headers, bucket, key, (marker.generation, marker.is_null));
        let mut error = if version == Version::Newest {
            no_such_key()
        } else {
            headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
            if let Some(date) = super::headers::http_date(marker.modified_ms) {
                headers.insert(LAST_MODIFIED, date);
            }
            s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.")
        };
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        error.set_headers(headers);
        error
    }
}
