//! The table of operations, which says which function answers which, and their counts.
//!
//! Invariants:
//! - An operation that is not in the table answers 501 NotImplemented, the default of s3s.
//! - s3s wants futures that are `Send`, and the engine's are not. [`SendWrapper`] vouches that they
//!   stay on their core's thread, and panics if ever they do not.
//! - Each core writes its own counts of requests and no other core's; whoever asks reads all of
//!   them.

use super::access::Gathered;
use super::{
    Server, acl, attributes, bucket, configuration, copy, cors, delete, lifecycle, list, multipart, object,
    object_lock, ownership, policy, tagging, versioning, website,
};
use crate::access::Action;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};
use send_wrapper::SendWrapper;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The operations of one core, as s3s calls them.
pub struct Operations(pub Arc<Server>);

macro_rules! operations {
    ($(
        $operation:ident = $module:ident :: $name:ident ( $input:ident ) -> $output:ident
            by $action:ident $(| $of_version:ident)?;
    )*) => {
        /// The operations, for counting them. A form that a browser sends is one of its own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Operation {
            $($operation,)*
            PostObject,
        }

        impl Operation {
            /// The names that S3 has for them, in the order of their numbers.
            pub const NAMES: &[&str] = &[$(stringify!($operation),)* "PostObject"];
            /// The number of operations.
            pub const COUNT: usize = Self::NAMES.len();

            /// Returns the action that the operation needs. `of_version` says that the request names a
            /// version.
            pub fn action(self, of_version: bool) -> Action {
                match self {
                    $(Self::$operation => {
                        let _ = of_version;
                        $(if of_version { return Action::$of_version; })?
                        Action::$action
                    })*
                    Self::PostObject => Action::PutObject,
                }
            }
        }

        #[async_trait::async_trait]
        impl S3 for Operations {
            $(
                async fn $name(&self, mut request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    if let Some(gathered) = request.extensions.get_mut::<Gathered>() {
                        gathered.operation = Some(Operation::$operation);
                    }
                    let answer = SendWrapper::new($module::$name(&self.0, request)).await;
                    self.0.requests.answered(Operation::$operation);
                    answer
                }
            )*
        }
    };
}

operations! {
    CreateBucket = bucket::create_bucket(CreateBucketInput) -> CreateBucketOutput
        by CreateBucket;
    DeleteBucket = bucket::delete_bucket(DeleteBucketInput) -> DeleteBucketOutput
        by DeleteBucket;
    HeadBucket = bucket::head_bucket(HeadBucketInput) -> HeadBucketOutput
        by ListBucket;
    ListBuckets = bucket::list_buckets(ListBucketsInput) -> ListBucketsOutput
        by ListAllMyBuckets;
    GetBucketLocation = bucket::get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput
        by GetBucketLocation;
    GetBucketVersioning =
        versioning::get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput
        by GetBucketVersioning;
    PutBucketVersioning =
        versioning::put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput
        by PutBucketVersioning;
    ListObjectVersions = list::list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput
        by ListBucketVersions;
    GetBucketAcl = acl::get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput
        by GetBucketAcl;
    GetObjectAcl = acl::get_object_acl(GetObjectAclInput) -> GetObjectAclOutput
        by GetObjectAcl | GetObjectVersionAcl;
    PutBucketAcl = acl::put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput
        by PutBucketAcl;
    PutObjectAcl = acl::put_object_acl(PutObjectAclInput) -> PutObjectAclOutput
        by PutObjectAcl | PutObjectVersionAcl;
    PutObject = object::put_object(PutObjectInput) -> PutObjectOutput
        by PutObject;
    GetObject = object::get_object(GetObjectInput) -> GetObjectOutput
        by GetObject | GetObjectVersion;
    HeadObject = object::head_object(HeadObjectInput) -> HeadObjectOutput
        by GetObject | GetObjectVersion;
    GetObjectAttributes = attributes::get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput
        by GetObjectAttributes | GetObjectVersionAttributes;
    DeleteObject = delete::delete_object(DeleteObjectInput) -> DeleteObjectOutput
        by DeleteObject | DeleteObjectVersion;
    DeleteObjects = delete::delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput
        by DeleteObject | DeleteObjectVersion;
    CopyObject = copy::copy_object(CopyObjectInput) -> CopyObjectOutput
        by PutObject;
    UploadPartCopy = copy::upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput
        by PutObject;
    ListObjects = list::list_objects(ListObjectsInput) -> ListObjectsOutput
        by ListBucket;
    ListObjectsV2 = list::list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output
        by ListBucket;
    CreateMultipartUpload =
        multipart::create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput
        by PutObject;
    CompleteMultipartUpload =
        multipart::complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput
        by PutObject;
    AbortMultipartUpload =
        multipart::abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput
        by AbortMultipartUpload;
    UploadPart = multipart::upload_part(UploadPartInput) -> UploadPartOutput
        by PutObject;
    ListParts = multipart::list_parts(ListPartsInput) -> ListPartsOutput
        by ListMultipartUploadParts;
    ListMultipartUploads = list::list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput
        by ListBucketMultipartUploads;
    GetBucketLifecycleConfiguration =
        lifecycle::get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
            -> GetBucketLifecycleConfigurationOutput
        by GetLifecycleConfiguration;
    PutBucketLifecycleConfiguration =
        lifecycle::put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput)
            -> PutBucketLifecycleConfigurationOutput
        by PutLifecycleConfiguration;
    GetBucketCors = cors::get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput
        by GetBucketCors;
    PutBucketCors = cors::put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput
        by PutBucketCors;
    GetBucketEncryption = configuration::get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput
        by GetEncryptionConfiguration;
    GetBucketPolicy = policy::get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput
        by GetBucketPolicy;
    GetBucketPolicyStatus =
        policy::get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput
        by GetBucketPolicyStatus;
    PutBucketPolicy = policy::put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput
        by PutBucketPolicy;
    PutPublicAccessBlock = ownership::put_public_access_block(PutPublicAccessBlockInput) -> PutPublicAccessBlockOutput
        by PutBucketPublicAccessBlock;
    PutBucketOwnershipControls =
        ownership::put_bucket_ownership_controls(PutBucketOwnershipControlsInput)
            -> PutBucketOwnershipControlsOutput
        by PutBucketOwnershipControls;
    GetBucketTagging = tagging::get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput
        by GetBucketTagging;
    PutBucketTagging = tagging::put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput
        by PutBucketTagging;
    GetBucketReplication =
        configuration::get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput
        by GetReplicationConfiguration;
    GetBucketWebsite = website::get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput
        by GetBucketWebsite;
    PutBucketWebsite = website::put_bucket_website(PutBucketWebsiteInput) -> PutBucketWebsiteOutput
        by PutBucketWebsite;
    GetPublicAccessBlock =
        ownership::get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput
        by GetBucketPublicAccessBlock;
    GetBucketOwnershipControls =
        ownership::get_bucket_ownership_controls(GetBucketOwnershipControlsInput)
            -> GetBucketOwnershipControlsOutput
        by GetBucketOwnershipControls;
    GetObjectLockConfiguration =
        object_lock::get_object_lock_configuration(GetObjectLockConfigurationInput)
            -> GetObjectLockConfigurationOutput
        by GetBucketObjectLockConfiguration;
    PutObjectLockConfiguration =
        object_lock::put_object_lock_configuration(PutObjectLockConfigurationInput)
            -> PutObjectLockConfigurationOutput
        by PutBucketObjectLockConfiguration;
    GetBucketMetricsConfiguration =
        configuration::get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput)
            -> GetBucketMetricsConfigurationOutput
        by GetMetricsConfiguration;
    GetBucketAnalyticsConfiguration =
        configuration::get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput)
            -> GetBucketAnalyticsConfigurationOutput
        by GetAnalyticsConfiguration;
    GetBucketInventoryConfiguration =
        configuration::get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput)
            -> GetBucketInventoryConfigurationOutput
        by GetInventoryConfiguration;
    DeleteBucketMetricsConfiguration =
        configuration::delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput)
            -> DeleteBucketMetricsConfigurationOutput
        by PutMetricsConfiguration;
    DeleteBucketAnalyticsConfiguration =
        configuration::delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput)
            -> DeleteBucketAnalyticsConfigurationOutput
        by PutAnalyticsConfiguration;
    DeleteBucketInventoryConfiguration =
        configuration::delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput)
            -> DeleteBucketInventoryConfigurationOutput
        by PutInventoryConfiguration;
    ListBucketMetricsConfigurations =
        configuration::list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput)
            -> ListBucketMetricsConfigurationsOutput
        by GetMetricsConfiguration;
    ListBucketAnalyticsConfigurations =
        configuration::list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput)
            -> ListBucketAnalyticsConfigurationsOutput
        by GetAnalyticsConfiguration;
    ListBucketInventoryConfigurations =
        configuration::list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput)
            -> ListBucketInventoryConfigurationsOutput
        by GetInventoryConfiguration;
    GetBucketAccelerateConfiguration =
        configuration::get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
            -> GetBucketAccelerateConfigurationOutput
        by GetAccelerateConfiguration;
    GetBucketLogging = configuration::get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput
        by GetBucketLogging;
    GetBucketNotificationConfiguration =
        configuration::get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
            -> GetBucketNotificationConfigurationOutput
        by GetBucketNotification;
    GetBucketRequestPayment =
        configuration::get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput
        by GetBucketRequestPayment;
    DeleteBucketLifecycle =
        lifecycle::delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput
        by PutLifecycleConfiguration;
    DeleteBucketCors = cors::delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput
        by PutBucketCors;
    DeleteBucketEncryption =
        configuration::delete_bucket_encryption(DeleteBucketEncryptionInput) -> DeleteBucketEncryptionOutput
        by PutEncryptionConfiguration;
    DeleteBucketPolicy = policy::delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput
        by DeleteBucketPolicy;
    DeleteBucketTagging = tagging::delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput
        by PutBucketTagging;
    DeleteBucketReplication =
        configuration::delete_bucket_replication(DeleteBucketReplicationInput) -> DeleteBucketReplicationOutput
        by PutReplicationConfiguration;
    DeleteBucketWebsite = website::delete_bucket_website(DeleteBucketWebsiteInput) -> DeleteBucketWebsiteOutput
        by DeleteBucketWebsite;
    DeletePublicAccessBlock =
        ownership::delete_public_access_block(DeletePublicAccessBlockInput) -> DeletePublicAccessBlockOutput
        by PutBucketPublicAccessBlock;
    DeleteBucketOwnershipControls =
        ownership::delete_bucket_ownership_controls(DeleteBucketOwnershipControlsInput)
            -> DeleteBucketOwnershipControlsOutput
        by PutBucketOwnershipControls;
    GetBucketIntelligentTieringConfiguration =
        configuration::get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput)
            -> GetBucketIntelligentTieringConfigurationOutput
        by GetIntelligentTieringConfiguration;
    DeleteBucketIntelligentTieringConfiguration =
        configuration::delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput)
            -> DeleteBucketIntelligentTieringConfigurationOutput
        by PutIntelligentTieringConfiguration;
    ListBucketIntelligentTieringConfigurations =
        configuration::list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput)
            -> ListBucketIntelligentTieringConfigurationsOutput
        by GetIntelligentTieringConfiguration;
    GetObjectTagging = tagging::get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput
        by GetObjectTagging | GetObjectVersionTagging;
    PutObjectTagging = tagging::put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput
        by PutObjectTagging | PutObjectVersionTagging;
    DeleteObjectTagging = tagging::delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput
        by DeleteObjectTagging | DeleteObjectVersionTagging;
    GetObjectRetention = object_lock::get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput
        by GetObjectRetention;
    PutObjectRetention = object_lock::put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput
        by PutObjectRetention;
    GetObjectLegalHold = object_lock::get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput
        by GetObjectLegalHold;
    PutObjectLegalHold = object_lock::put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput
        by PutObjectLegalHold;
    GetObjectTorrent = configuration::get_object_torrent(GetObjectTorrentInput) -> GetObjectTorrentOutput
        by GetObjectTorrent | GetObjectVersionTorrent;
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
