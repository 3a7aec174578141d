//! The actions of S3, by AWS's table "Actions, resources, and condition keys for Amazon S3".
//!
//! Invariant: the table has every action that AWS knows, not only those that an operation here asks
//! for. So a policy that was written for AWS is understood, and a name outside the table is a
//! mistake, which is refused when the policy is put.

/// What an action is done to, which is what the `Resource` of a statement has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Object,
    Bucket,
    /// The account, or a resource that only AWS has: access points, jobs, grants.
    Account,
}

macro_rules! actions {
    ($($variant:ident $name:literal $level:ident,)*) => {
        /// An action of S3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $($variant,)*
        }

        impl Action {
            /// All actions, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the name with its service, as policies have it: `s3:GetObject`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("s3:", $name),)*
                }
            }

            fn level(self) -> Level {
                match self {
                    $(Self::$variant => Level::$level,)*
                }
            }
        }
    };
}

actions! {
    AbortMultipartUpload "AbortMultipartUpload" Object,
    BypassGovernanceRetention "BypassGovernanceRetention" Object,
    DeleteObject "DeleteObject" Object,
    DeleteObjectTagging "DeleteObjectTagging" Object,
    DeleteObjectVersion "DeleteObjectVersion" Object,
    DeleteObjectVersionTagging "DeleteObjectVersionTagging" Object,
    GetObject "GetObject" Object,
    GetObjectAcl "GetObjectAcl" Object,
    GetObjectAttributes "GetObjectAttributes" Object,
    GetObjectLegalHold "GetObjectLegalHold" Object,
    GetObjectRetention "GetObjectRetention" Object,
    GetObjectTagging "GetObjectTagging" Object,
    GetObjectTorrent "GetObjectTorrent" Object,
    GetObjectVersion "GetObjectVersion" Object,
    GetObjectVersionAcl "GetObjectVersionAcl" Object,
    GetObjectVersionAttributes "GetObjectVersionAttributes" Object,
    GetObjectVersionForReplication "GetObjectVersionForReplication" Object,
    GetObjectVersionTagging "GetObjectVersionTagging" Object,
    GetObjectVersionTorrent "GetObjectVersionTorrent" Object,
    InitiateReplication "InitiateReplication" Object,
    ListMultipartUploadParts "ListMultipartUploadParts" Object,
    ObjectOwnerOverrideToBucketOwner "ObjectOwnerOverrideToBucketOwner" Object,
    PutObject "PutObject" Object,
    PutObjectAcl "PutObjectAcl" Object,
    PutObjectLegalHold "PutObjectLegalHold" Object,
    PutObjectRetention "PutObjectRetention" Object,
    PutObjectTagging "PutObjectTagging" Object,
    PutObjectVersionAcl "PutObjectVersionAcl" Object,
    PutObjectVersionTagging "PutObjectVersionTagging" Object,
    ReplicateDelete "ReplicateDelete" Object,
    ReplicateObject "ReplicateObject" Object,
    ReplicateTags "ReplicateTags" Object,
    RestoreObject "RestoreObject" Object,
    UpdateObjectEncryption "UpdateObjectEncryption" Object,
    CreateBucket "CreateBucket" Bucket,
    CreateBucketMetadataTableConfiguration "CreateBucketMetadataTableConfiguration" Bucket,
    DeleteBucket "DeleteBucket" Bucket,
    DeleteBucketMetadataTableConfiguration "DeleteBucketMetadataTableConfiguration" Bucket,
    DeleteBucketPolicy "DeleteBucketPolicy" Bucket,
    DeleteBucketWebsite "DeleteBucketWebsite" Bucket,
    GetAccelerateConfiguration "GetAccelerateConfiguration" Bucket,
    GetAnalyticsConfiguration "GetAnalyticsConfiguration" Bucket,
    GetBucketAcl "GetBucketAcl" Bucket,
    GetBucketCors "GetBucketCORS" Bucket,
    GetBucketLocation "GetBucketLocation" Bucket,
    GetBucketLogging "GetBucketLogging" Bucket,
    GetBucketMetadataTableConfiguration "GetBucketMetadataTableConfiguration" Bucket,
    GetBucketNotification "GetBucketNotification" Bucket,
    GetBucketObjectLockConfiguration "GetBucketObjectLockConfiguration" Bucket,
    GetBucketOwnershipControls "GetBucketOwnershipControls" Bucket,
    GetBucketPolicy "GetBucketPolicy" Bucket,
    GetBucketPolicyStatus "GetBucketPolicyStatus" Bucket,
    GetBucketPublicAccessBlock "GetBucketPublicAccessBlock" Bucket,
    GetBucketRequestPayment "GetBucketRequestPayment" Bucket,
    GetBucketTagging "GetBucketTagging" Bucket,
    GetBucketVersioning "GetBucketVersioning" Bucket,
    GetBucketWebsite "GetBucketWebsite" Bucket,
    GetEncryptionConfiguration "GetEncryptionConfiguration" Bucket,
    GetIntelligentTieringConfiguration "GetIntelligentTieringConfiguration" Bucket,
    GetInventoryConfiguration "GetInventoryConfiguration" Bucket,
    GetLifecycleConfiguration "GetLifecycleConfiguration" Bucket,
    GetMetricsConfiguration "GetMetricsConfiguration" Bucket,
    GetReplicationConfiguration "GetReplicationConfiguration" Bucket,
    ListBucket "ListBucket" Bucket,
    ListBucketMultipartUploads "ListBucketMultipartUploads" Bucket,
    ListBucketVersions "ListBucketVersions" Bucket,
    PutAccelerateConfiguration "PutAccelerateConfiguration" Bucket,
    PutAnalyticsConfiguration "PutAnalyticsConfiguration" Bucket,
    PutBucketAcl "PutBucketAcl" Bucket,
    PutBucketCors "PutBucketCORS" Bucket,
    PutBucketLogging "PutBucketLogging" Bucket,
    PutBucketNotification "PutBucketNotification" Bucket,
    PutBucketObjectLockConfiguration "PutBucketObjectLockConfiguration" Bucket,
    PutBucketOwnershipControls "PutBucketOwnershipControls" Bucket,
    PutBucketPolicy "PutBucketPolicy" Bucket,
    PutBucketPublicAccessBlock "PutBucketPublicAccessBlock" Bucket,
    PutBucketRequestPayment "PutBucketRequestPayment" Bucket,
    PutBucketTagging "PutBucketTagging" Bucket,
    PutBucketVersioning "PutBucketVersioning" Bucket,
    PutBucketWebsite "PutBucketWebsite" Bucket,
    PutEncryptionConfiguration "PutEncryptionConfiguration" Bucket,
    PutIntelligentTieringConfiguration "PutIntelligentTieringConfiguration" Bucket,
    PutInventoryConfiguration "PutInventoryConfiguration" Bucket,
    PutLifecycleConfiguration "PutLifecycleConfiguration" Bucket,
    PutMetricsConfiguration "PutMetricsConfiguration" Bucket,
    PutReplicationConfiguration "PutReplicationConfiguration" Bucket,
    UpdateBucketMetadataInventoryTableConfiguration "UpdateBucketMetadataInventoryTableConfiguration" Bucket,
    UpdateBucketMetadataJournalTableConfiguration "UpdateBucketMetadataJournalTableConfiguration" Bucket,
    AssociateAccessGrantsIdentityCenter "AssociateAccessGrantsIdentityCenter" Account,
    CreateAccessGrant "CreateAccessGrant" Account,
    CreateAccessGrantsInstance "CreateAccessGrantsInstance" Account,
    CreateAccessGrantsLocation "CreateAccessGrantsLocation" Account,
    CreateAccessPoint "CreateAccessPoint" Account,
    CreateAccessPointForObjectLambda "CreateAccessPointForObjectLambda" Account,
    CreateJob "CreateJob" Account,
    CreateMultiRegionAccessPoint "CreateMultiRegionAccessPoint" Account,
    CreateStorageLensGroup "CreateStorageLensGroup" Account,
    DeleteAccessGrant "DeleteAccessGrant" Account,
    DeleteAccessGrantsInstance "DeleteAccessGrantsInstance" Account,
    DeleteAccessGrantsInstanceResourcePolicy "DeleteAccessGrantsInstanceResourcePolicy" Account,
    DeleteAccessGrantsLocation "DeleteAccessGrantsLocation" Account,
    DeleteAccessPoint "DeleteAccessPoint" Account,
    DeleteAccessPointForObjectLambda "DeleteAccessPointForObjectLambda" Account,
    DeleteAccessPointPolicy "DeleteAccessPointPolicy" Account,
    DeleteAccessPointPolicyForObjectLambda "DeleteAccessPointPolicyForObjectLambda" Account,
    DeleteJobTagging "DeleteJobTagging" Account,
    DeleteMultiRegionAccessPoint "DeleteMultiRegionAccessPoint" Account,
    DeleteStorageLensConfiguration "DeleteStorageLensConfiguration" Account,
    DeleteStorageLensConfigurationTagging "DeleteStorageLensConfigurationTagging" Account,
    DeleteStorageLensGroup "DeleteStorageLensGroup" Account,
    DescribeJob "DescribeJob" Account,
    DescribeMultiRegionAccessPointOperation "DescribeMultiRegionAccessPointOperation" Account,
    DissociateAccessGrantsIdentityCenter "DissociateAccessGrantsIdentityCenter" Account,
    GetAccessGrant "GetAccessGrant" Account,
    GetAccessGrantsInstance "GetAccessGrantsInstance" Account,
    GetAccessGrantsInstanceForPrefix "GetAccessGrantsInstanceForPrefix" Account,
    GetAccessGrantsInstanceResourcePolicy "GetAccessGrantsInstanceResourcePolicy" Account,
    GetAccessGrantsLocation "GetAccessGrantsLocation" Account,
    GetAccessPoint "GetAccessPoint" Account,
    GetAccessPointConfigurationForObjectLambda "GetAccessPointConfigurationForObjectLambda" Account,
    GetAccessPointForObjectLambda "GetAccessPointForObjectLambda" Account,
    GetAccessPointPolicy "GetAccessPointPolicy" Account,
    GetAccessPointPolicyForObjectLambda "GetAccessPointPolicyForObjectLambda" Account,
    GetAccessPointPolicyStatus "GetAccessPointPolicyStatus" Account,
    GetAccessPointPolicyStatusForObjectLambda "GetAccessPointPolicyStatusForObjectLambda" Account,
    GetAccountPublicAccessBlock "GetAccountPublicAccessBlock" Account,
    GetDataAccess "GetDataAccess" Account,
    GetJobTagging "GetJobTagging" Account,
    GetMultiRegionAccessPoint "GetMultiRegionAccessPoint" Account,
    GetMultiRegionAccessPointPolicy "GetMultiRegionAccessPointPolicy" Account,
    GetMultiRegionAccessPointPolicyStatus "GetMultiRegionAccessPointPolicyStatus" Account,
    GetMultiRegionAccessPointRoutes "GetMultiRegionAccessPointRoutes" Account,
    GetStorageLensConfiguration "GetStorageLensConfiguration" Account,
    GetStorageLensConfigurationTagging "GetStorageLensConfigurationTagging" Account,
    GetStorageLensDashboard "GetStorageLensDashboard" Account,
    GetStorageLensGroup "GetStorageLensGroup" Account,
    ListAccessGrants "ListAccessGrants" Account,
    ListAccessGrantsInstances "ListAccessGrantsInstances" Account,
    ListAccessGrantsLocations "ListAccessGrantsLocations" Account,
    ListAccessPoints "ListAccessPoints" Account,
    ListAccessPointsForObjectLambda "ListAccessPointsForObjectLambda" Account,
    ListAllMyBuckets "ListAllMyBuckets" Account,
    ListCallerAccessGrants "ListCallerAccessGrants" Account,
    ListJobs "ListJobs" Account,
    ListMultiRegionAccessPoints "ListMultiRegionAccessPoints" Account,
    ListStorageLensConfigurations "ListStorageLensConfigurations" Account,
    ListStorageLensGroups "ListStorageLensGroups" Account,
    ListTagsForResource "ListTagsForResource" Account,
    PauseReplication "PauseReplication" Account,
    PutAccessGrantsInstanceResourcePolicy "PutAccessGrantsInstanceResourcePolicy" Account,
    PutAccessPointConfigurationForObjectLambda "PutAccessPointConfigurationForObjectLambda" Account,
    PutAccessPointPolicy "PutAccessPointPolicy" Account,
    PutAccessPointPolicyForObjectLambda "PutAccessPointPolicyForObjectLambda" Account,
    PutAccessPointPublicAccessBlock "PutAccessPointPublicAccessBlock" Account,
    PutAccountPublicAccessBlock "PutAccountPublicAccessBlock" Account,
    PutJobTagging "PutJobTagging" Account,
    PutMultiRegionAccessPointPolicy "PutMultiRegionAccessPointPolicy" Account,
    PutStorageLensConfiguration "PutStorageLensConfiguration" Account,
    PutStorageLensConfigurationTagging "PutStorageLensConfigurationTagging" Account,
    SubmitMultiRegionAccessPointRoutes "SubmitMultiRegionAccessPointRoutes" Account,
    TagResource "TagResource" Account,
    UntagResource "UntagResource" Account,
    UpdateAccessGrantsLocation "UpdateAccessGrantsLocation" Account,
    UpdateJobPriority "UpdateJobPriority" Account,
    UpdateJobStatus "UpdateJobStatus" Account,
    UpdateStorageLensGroup "UpdateStorageLensGroup" Account,
}

impl Action {
    /// Finds an action by its name with the service. Case does not matter, as in AWS.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name().eq_ignore_ascii_case(name))
    }

    /// Returns whether the action is done to an object; its resource is then `bucket/key`.
    pub fn is_on_object(self) -> bool {
        self.level() == Level::Object
    }

    /// Returns whether the action is done to a bucket; its resource is then `bucket`.
    pub fn is_on_bucket(self) -> bool {
        self.level() == Level::Bucket
    }

    /// Returns whether the action reads the content of an object, or reads or changes its ACL. Those
    /// are for its owner to allow, where that is not the owner of the bucket. Tags, locks, removal
    /// and replacement are for the owner of the bucket.
    pub fn is_for_object_owner(self) -> bool {
        matches!(
            self,
            Self::GetObject
                | Self::GetObjectAcl
                | Self::GetObjectAttributes
                | Self::GetObjectTorrent
                | Self::GetObjectVersion
                | Self::GetObjectVersionAcl
                | Self::GetObjectVersionAttributes
                | Self::GetObjectVersionTorrent
                | Self::PutObjectAcl
                | Self::PutObjectVersionAcl
        )
    }
}

const WORDS: usize = 4;

/// A set of actions, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionSet([u64; WORDS]);

const _: () = assert!(Action::ALL.len() <= WORDS * 64);

impl ActionSet {
    /// Adds an action.
    pub fn insert(&mut self, action: Action) {
        let number = action as usize;
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Returns whether the set has an action.
    pub fn contains(&self, action: Action) -> bool {
        let number = action as usize;
        self.0[number / 64] >> (number % 64) & 1 == 1
    }

    /// Adds all actions of another set.
    pub fn extend(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// Returns all actions that are not in the set.
    #[must_use]
    pub fn complement(&self) -> Self {
        let mut rest = Self::default();
        for action in Action::ALL.iter().filter(|action| !self.contains(**action)) {
            rest.insert(*action);
        }
        rest
    }

    /// Returns whether the set has no action.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_in_any_case() {
        for &action in Action::ALL {
            assert_eq!(Action::parse(action.name()), Some(action));
            assert_eq!(Action::parse(&action.name().to_ascii_uppercase()), Some(action));
            assert!(action.name().starts_with("s3:"));
        }
        assert_eq!(Action::parse("s3:HeadObject"), None, "an operation, but no action of AWS");
        assert_eq!(Action::parse("GetObject"), None);
    }

    #[test]
    fn a_set_and_its_complement_share_nothing_and_miss_nothing() {
        let mut set = ActionSet::default();
        for action in Action::ALL.iter().copied().step_by(3) {
            set.insert(action);
        }
        let rest = set.complement();
        assert!(Action::ALL.iter().all(|action| set.contains(*action) != rest.contains(*action)));
        let mut all = set;
        all.extend(&rest);
        assert!(all.complement().is_empty() && !set.is_empty());
    }

    #[test]
    fn what_an_object_owner_allows_is_done_to_objects() {
        assert!(
            Action::ALL
                .iter()
                .filter(|action| action.is_for_object_owner())
                .all(|action| action.is_on_object())
        );
        assert!(Action::ListBucket.is_on_bucket() && !Action::ListAllMyBuckets.is_on_bucket());
    }
}
