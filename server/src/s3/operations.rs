//! The table of operations: which function answers which.
//!
//! Invariant: an operation that is not in the table answers 501 NotImplemented, s3s's default.
//! s3s wants futures that are `Send`; the engine's are not. [`SendWrapper`] vouches that they stay on
//! their core's thread, and panics if ever they do not.

use super::{
    Server, acl, attributes, bucket, copy, delete, list, multipart, object, parts, uploads, versions,
};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use send_wrapper::SendWrapper;
use std::sync::Arc;

/// The operations of one core.
pub struct Operations(pub Arc<Server>);

macro_rules! operations {
    ($($module:ident :: $name:ident ( $input:ident ) -> $output:ident;)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    SendWrapper::new($module::$name(&self.0, request)).await
                }
            )*
        }
    };
}

operations! {
    bucket::create_bucket(CreateBucketInput) -> CreateBucketOutput;
    bucket::delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    bucket::head_bucket(HeadBucketInput) -> HeadBucketOutput;
    bucket::list_buckets(ListBucketsInput) -> ListBucketsOutput;
    bucket::get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    versions::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    versions::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
    acl::get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput;
    acl::get_object_acl(GetObjectAclInput) -> GetObjectAclOutput;
    acl::put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput;
    acl::put_object_acl(PutObjectAclInput) -> PutObjectAclOutput;
    object::put_object(PutObjectInput) -> PutObjectOutput;
    object::get_object(GetObjectInput) -> GetObjectOutput;
    object::head_object(HeadObjectInput) -> HeadObjectOutput;
    attributes::get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput;
    delete::delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    delete::delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    copy::copy_object(CopyObjectInput) -> CopyObjectOutput;
    copy::upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    list::list_objects(ListObjectsInput) -> ListObjectsOutput;
    list::list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    multipart::create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    multipart::complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    multipart::abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    parts::upload_part(UploadPartInput) -> UploadPartOutput;
    parts::list_parts(ListPartsInput) -> ListPartsOutput;
    uploads::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
}
