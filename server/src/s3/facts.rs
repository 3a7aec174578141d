//! What a request says, as the conditions of policies ask for it.
//!
//! Invariants:
//! - Nothing is read before a policy asks for it.
//! - The tags of an object are those that are stored. Those that the request brings have keys of
//!   their own.

use super::Server;
use super::access::Caller;
use super::answer_xml::iso_8601;
use super::operations::Operation;
use crate::access::policy::{ConditionKey, Context, Values};
use crate::auth::account_id;
use http::header::{REFERER, USER_AGENT};
use percent_encoding::percent_decode_str;
use ringbolt_engine::types::rules::DAY_MS;
use ringbolt_engine::types::traits::tags;
use ringbolt_engine::types::{Attributes, Bucket, Retention, RetentionMode};
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the document of a request says that conditions ask for.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub tags: Option<Vec<(String, String)>>,
    pub retention: Option<Retention>,
    pub hold: Option<bool>,
    pub location: Option<String>,
    pub canned_acl: Option<String>,
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
        let Some(header) = self.caller.headers.get(super::tagging::TAGGING) else { return Vec::new() };
        let decoded = |text: &str| {
            let spaced = text.replace('+', " ");
            Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
        };
        let text = String::from_utf8_lossy(header.as_bytes());
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decoded(key), decoded(value))
            })
            .collect()
    }

    /// Returns when the retention ends that the request asks for, in Unix milliseconds.
    fn retain_until_ms(&self) -> Option<u64> {
        if let Some(retention) = self.caller.said.retention {
            return Some(retention.until_ms);
        }
        super::object_lock::parse_until(&self.header(super::object_lock::UNTIL)?)
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
            ConditionKey::VersionId => match &caller.listed_version {
                Some(version) => Some(version.clone().into()),
                None => self.parameter("versionId"),
            },
            ConditionKey::IfMatch => caller.lenient.conditions.if_match.as_deref().map(Cow::Borrowed),
            ConditionKey::IfNoneMatch => {
                caller.lenient.conditions.if_none_match.as_deref().map(Cow::Borrowed)
            }
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
                None => self.header("x-amz-object-lock-mode"),
            },
            ConditionKey::ObjectLockRetainUntilDate => Some(shown_time(self.retain_until_ms()?).into()),
            ConditionKey::ObjectLockRemainingRetentionDays => {
                let left_ms = self.retain_until_ms()?.saturating_sub(now_ms());
                Some(left_ms.div_ceil(DAY_MS).to_string().into())
            }
            ConditionKey::ObjectLockLegalHold => match caller.said.hold {
                Some(on) => Some(if on { "ON" } else { "OFF" }.into()),
                None => self.header("x-amz-object-lock-legal-hold"),
            },
            ConditionKey::ExistingObjectTag(name) => {
                let known = tags(self.object?).find(|(key, _)| **key == **name);
                known.map(|(_, value)| value.into())
            }
            ConditionKey::RequestObjectTag(name) => {
                self.request_tags().into_iter().find(|(key, _)| **key == **name).map(|(_, value)| value)
            }
            ConditionKey::XAmzAcl => {
                caller.said.canned_acl.as_deref().map(Cow::Borrowed).or_else(|| self.header("x-amz-acl"))
            }
            other => self.header(header_of(other)?),
        }
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
}

/// Returns the header that a key of S3 is about.
fn header_of(key: &ConditionKey) -> Option<&'static str> {
    Some(match key {
        ConditionKey::XAmzContentSha256 => "x-amz-content-sha256",
        ConditionKey::XAmzCopySource => "x-amz-copy-source",
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

fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    }
}

fn shown_time(unix_ms: u64) -> String {
    String::from_utf8_lossy(&iso_8601(unix_ms)).into_owned()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
