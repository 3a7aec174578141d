//! The ownership controls and the public access block of buckets.

use super::Server;
use super::access::Caller;
use super::acl::acl_with_ownership;
use super::configuration::{ACCESS_BLOCK, OWNERSHIP, missing};
use super::parsed::BucketAccess;
use super::xml_reader::{XmlReader, malformed, set, unknown};
use crate::access::ownership::{Ownership, PublicAccessBlock};
use ringbolt_engine::types::ConfigKind;
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

/// The document of a PutBucketOwnershipControls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnershipDocument(Ownership);

impl OwnershipDocument {
    /// Reads the document. Fails if it has not exactly one rule that is known.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("OwnershipControls")?;
        let mut ownership = None;
        while let Some(name) = reader.child()? {
            if name != "Rule" {
                return Err(unknown(&name));
            }
            while let Some(name) = reader.child()? {
                if name != "ObjectOwnership" {
                    return Err(unknown(&name));
                }
                let text = reader.text()?;
                let known = Ownership::from_name(text.trim())
                    .ok_or_else(|| malformed(format_args!("the ObjectOwnership {text:?} is unknown")))?;
                set(&mut ownership, &name, known)?;
            }
        }
        reader.end()?;
        ownership.map(Self).ok_or_else(|| malformed("there is no rule with an ObjectOwnership"))
    }
}

/// The document of a PutPublicAccessBlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessBlockDocument(PublicAccessBlock);

impl AccessBlockDocument {
    /// Reads the document. What it does not name is not blocked.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("PublicAccessBlockConfiguration")?;
        let mut flags = [None; 4];
        while let Some(name) = reader.child()? {
            let at = match name.as_str() {
                "BlockPublicAcls" => 0,
                "IgnorePublicAcls" => 1,
                "BlockPublicPolicy" => 2,
                "RestrictPublicBuckets" => 3,
                _ => return Err(unknown(&name)),
            };
            let flag = match reader.text()?.trim() {
                "true" | "TRUE" | "True" | "1" => true,
                "false" | "FALSE" | "False" | "0" => false,
                _ => return Err(malformed(format_args!("{name} is neither true nor false"))),
            };
            set(&mut flags[at], &name, flag)?;
        }
        reader.end()?;
        let [block_acls, ignore_acls, block_policy, restrict] = flags.map(|flag| flag.unwrap_or(false));
        Ok(Self(PublicAccessBlock { block_acls, ignore_acls, block_policy, restrict }))
    }
}

/// Answers PutBucketOwnershipControls.
pub async fn put_bucket_ownership_controls(
    server: &Server,
    mut request: S3Request<PutBucketOwnershipControlsInput>,
) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(OwnershipDocument(ownership)) = request.extensions.remove::<OwnershipDocument>() else {
        return Err(malformed("the document is missing"));
    };
    let access = BucketAccess::of(&bucket);
    if !ownership.has_lists() && access.acl.as_ref().is_some_and(|acl| acl.shares(&bucket.owner)) {
        return Err(acl_with_ownership());
    }
    let value = Some(ownership.name().as_bytes().to_vec());
    server.configure(&bucket, ConfigKind::OWNERSHIP, value).await?;
    Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
}

/// Answers GetBucketOwnershipControls.
pub async fn get_bucket_ownership_controls(
    server: &Server,
    mut request: S3Request<GetBucketOwnershipControlsInput>,
) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    if bucket.value_of(ConfigKind::OWNERSHIP).is_none() {
        return missing(OWNERSHIP);
    }
    let name = BucketAccess::of(&bucket).ownership.name();
    let rule = OwnershipControlsRule { object_ownership: ObjectOwnership::from_static(name) };
    let ownership_controls = Some(OwnershipControls { rules: vec![rule] });
    Ok(S3Response::new(GetBucketOwnershipControlsOutput { ownership_controls }))
}

/// Answers DeleteBucketOwnershipControls.
pub async fn delete_bucket_ownership_controls(
    server: &Server,
    mut request: S3Request<DeleteBucketOwnershipControlsInput>,
) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::OWNERSHIP, None).await?;
    Ok(S3Response::new(DeleteBucketOwnershipControlsOutput::default()))
}

/// Answers PutPublicAccessBlock.
pub async fn put_public_access_block(
    server: &Server,
    mut request: S3Request<PutPublicAccessBlockInput>,
) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(AccessBlockDocument(block)) = request.extensions.remove::<AccessBlockDocument>() else {
        return Err(malformed("the document is missing"));
    };
    server.configure(&bucket, ConfigKind::PUBLIC_ACCESS_BLOCK, Some(block.encode())).await?;
    Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
}

/// Answers GetPublicAccessBlock.
pub async fn get_public_access_block(
    server: &Server,
    mut request: S3Request<GetPublicAccessBlockInput>,
) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    if bucket.value_of(ConfigKind::PUBLIC_ACCESS_BLOCK).is_none() {
        return missing(ACCESS_BLOCK);
    }
    let block = BucketAccess::of(&bucket).block;
    let configuration = PublicAccessBlockConfiguration {
        block_public_acls: Some(block.block_acls),
        ignore_public_acls: Some(block.ignore_acls),
        block_public_policy: Some(block.block_policy),
        restrict_public_buckets: Some(block.restrict),
    };
    Ok(S3Response::new(GetPublicAccessBlockOutput { public_access_block_configuration: Some(configuration) }))
}

/// Answers DeletePublicAccessBlock.
pub async fn delete_public_access_block(
    server: &Server,
    mut request: S3Request<DeletePublicAccessBlockInput>,
) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::PUBLIC_ACCESS_BLOCK, None).await?;
    Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(inner: &str) -> Option<Ownership> {
        let text = format!("<OwnershipControls>{inner}</OwnershipControls>");
        let reader = XmlReader::new(text.as_bytes(), 100).ok()?;
        OwnershipDocument::read(reader).ok().map(|document| document.0)
    }

    fn block(inner: &str) -> Option<Vec<u8>> {
        let text = format!("<PublicAccessBlockConfiguration>{inner}</PublicAccessBlockConfiguration>");
        let reader = XmlReader::new(text.as_bytes(), 100).ok()?;
        AccessBlockDocument::read(reader).ok().map(|document| document.0.encode())
    }

    #[test]
    fn ownership_controls_are_one_known_rule() {
        let rule = |name: &str| format!("<Rule><ObjectOwnership>{name}</ObjectOwnership></Rule>");
        for known in Ownership::ALL {
            assert_eq!(ownership(&rule(known.name())), Some(known));
        }
        for bad in
            ["", "<Rule/>", &rule("Nobody"), &rule("ObjectWriter").repeat(2), "<Rule><X/></Rule>", "<X/>"]
        {
            assert_eq!(ownership(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_block_does_not_name_is_not_blocked() {
        assert_eq!(block("").as_deref(), Some(&[0][..]));
        assert_eq!(block("<BlockPublicAcls>true</BlockPublicAcls>").as_deref(), Some(&[1][..]));
        let all = "<RestrictPublicBuckets>TRUE</RestrictPublicBuckets><IgnorePublicAcls>True</IgnorePublicAcls>\
                   <BlockPublicPolicy>false</BlockPublicPolicy>";
        assert_eq!(block(all).as_deref(), Some(&[10][..]));
        for bad in ["<BlockPublicAcls>maybe</BlockPublicAcls>", "<X>true</X>", &all.repeat(2)] {
            assert_eq!(block(bad), None, "{bad}");
        }
    }
}
