//! The operations on buckets: create, delete, head, location, list.
//!
//! Invariant: a bucket belongs to the account that made it, by canonical id.

use super::Server;
use super::access::{Caller, refuse_unsupported};
use super::acl::{GivenAcl, acl_with_ownership};
use super::error::{EngineResult, invalid_argument, not_implemented};
use super::naming::{token, token_name};
use super::tagging::TagDocument;
use super::timestamp::timestamp;
use super::xml_reader::{XmlReader, malformed, unknown};
use crate::access::Action;
use crate::access::acl::Acl;
use crate::access::ownership::Ownership;
use ringbolt_engine::types::{Attributes, Bucket as StoredBucket, BucketCreated, ConfigKind};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};
use std::rc::Rc;

const LOCATION: &str = "location-constraint";
const DEFAULT_REGION: &str = "us-east-1";
const BUCKETS_MAX: usize = 10_000;

/// Answers CreateBucket.
pub async fn create_bucket(
    server: &Server,
    mut request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let mut caller = Caller::take(&mut request);
    let configuration = request.extensions.remove::<BucketConfiguration>().unwrap_or_default();
    caller.said.location = configuration.location_constraint.clone();
    let input = request.input;
    server.allow_on_service(&caller, caller.action(false), &input.bucket)?;
    refuse_unsupported(&caller.headers)?;
    let gives = |name: &str| caller.headers.keys().any(|header| header.as_str().starts_with(name));
    for (given, action) in [
        (gives("x-amz-acl") || gives("x-amz-grant-"), Action::PutBucketAcl),
        (input.object_ownership.is_some(), Action::PutBucketOwnershipControls),
        (input.object_lock_enabled_for_bucket == Some(true), Action::PutBucketObjectLockConfiguration),
        (configuration.tags.is_some(), Action::PutBucketTagging),
    ] {
        if given {
            server.allow_on_service(&caller, action, &input.bucket)?;
        }
    }
    let owner = caller.account()?.canonical_id.clone();
    let attributes = location_attributes(&configuration, &server.settings.region)?;
    let locked = input.object_lock_enabled_for_bucket.unwrap_or(false);
    let mut config = access_of_new(server, &caller, &owner, input.object_ownership.as_ref())?;
    if let Some(tags) = configuration.tags.map(TagDocument::of_bucket).transpose()? {
        config.push((ConfigKind::TAGS, tags.encode()));
    }
    match server.core.create_bucket_with(&input.bucket, &owner, attributes, locked, config).await.s3()? {
        BucketCreated::New(_) => {}
        // As in us-east-1: making one's own bucket again changes nothing and succeeds.
        BucketCreated::Exists(bucket) if bucket.owner == owner => {
            if server.settings.region != DEFAULT_REGION {
                return Err(s3_error!(
                    BucketAlreadyOwnedByYou,
                    "Your previous request to create the named bucket succeeded and you already own it."
                ));
            }
        }
        BucketCreated::Exists(_) => {
            return Err(s3_error!(BucketAlreadyExists, "The requested bucket name is not available."));
        }
    }
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", input.bucket)) }))
}

/// Returns the configuration that says who owns what is written into a new bucket, and its list.
/// Fails if they exclude each other.
fn access_of_new(
    server: &Server,
    caller: &Caller,
    owner: &str,
    asked: Option<&ObjectOwnership>,
) -> S3Result<Vec<(ConfigKind, Vec<u8>)>> {
    let asked = asked.map(|asked| {
        let known = Ownership::from_name(asked.as_str());
        known.ok_or_else(|| invalid_argument("Invalid x-amz-object-ownership header"))
    });
    let asked = asked.transpose()?;
    let ownership = asked.unwrap_or(server.settings.object_ownership);
    let mut config = Vec::new();
    if asked.is_some() || !ownership.has_lists() {
        config.push((ConfigKind::OWNERSHIP, ownership.name().as_bytes().to_vec()));
    }
    if let Some(list) = GivenAcl::of_headers(server, &caller.headers)? {
        let acl = list.list(owner, owner)?;
        if acl != Acl::private(owner) {
            if !ownership.has_lists() {
                return Err(acl_with_ownership());
            }
            config.push((ConfigKind::ACL, acl.to_string().into_bytes()));
        }
    }
    Ok(config)
}

/// The document of a CreateBucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketConfiguration {
    location_constraint: Option<String>,
    tags: Option<TagDocument>,
    /// What the document asks for that no bucket of this server has.
    unsupported: Option<&'static str>,
}

impl BucketConfiguration {
    /// Reads the document. Fails if it is malformed or has an unknown element.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("CreateBucketConfiguration")?;
        let mut configuration = Self::default();
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "LocationConstraint" => {
                    let text = reader.text()?.trim().to_owned();
                    if configuration.location_constraint.replace(text).is_some() {
                        return Err(malformed("there is more than one LocationConstraint"));
                    }
                }
                "Bucket" | "Location" => {
                    reader.skip()?;
                    configuration.unsupported = Some("A directory bucket");
                }
                "Tags" if configuration.tags.is_none() => {
                    configuration.tags = Some(TagDocument::of_new_bucket(&mut reader)?);
                }
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        Ok(configuration)
    }
}

fn location_attributes(configuration: &BucketConfiguration, region: &str) -> S3Result<Attributes> {
    if let Some(what) = configuration.unsupported {
        return Err(not_implemented(what));
    }
    match configuration.location_constraint.as_deref() {
        None | Some("") => Ok(Vec::new()),
        Some(constraint) if constraint == region => Ok(vec![(LOCATION.to_owned(), constraint.to_owned())]),
        Some(_) => Err(s3_error!(
            InvalidLocationConstraint,
            "The specified location constraint is not valid: this server's region is {region}"
        )),
    }
}

/// Answers DeleteBucket.
pub async fn delete_bucket(
    server: &Server,
    mut request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.core.delete_bucket(bucket.id).await.s3()?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

/// Answers HeadBucket.
pub async fn head_bucket(
    server: &Server,
    mut request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let bucket_region = Some(server.settings.region.clone());
    Ok(S3Response::new(HeadBucketOutput { bucket_region, ..HeadBucketOutput::default() }))
}

/// Answers GetBucketLocation.
pub async fn get_bucket_location(
    server: &Server,
    mut request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let given = bucket.attributes.iter().find(|(name, _)| name == LOCATION).map(|(_, value)| value.clone());
    // The default region is shown as no constraint at all, unless the bucket was made with it by
    // name.
    let fallback = Some(server.settings.region.clone()).filter(|region| region != DEFAULT_REGION);
    let location_constraint = given.or(fallback).map(BucketLocationConstraint::from);
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// Answers ListBuckets.
pub async fn list_buckets(
    server: &Server,
    mut request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let caller = Caller::take(&mut request);
    let Some(account) = caller.principal().account() else {
        // An anonymous caller owns no bucket: the list is empty, and not forbidden.
        return Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(Vec::new()),
            ..ListBucketsOutput::default()
        }));
    };
    let sees_all = server.allow_on_service(&caller, caller.action(false), "");
    let input = request.input;
    let limit = page_limit(input.max_buckets)?;
    let after =
        input.continuation_token.as_deref().filter(|token| !token.is_empty()).map(token_name).transpose()?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let wanted = |bucket: &Rc<StoredBucket>| {
        bucket.owner == account.canonical_id
            && bucket.name.starts_with(prefix)
            && after.as_ref().is_none_or(|after| bucket.name.as_bytes() > after.as_slice())
    };
    let foreign_region = input.bucket_region.as_ref().is_some_and(|region| *region != server.settings.region);
    let mut found = if foreign_region { Vec::new() } else { server.core.buckets() };
    // Whoever may not list all sees those that are open to it. Where there is none, it is refused.
    if let Err(refused) = sees_all {
        found.retain(|bucket| bucket.owner == account.canonical_id && server.may_see(&caller, bucket));
        if found.is_empty() {
            return Err(refused);
        }
    }
    found.retain(wanted);
    let truncated = found.len() > limit;
    found.truncate(limit);
    let continuation_token = match found.last() {
        Some(last) if truncated => Some(token(last.name.as_bytes())),
        _ => None,
    };
    let paged = input.max_buckets.is_some();
    let show = |bucket: &Rc<StoredBucket>| Bucket {
        name: Some(bucket.name.clone()),
        creation_date: Some(timestamp(bucket.created_ms)),
        bucket_region: paged.then(|| server.settings.region.clone()),
    };
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(found.iter().map(show).collect()),
        continuation_token,
        owner: Some(server.owner(&account.canonical_id)),
        prefix: input.prefix,
    }))
}

fn page_limit(max_buckets: Option<i32>) -> S3Result<usize> {
    match max_buckets.map(usize::try_from) {
        None => Ok(BUCKETS_MAX),
        Some(Ok(limit)) if (1..=BUCKETS_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(invalid_argument(format!("max-buckets must be from 1 to {BUCKETS_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(inner: &str) -> S3Result<Attributes> {
        let document = format!("<CreateBucketConfiguration>{inner}</CreateBucketConfiguration>");
        let configuration = BucketConfiguration::read(XmlReader::new(document.as_bytes(), 100)?)?;
        location_attributes(&configuration, "eu-north-1")
    }

    #[test]
    fn only_the_own_region_is_a_location() {
        let constraint =
            |text: &str| configuration(&format!("<LocationConstraint>{text}</LocationConstraint>"));
        let own = Some(vec![(LOCATION.to_owned(), "eu-north-1".to_owned())]);
        assert_eq!(constraint("eu-north-1").ok(), own);
        assert_eq!(constraint("<![CDATA[eu-north-1]]>").ok(), own);
        assert_eq!(constraint("").ok(), Some(Vec::new()));
        assert_eq!(configuration("").ok(), Some(Vec::new()));
        let code = |result: S3Result<Attributes>| result.err().map(|error| error.code().as_str().to_owned());
        assert_eq!(code(constraint("mars-1")).as_deref(), Some("InvalidLocationConstraint"));
        let unbuilt = "<Bucket><Type>Directory</Type></Bucket>";
        assert_eq!(code(configuration(unbuilt)).as_deref(), Some("NotImplemented"));
        assert_eq!(
            code(configuration("<Tags><Tag><Key>a</Key></Tag></Tags>")).as_deref(),
            Some("MalformedXML")
        );
        assert!(configuration("<Tags><Tag><Key>a</Key><Value/></Tag></Tags>").is_ok());
        assert_eq!(code(configuration("<Zone>1</Zone>")).as_deref(), Some("MalformedXML"));
        assert!(location_attributes(&BucketConfiguration::default(), "eu-north-1").is_ok());
    }

    #[test]
    fn page_sizes_of_bucket_listings() {
        assert_eq!(page_limit(None).ok(), Some(10_000));
        assert_eq!(page_limit(Some(1)).ok(), Some(1));
        for bad in [0, -1, 10_001] {
            assert!(page_limit(Some(bad)).is_err(), "{bad}");
        }
    }
}
