//! The table of operations: which function answers which.
//!
//! Invariant: an operation that is not in the table answers 501 NotImplemented, s3s's default.
//! s3s wants futures that are `Send`; the engine's are not. [`SendWrapper`] vouches that they stay on
//! their core's thread, and panics if ever they do not.

use super::{
    Server, acl, attributes, bucket, configuration, copy, delete, list, multipart, object, parts, uploads,
    versions,
};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use send_wrapper::SendWrapper;
use std::sync::Arc;

/// The operations of one core.
pub struct Operations(pub Arc<Server>);

macro_rules! operations {
    ($($operation:ident = $module:ident :: $name:ident ( $input:ident ) -> $output:ident;)*) => {
        /// Names of operations, for counting them; a form sent by a browser is one of its own.
        #[derive(Clone, Copy, Debug)]
        pub enum Operation {
            $($operation,)*
            PostObject,
        }

        impl Operation {
            /// As S3 calls them, in the order of their numbers.
            pub const NAMES: &[&str] = &[$(stringify!($operation),)* "PostObject"];
            pub const COUNT: usize = Self::NAMES.len();
        }

        #[async_trait::async_trait]
        impl S3 for Operations {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let answer = SendWrapper::new($module::$name(&self.0, request)).await;
                    self.0.requests.answered(Operation::$operation);
                    answer
                }
            )*
        }
    };
}

operations! {
    CreateBucket = bucket::create_bucket(CreateBucketInput) -> CreateBucketOutput;
    DeleteBucket = bucket::delete_bucket(DeleteBucketInput) -> DeleteBucketOutput;
    HeadBucket = bucket::head_bucket(HeadBucketInput) -> HeadBucketOutput;
    ListBuckets = bucket::list_buckets(ListBucketsInput) -> ListBucketsOutput;
    GetBucketLocation = bucket::get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    GetBucketVersioning = versions::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    ListObjectVersions = versions::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
    GetBucketAcl = acl::get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput;
    GetObjectAcl = acl::get_object_acl(GetObjectAclInput) -> GetObjectAclOutput;
    PutBucketAcl = acl::put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput;
    PutObjectAcl = acl::put_object_acl(PutObjectAclInput) -> PutObjectAclOutput;
    PutObject = object::put_object(PutObjectInput) -> PutObjectOutput;
    GetObject = object::get_object(GetObjectInput) -> GetObjectOutput;
    HeadObject = object::head_object(HeadObjectInput) -> HeadObjectOutput;
    GetObjectAttributes = attributes::get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput;
    DeleteObject = delete::delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    DeleteObjects = delete::delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    CopyObject = copy::copy_object(CopyObjectInput) -> CopyObjectOutput;
    UploadPartCopy = copy::upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
    ListObjects = list::list_objects(ListObjectsInput) -> ListObjectsOutput;
    ListObjectsV2 = list::list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output;
    CreateMultipartUpload =
        multipart::create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    CompleteMultipartUpload =
        multipart::complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    AbortMultipartUpload =
        multipart::abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    UploadPart = parts::upload_part(UploadPartInput) -> UploadPartOutput;
    ListParts = parts::list_parts(ListPartsInput) -> ListPartsOutput;
    ListMultipartUploads = uploads::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
    GetBucketLifecycleConfiguration =
        configuration::get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
            -> GetBucketLifecycleConfigurationOutput;
    GetBucketCors = configuration::get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput;
    GetBucketEncryption = configuration::get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput;
    GetBucketPolicy = configuration::get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput;
    GetBucketPolicyStatus =
        configuration::get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput;
    GetBucketTagging = configuration::get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput;
    GetBucketReplication =
        configuration::get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput;
    GetBucketWebsite = configuration::get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput;
    GetPublicAccessBlock =
        configuration::get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput;
    GetBucketOwnershipControls =
        configuration::get_bucket_ownership_controls(GetBucketOwnershipControlsInput)
            -> GetBucketOwnershipControlsOutput;
    GetObjectLockConfiguration =
        configuration::get_object_lock_configuration(GetObjectLockConfigurationInput)
            -> GetObjectLockConfigurationOutput;
    GetBucketMetricsConfiguration =
        configuration::get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput)
            -> GetBucketMetricsConfigurationOutput;
    GetBucketAnalyticsConfiguration =
        configuration::get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput)
            -> GetBucketAnalyticsConfigurationOutput;
    GetBucketInventoryConfiguration =
        configuration::get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput)
            -> GetBucketInventoryConfigurationOutput;
    DeleteBucketMetricsConfiguration =
        configuration::delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput)
            -> DeleteBucketMetricsConfigurationOutput;
    DeleteBucketAnalyticsConfiguration =
        configuration::delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput)
            -> DeleteBucketAnalyticsConfigurationOutput;
    DeleteBucketInventoryConfiguration =
        configuration::delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput)
            -> DeleteBucketInventoryConfigurationOutput;
    ListBucketMetricsConfigurations =
        configuration::list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput)
            -> ListBucketMetricsConfigurationsOutput;
    ListBucketAnalyticsConfigurations =
        configuration::list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput)
            -> ListBucketAnalyticsConfigurationsOutput;
    ListBucketInventoryConfigurations =
        configuration::list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput)
            -> ListBucketInventoryConfigurationsOutput;
    GetBucketAccelerateConfiguration =
        configuration::get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
            -> GetBucketAccelerateConfigurationOutput;
    GetBucketLogging = configuration::get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput;
    GetBucketNotificationConfiguration =
        configuration::get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
            -> GetBucketNotificationConfigurationOutput;
    GetBucketRequestPayment =
        configuration::get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput;
    DeleteBucketLifecycle =
        configuration::delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput;
    DeleteBucketCors = configuration::delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput;
    DeleteBucketEncryption =
        configuration::delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput;
    DeleteBucketPolicy = configuration::delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput;
    DeleteBucketTagging = configuration::delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput;
    DeleteBucketReplication =
        configuration::delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput;
    DeleteBucketWebsite = configuration::delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput;
    DeletePublicAccessBlock =
        configuration::delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput;
    DeleteBucketOwnershipControls =
        configuration::delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput)
            -> DeleteBucketOwnershipControlsOutput;
    GetBucketIntelligentTieringConfiguration =
        configuration::get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput)
            -> GetBucketIntelligentTieringConfigurationOutput;
    DeleteBucketIntelligentTieringConfiguration =
        configuration::delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput)
            -> DeleteBucketIntelligentTieringConfigurationOutput;
    ListBucketIntelligentTieringConfigurations =
        configuration::list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput)
            -> ListBucketIntelligentTieringConfigurationsOutput;
    GetObjectTagging = configuration::get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput;
    DeleteObjectTagging = configuration::delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput;
    GetObjectRetention = configuration::get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput;
    GetObjectLegalHold = configuration::get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput;
    GetObjectTorrent = configuration::get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput;
}
