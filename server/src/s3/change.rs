//! A change of what is known of a version, whose data stay where they are: its tags, its retention,
//! its legal hold.
//!
//! Invariants:
//! - A change is made to the attributes that the version has at that moment: if another change comes
//!   between, this one is made again to what that left.
//! - Nothing of a delete marker can be changed or asked: 405.

use super::Server;
use super::access::Caller;
use super::error::EngineResult;
use super::judge::OnKey;
use ringbolt_engine::EngineError;
use ringbolt_engine::types::{Attributes, Bucket, MetadataChange, ObjectInfo, Versioning, WriteCondition};
use s3s::{S3Error, S3Result, s3_error};

/// How often a change is tried that others overtake.
const TRIES: usize = 16;

/// Makes the error for an operation that no delete marker takes: 405.
fn marker_has_none() -> S3Error {
    s3_error!(
        MethodNotAllowed,
        "The specified method is not allowed against this resource: it is a delete marker."
    )
}

impl Server {
    /// Returns what is known of the version that a request names, and how answers show it where the
    /// bucket keeps versions. Fails with 405 for a delete marker, named or not, and with 403 if the
    /// caller may not do with it what its operation does.
    pub async fn find_version(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        (key, version): (&str, Option<&str>),
    ) -> S3Result<(ObjectInfo, Option<String>)> {
        let on = OnKey::new(key, version);
        let found = self.find_object(caller, caller.action_on(on), bucket, on).await;
        let info = found.map_err(|error| if is_of_marker(&error) { marker_has_none() } else { error })?;
        let shown = (bucket.versioning != Versioning::Off)
            .then(|| self.show_version(bucket, key.as_bytes(), info.generation, info.is_null));
        Ok((info, shown))
    }
}

/// Returns whether an error is that for a delete marker: its headers say so.
fn is_of_marker(error: &S3Error) -> bool {
    error.headers().is_some_and(|headers| headers.contains_key(super::version::DELETE_MARKER))
}

/// Changes the attributes of the version that a request names, durable before the answer. Returns
/// how answers show it. Fails if `change` does, or if the version is locked against the change, or if the
/// caller may not change it as it is at that moment.
pub async fn change_attributes(
    (server, caller): (&Server, &Caller),
    bucket: &Bucket,
    (key, version): (&str, Option<&str>),
    bypass_governance: bool,
    mut change: impl FnMut(&mut Attributes) -> S3Result<()>,
) -> S3Result<Option<String>> {
    let mut tries = 0;
    loop {
        let (info, shown) = server.find_version(caller, bucket, (key, version)).await?;
        let mut attributes = info.attributes.clone();
        change(&mut attributes)?;
        if attributes == info.attributes {
            return Ok(shown);
        }
        let request = MetadataChange {
            generation: info.generation,
            if_changed: Some(info.metadata_change),
            attributes,
            touches: false,
            bypass_governance,
            unless_versioned: false,
        };
        let changed =
            server.core.update_metadata(bucket.id, key.as_bytes(), request, WriteCondition::default()).await;
        tries += 1;
        match changed {
            Err(EngineError::Superseded) if tries < TRIES => {}
            Err(error) => return Err(error).s3(),
            Ok(_) => return Ok(shown),
        }
    }
}
