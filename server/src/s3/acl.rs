//! ACLs, as far as they say what is the case: the owner has full control, and nobody else has any
//! access.

use super::Server;
use super::access::{Caller, check_canned_acl, refuse_unsupported};
use super::error::{invalid_request, not_implemented};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};

fn full_control(owner: &Owner) -> Grants {
    let grantee = Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant {
        grantee: Some(grantee),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }]
}

/// Answers GetBucketAcl.
pub async fn get_bucket_acl(
    server: &Server,
    mut request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let owner = server.owner(&bucket.owner);
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(full_control(&owner)), owner: Some(owner) }))
}

/// Answers GetObjectAcl.
pub async fn get_object_acl(
    server: &Server,
    mut request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let caller = Caller::take(&mut request.extensions);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.find_object(&bucket, &input.key, input.version_id.as_deref()).await?;
    let owner = server.owner(&bucket.owner);
    let output =
        GetObjectAclOutput { grants: Some(full_control(&owner)), owner: Some(owner), ..Default::default() };
    Ok(S3Response::new(output))
}

/// Fails unless the ACL changes nothing.
fn check_put(canned: Option<&str>, policy: Option<&AccessControlPolicy>) -> S3Result<()> {
    match (canned, policy) {
        (Some(canned), None) => check_canned_acl(canned),
        (None, Some(_)) => Err(not_implemented("An ACL with grants")),
        (Some(_), Some(_)) => Err(invalid_request("Specify a canned ACL or grants, not both")),
        (None, None) => Err(invalid_request("Your request was missing a required header or body: the ACL")),
    }
}

/// Answers PutBucketAcl, which can only put the ACL that is there.
pub async fn put_bucket_acl(
    server: &Server,
    mut request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    let caller = Caller::take(&mut request.extensions);
    refuse_unsupported(&request.headers)?;
    let input = request.input;
    server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    check_put(input.acl.as_ref().map(BucketCannedACL::as_str), input.access_control_policy.as_ref())?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

/// Answers PutObjectAcl, which can only put the ACL that is there.
pub async fn put_object_acl(
    server: &Server,
    mut request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let caller = Caller::take(&mut request.extensions);
    refuse_unsupported(&request.headers)?;
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.find_object(&bucket, &input.key, input.version_id.as_deref()).await?;
    check_put(input.acl.as_ref().map(ObjectCannedACL::as_str), input.access_control_policy.as_ref())?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
