//! What a request says, as the conditions of policies ask for it.
//!
//! Invariants:
//! - Nothing is read before a policy asks for it.
//! - The tags of an object are those that are stored. Those that the request brings have keys of
//!   their own.

use super::Server;
use super::access::Caller;
use super::answer_xml::iso_8601;
use super::object_lock::{HOLD, MODE, UNTIL, mode_name, parse_until};
use super::operations::Operation;
use super::tagging::{TAGGING, Tags};
use crate::access::policy::{ConditionKey, Context, Values};
use crate::auth::account_id;
use crate::auth::signature::SignaturePlace;
use crate::unix_time::now_ms;
use http::header::{REFERER, USER_AGENT};
use percent_encoding::percent_decode_str;
use ringbolt_engine::types::rules::DAY_MS;
use ringbolt_engine::types::traits::tags;
use ringbolt_engine::types::{Attributes, Bucket, Retention};
use std::borrow::Cow;
use std::net::IpAddr;

/// What the document of a request says that conditions ask for.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub tags: Option<Vec<(String, String)>>,
    pub retention: Option<Retention>,
    pub hold: Option<bool>,
    pub location: Option<String>,
    /// The source of a copy as it was understood, decoded: `bucket/key`, and `?versionId=…` if the request
    /// names one.
    pub copy_source: Option<String>,
}

/// One of several things that a request is about: an entry of a list, the source of a copy. What the
/// request says elsewhere is not about it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Entry<'a> {
    pub version: Option<&'a str>,
    pub if_match: Option<&'a str>,
}

/// What one request says, beside what is known of the object that it is about.
pub struct Facts<'a> {
    pub server: &'a Server,
    pub caller: &'a Caller,
    pub bucket: Option<&'a Bucket>,
    /// The attributes of the object, if it is there and was looked at.
    pub object: Option<&'a Attributes>,
    /// The prefix of a listing that nobody asked for, which would show what the request asks for.
    pub prefix: Option<&'a str>,
    /// The entry that is judged, if the request has several.
    pub entry: Option<Entry<'a>>,
}

impl<'a> Facts<'a> {
    fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.caller.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()))
    }

    /// Returns a parameter of the query, which was written anew from what was judged.
    fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut pairs = self.caller.uri.query()?.split('&');
        let value = pairs.find_map(|pair| {
            let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
            (known == name).then_some(value)
        })?;
        percent_decode_str(value).decode_utf8().ok()
    }

    /// Returns the tags that the request brings, by header or document.
    fn request_tags(&self) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
        if let Some(said) = &self.caller.said.tags {
            return said.iter().map(|(key, value)| (key.into(), value.into())).collect();
        }
        let header = self.caller.headers.get(TAGGING);
        let Some(header) = header.filter(|_| looks_at(self.caller.operation, TAGGING)) else {
            return Vec::new();
        };
        // A header that is no list of tags is refused later.
        let tags = Tags::of_header(&String::from_utf8_lossy(header.as_bytes())).unwrap_or_default();
        tags.pairs().into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    }

    /// Returns when the retention ends that the request asks for, in Unix milliseconds.
    fn retain_until_ms(&self) -> Option<u64> {
        if let Some(retention) = self.caller.said.retention {
            return Some(retention.until_ms);
        }
        parse_until(&self.given(UNTIL)?)
    }

    fn one(&self, key: &ConditionKey) -> Option<Cow<'a, str>> {
        let caller = self.caller;
        let context = &caller.context;
        match key {
            ConditionKey::CurrentTime => Some(shown_time(now_ms()).into()),
            ConditionKey::EpochTime => Some((now_ms() / 1000).to_string().into()),
            ConditionKey::SourceIp => Some(context.client.address.to_string().into()),
            ConditionKey::SecureTransport => Some(context.client.is_secure.to_string().into()),
            ConditionKey::TlsVersion => context.client.tls_version.map(Cow::Borrowed),
            ConditionKey::Referer => self.header(REFERER.as_str()),
            ConditionKey::UserAgent => self.header(USER_AGENT.as_str()),
            ConditionKey::RequestedRegion => Some(self.server.settings.region.as_str().into()),
            ConditionKey::ResourceAccount | ConditionKey::S3ResourceAccount => {
                Some(account_id(&self.bucket?.owner).into())
            }
            ConditionKey::AuthType => Some(context.signed?.place.name().into()),
            ConditionKey::SignatureVersion => Some(context.signed?.version().into()),
            ConditionKey::SignatureAge => {
                let signed_ms = u64::try_from(context.signed?.at_s?).ok()?.saturating_mul(1000);
                Some(now_ms().saturating_sub(signed_ms).to_string().into())
            }
            ConditionKey::Prefix => self.prefix.map(Cow::Borrowed).or_else(|| self.parameter("prefix")),
            ConditionKey::Delimiter => self.parameter("delimiter"),
            ConditionKey::MaxKeys => self.parameter("max-keys"),
            ConditionKey::VersionId => match self.entry {
                Some(entry) => entry.version.map(Cow::Borrowed),
                None => self.parameter("versionId").filter(|version| !version.is_empty()),
            },
            ConditionKey::IfMatch => match self.entry {
                Some(entry) => entry.if_match.map(Cow::Borrowed),
                None => {
                    let header = caller.lenient.conditions.if_match.as_deref();
                    header.filter(|_| writes_under_conditions(caller.operation)).map(Cow::Borrowed)
                }
            },
            // Of a write only this keeps what is there: with any other value it may replace something.
            ConditionKey::IfNoneMatch => {
                let header = caller.lenient.conditions.if_none_match.as_deref();
                header
                    .filter(|value| *value == "*" && writes_under_conditions(caller.operation))
                    .map(Cow::Borrowed)
            }
            ConditionKey::BucketTag(name) => {
                let tags = Tags::of_bucket(self.bucket?)?.pairs();
                tags.into_iter().find(|(key, _)| **key == **name).map(|(_, value)| value.into())
            }
            // A signature in the query covers no body.
            ConditionKey::XAmzContentSha256 => match (&context.content_sha256, context.signed) {
                (Some(value), _) => Some(String::from_utf8_lossy(value.as_bytes())),
                (None, Some(signed)) if signed.place == SignaturePlace::Query => {
                    Some("UNSIGNED-PAYLOAD".into())
                }
                (None, _) => None,
            },
            ConditionKey::XAmzCopySource => caller.said.copy_source.as_deref().map(Cow::Borrowed),
            ConditionKey::LocationConstraint => caller.said.location.as_deref().map(Cow::Borrowed),
            ConditionKey::ObjectCreationOperation => {
                let creates = matches!(
                    caller.operation,
                    Operation::PutObject
                        | Operation::CopyObject
                        | Operation::CompleteMultipartUpload
                        | Operation::PostObject
                );
                Some(creates.to_string().into())
            }
            ConditionKey::ObjectLockMode => match caller.said.retention {
                Some(retention) => Some(mode_name(retention.mode).into()),
                None => self.given(MODE),
            },
            ConditionKey::ObjectLockRetainUntilDate => Some(shown_time(self.retain_until_ms()?).into()),
            ConditionKey::ObjectLockRemainingRetentionDays => {
                let left_ms = self.retain_until_ms()?.saturating_sub(now_ms());
                Some(left_ms.div_ceil(DAY_MS).to_string().into())
            }
            ConditionKey::ObjectLockLegalHold => match caller.said.hold {
                Some(on) => Some(if on { "ON" } else { "OFF" }.into()),
                None => self.given(HOLD),
            },
            ConditionKey::ExistingObjectTag(name) => {
                let known = tags(self.object?).find(|(key, _)| **key == **name);
                known.map(|(_, value)| value.into())
            }
            ConditionKey::RequestObjectTag(name) => {
                self.request_tags().into_iter().find(|(key, _)| **key == **name).map(|(_, value)| value)
            }
            other => self.given(header_of(other)?),
        }
    }

    /// Returns a header that says what is to be written, if the operation looks at it. What it does not
    /// look at must not meet a condition.
    fn given(&self, name: &str) -> Option<Cow<'a, str>> {
        self.header(name).filter(|_| looks_at(self.caller.operation, name))
    }
}

/// Returns whether an operation writes an object, and may be bound to what is there.
fn writes_under_conditions(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::PutObject
            | Operation::CopyObject
            | Operation::CompleteMultipartUpload
            | Operation::DeleteObject
    )
}

/// Returns whether an operation looks at a header of S3 that policies may ask for.
fn looks_at(operation: Operation, header: &str) -> bool {
    let gives_object = matches!(
        operation,
        Operation::PutObject
            | Operation::CopyObject
            | Operation::CreateMultipartUpload
            | Operation::PostObject
    );
    match header {
        "x-amz-acl"
        | "x-amz-grant-full-control"
        | "x-amz-grant-read"
        | "x-amz-grant-read-acp"
        | "x-amz-grant-write"
        | "x-amz-grant-write-acp" => {
            let of_acl = [Operation::CreateBucket, Operation::PutBucketAcl, Operation::PutObjectAcl];
            gives_object || of_acl.contains(&operation)
        }
        "x-amz-object-ownership" => operation == Operation::CreateBucket,
        "x-amz-metadata-directive" => operation == Operation::CopyObject,
        _ => gives_object,
    }
}

impl Context for Facts<'_> {
    fn values(&self, key: &ConditionKey) -> Values<'_> {
        if *key == ConditionKey::RequestObjectTagKeys {
            let keys: Vec<_> = self.request_tags().into_iter().map(|(key, _)| key).collect();
            return if keys.is_empty() { Values::Absent } else { Values::Many(keys) };
        }
        self.one(key).map_or(Values::Absent, Values::One)
    }

    fn moment(&self, key: &ConditionKey) -> Option<i64> {
        match key {
            ConditionKey::CurrentTime | ConditionKey::EpochTime => i64::try_from(now_ms()).ok(),
            _ => None,
        }
    }

    fn address(&self, key: &ConditionKey) -> Option<IpAddr> {
        (*key == ConditionKey::SourceIp).then_some(self.caller.context.client.address)
    }
}

/// Returns the header that a key of S3 is about.
fn header_of(key: &ConditionKey) -> Option<&'static str> {
    Some(match key {
        ConditionKey::XAmzAcl => "x-amz-acl",
        ConditionKey::XAmzGrantFullControl => "x-amz-grant-full-control",
        ConditionKey::XAmzGrantRead => "x-amz-grant-read",
        ConditionKey::XAmzGrantReadAcp => "x-amz-grant-read-acp",
        ConditionKey::XAmzGrantWrite => "x-amz-grant-write",
        ConditionKey::XAmzGrantWriteAcp => "x-amz-grant-write-acp",
        ConditionKey::XAmzMetadataDirective => "x-amz-metadata-directive",
        ConditionKey::XAmzObjectOwnership => "x-amz-object-ownership",
        ConditionKey::XAmzServerSideEncryption => "x-amz-server-side-encryption",
        ConditionKey::XAmzServerSideEncryptionAwsKmsKeyId => "x-amz-server-side-encryption-aws-kms-key-id",
        ConditionKey::XAmzServerSideEncryptionCustomerAlgorithm => {
            "x-amz-server-side-encryption-customer-algorithm"
        }
        ConditionKey::XAmzStorageClass => "x-amz-storage-class",
        ConditionKey::XAmzWebsiteRedirectLocation => "x-amz-website-redirect-location",
        _ => return None,
    })
}

fn shown_time(unix_ms: u64) -> String {
    String::from_utf8_lossy(&iso_8601(unix_ms)).into_owned()
}
