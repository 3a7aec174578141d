//! The table of operations, which says which function answers which, and their counts.
//!
//! Invariants:
//! - An operation that is not in the table answers 501 NotImplemented, the default of s3s.
//! - s3s wants futures that are `Send`, and the engine's are not. [`SendWrapper`] vouches that they
//!   stay on their core's thread, and panics if ever they do not.
//! - Each core writes its own counts of requests and no other core's; whoever asks reads all of
//!   them.

use super::{
    Server, acl, attributes, bucket, configuration, copy, delete, lifecycle, list, multipart, object,
    object_lock, tagging, versioning,
};
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use send_wrapper::SendWrapper;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The operations of one core, as s3s calls them.
pub struct Operations(pub Arc<Server>);

macro_rules! operations {
    ($($operation:ident = $module:ident :: $name:ident ( $input:ident ) -> $output:ident;)*) => {
        /// The operations, for counting them. A form that a browser sends is one of its own.
        #[derive(Clone, Copy, Debug)]
        pub enum Operation {
            $($operation,)*
            PostObject,
        }

        impl Operation {
            /// The names that S3 has for them, in the order of their numbers.
            pub const NAMES: &[&str] = &[$(stringify!($operation),)* "PostObject"];
            /// The number of operations.
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
    GetBucketVersioning =
        versioning::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput;
    PutBucketVersioning =
        versioning::put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput;
    ListObjectVersions = list::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput;
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
    UploadPart = multipart::upload_part(UploadPartInput) -> UploadPartOutput;
    ListParts = multipart::list_parts(ListPartsInput) -> ListPartsOutput;
    ListMultipartUploads = list::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput;
    GetBucketLifecycleConfiguration =
        lifecycle::get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
            -> GetBucketLifecycleConfigurationOutput;
    PutBucketLifecycleConfiguration =
        lifecycle::put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput)
            -> PutBucketLifecycleConfigurationOutput;
    GetBucketCors = configuration::get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput;
    GetBucketEncryption = configuration::get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput;
    GetBucketPolicy = configuration::get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput;
    GetBucketPolicyStatus =
        configuration::get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput;
    GetBucketTagging = tagging::get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput;
    PutBucketTagging = tagging::put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput;
    GetBucketReplication =
        configuration::get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput;
    GetBucketWebsite = configuration::get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput;
    GetPublicAccessBlock =
        configuration::get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput;
    GetBucketOwnershipControls =
        configuration::get_bucket_ownership_controls(GetBucketOwnershipControlsInput)
            -> GetBucketOwnershipControlsOutput;
    GetObjectLockConfiguration =
        object_lock::get_object_lock_configuration(GetObjectLockConfigurationInput)
            -> GetObjectLockConfigurationOutput;
    PutObjectLockConfiguration =
        object_lock::put_object_lock_configuration(PutObjectLockConfigurationInput)
            -> PutObjectLockConfigurationOutput;
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
        lifecycle::delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput;
    DeleteBucketCors = configuration::delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput;
    DeleteBucketEncryption =
        configuration::delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput;
    DeleteBucketPolicy = configuration::delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput;
    DeleteBucketTagging = tagging::delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput;
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
    GetObjectTagging = tagging::get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput;
    PutObjectTagging = tagging::put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput;
    DeleteObjectTagging = tagging::delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput;
    GetObjectRetention = object_lock::get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput;
    PutObjectRetention = object_lock::put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput;
    GetObjectLegalHold = object_lock::get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput;
    PutObjectLegalHold = object_lock::put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput;
    GetObjectTorrent = configuration::get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput;
}

/// The counts of requests of all cores, as one of them holds them. Each core writes its own counts
/// and no other core's.
#[derive(Clone, Debug)]
pub struct Requests {
    cores: Arc<Vec<CoreRequests>>,
    own: usize,
}

#[derive(Debug)]
#[repr(align(128))]
struct CoreRequests {
    answered: [AtomicU64; Operation::COUNT],
}

impl Requests {
    /// Makes the counts of `cores` cores, one handle for each.
    pub fn of_cores(cores: usize) -> Vec<Self> {
        let counts = || CoreRequests { answered: std::array::from_fn(|_| AtomicU64::new(0)) };
        let all = Arc::new((0..cores).map(|_| counts()).collect::<Vec<_>>());
        (0..cores).map(|own| Self { cores: all.clone(), own }).collect()
    }

    /// Counts a request that was answered, whatever the status.
    pub(super) fn answered(&self, operation: Operation) {
        let count = &self.cores[self.own].answered[operation as usize];
        // Nobody else writes here: no locked instruction is needed.
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Returns the number of requests of each operation over all cores, also of those that nobody
    /// asked for.
    pub fn sum(&self) -> Vec<(&'static str, u64)> {
        let of = |operation: usize| {
            self.cores.iter().map(|core| core.answered[operation].load(Ordering::Relaxed)).sum()
        };
        Operation::NAMES.iter().enumerate().map(|(number, name)| (*name, of(number))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_s_requests_are_in_the_sum_under_their_name() {
        let cores = Requests::of_cores(2);
        cores[0].answered(Operation::GetObject);
        cores[1].answered(Operation::GetObject);
        cores[1].answered(Operation::PostObject);
        let asked = |requests: &Requests| {
            requests.sum().into_iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>()
        };
        let expected = [("GetObject", 2), ("PostObject", 1)];
        assert_eq!((asked(&cores[0]), asked(&cores[1])), (expected.to_vec(), expected.to_vec()));
        assert_eq!(cores[0].sum().len(), Operation::COUNT);
    }
}
