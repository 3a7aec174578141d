//! The keys of conditions: AWS's global keys and those of S3, and what kind of value each has.
//!
//! Invariant: the table has every key that AWS knows for a request of S3. A key outside of it is
//! refused when a policy is put. A key that nothing here ever answers, such as `aws:SourceVpc`, is
//! absent from every request, which is what AWS says of a request that did not come through a VPC.

use crate::access::principal::Principal;
use std::borrow::Cow;
use std::fmt;

/// The kind of a key's value, which says what operators are of use for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Date,
    /// A date for operators of dates, and seconds since 1970 for those of numbers.
    Seconds,
    Bool,
    Address,
    Arn,
    /// Several texts; wants `ForAnyValue:` or `ForAllValues:`.
    Texts,
}

macro_rules! keys {
    (
        fixed: { $($variant:ident $name:literal $kind:ident,)* }
        of AWS alone: { $($absent:ident $absent_name:literal $absent_kind:ident,)* }
        with a name: { $($of_name:ident $prefix:literal,)* }
    ) => {
        /// A key of a condition.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum ConditionKey {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            $(#[doc = concat!("`", $absent_name, "`")] $absent,)*
            $(#[doc = concat!("`", $prefix, "<key>`; the key is compared byte by byte.")] $of_name(Box<str>),)*
        }

        /// Every key that has no name of its own behind it.
        const FIXED: &[ConditionKey] = &[$(ConditionKey::$variant,)* $(ConditionKey::$absent,)*];

        impl ConditionKey {
            fn parts(&self) -> (&'static str, &str) {
                match self {
                    $(Self::$variant => ($name, ""),)*
                    $(Self::$absent => ($absent_name, ""),)*
                    $(Self::$of_name(key) => ($prefix, key),)*
                }
            }

            /// Returns the kind of the key's value.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)*
                    $(Self::$absent => Kind::$absent_kind,)*
                    $(Self::$of_name(_) => Kind::Text,)*
                }
            }

            fn is_of_aws_alone(&self) -> bool {
                matches!(self, $(Self::$absent)|*)
            }

            fn with_name(name: &str) -> Option<Self> {
                $(
                    if let Some(key) = behind(name, $prefix) {
                        return Some(Self::$of_name(key.into()));
                    }
                )*
                None
            }
        }
    };
}

keys! {
    fixed: {
        // What the request says, of AWS's global keys.
        CurrentTime "aws:CurrentTime" Date,
        EpochTime "aws:EpochTime" Seconds,
        Referer "aws:Referer" Text,
        RequestedRegion "aws:RequestedRegion" Text,
        ResourceAccount "aws:ResourceAccount" Text,
        SecureTransport "aws:SecureTransport" Bool,
        SourceIp "aws:SourceIp" Address,
        UserAgent "aws:UserAgent" Text,

        // Who asks; `of_principal` answers these.
        PrincipalAccount "aws:PrincipalAccount" Text,
        PrincipalArn "aws:PrincipalArn" Arn,
        PrincipalIsAwsService "aws:PrincipalIsAWSService" Bool,
        PrincipalType "aws:PrincipalType" Text,
        UserId "aws:userid" Text,
        UserName "aws:username" Text,
        ViaAwsService "aws:ViaAWSService" Bool,

        // What the request says, of the keys of S3.
        AuthType "s3:authType" Text,
        Delimiter "s3:delimiter" Text,
        IfMatch "s3:if-match" Text,
        IfNoneMatch "s3:if-none-match" Text,
        LocationConstraint "s3:LocationConstraint" Text,
        MaxKeys "s3:max-keys" Number,
        ObjectCreationOperation "s3:ObjectCreationOperation" Bool,
        ObjectLockLegalHold "s3:object-lock-legal-hold" Text,
        ObjectLockMode "s3:object-lock-mode" Text,
        ObjectLockRemainingRetentionDays "s3:object-lock-remaining-retention-days" Number,
        ObjectLockRetainUntilDate "s3:object-lock-retain-until-date" Date,
        Prefix "s3:prefix" Text,
        RequestObjectTagKeys "s3:RequestObjectTagKeys" Texts,
        S3ResourceAccount "s3:ResourceAccount" Text,
        SignatureAge "s3:signatureAge" Number,
        SignatureVersion "s3:signatureversion" Text,
        TlsVersion "s3:TlsVersion" Number,
        VersionId "s3:VersionId" Text,
        XAmzAcl "s3:x-amz-acl" Text,
        XAmzContentSha256 "s3:x-amz-content-sha256" Text,
        XAmzCopySource "s3:x-amz-copy-source" Text,
        XAmzGrantFullControl "s3:x-amz-grant-full-control" Text,
        XAmzGrantRead "s3:x-amz-grant-read" Text,
        XAmzGrantReadAcp "s3:x-amz-grant-read-acp" Text,
        XAmzGrantWrite "s3:x-amz-grant-write" Text,
        XAmzGrantWriteAcp "s3:x-amz-grant-write-acp" Text,
        XAmzMetadataDirective "s3:x-amz-metadata-directive" Text,
        XAmzObjectOwnership "s3:x-amz-object-ownership" Text,
        XAmzServerSideEncryption "s3:x-amz-server-side-encryption" Text,
        XAmzServerSideEncryptionAwsKmsKeyId "s3:x-amz-server-side-encryption-aws-kms-key-id" Arn,
        XAmzServerSideEncryptionCustomerAlgorithm "s3:x-amz-server-side-encryption-customer-algorithm" Text,
        XAmzStorageClass "s3:x-amz-storage-class" Text,
        XAmzWebsiteRedirectLocation "s3:x-amz-website-redirect-location" Text,

    }
    of AWS alone: {
        // Services, networks and organisations, roles, access points, jobs.
        AssumedRoot "aws:AssumedRoot" Bool,
        CalledVia "aws:CalledVia" Texts,
        CalledViaFirst "aws:CalledViaFirst" Text,
        CalledViaLast "aws:CalledViaLast" Text,
        ChatbotSourceArn "aws:ChatbotSourceArn" Arn,
        Ec2InstanceSourcePrivateIpv4 "aws:Ec2InstanceSourcePrivateIPv4" Address,
        Ec2InstanceSourceVpc "aws:Ec2InstanceSourceVpc" Text,
        FederatedProvider "aws:FederatedProvider" Text,
        MultiFactorAuthAge "aws:MultiFactorAuthAge" Number,
        MultiFactorAuthPresent "aws:MultiFactorAuthPresent" Bool,
        PrincipalOrgId "aws:PrincipalOrgID" Text,
        PrincipalOrgPaths "aws:PrincipalOrgPaths" Texts,
        PrincipalServiceName "aws:PrincipalServiceName" Text,
        PrincipalServiceNamesList "aws:PrincipalServiceNamesList" Texts,
        ResourceOrgId "aws:ResourceOrgID" Text,
        ResourceOrgPaths "aws:ResourceOrgPaths" Texts,
        SignInSessionArn "aws:SignInSessionArn" Arn,
        SourceAccount "aws:SourceAccount" Text,
        SourceArn "aws:SourceArn" Arn,
        SourceIdentity "aws:SourceIdentity" Text,
        SourceOrgId "aws:SourceOrgID" Text,
        SourceOrgPaths "aws:SourceOrgPaths" Texts,
        SourceOwner "aws:SourceOwner" Text,
        SourceVpc "aws:SourceVpc" Text,
        SourceVpcArn "aws:SourceVpcArn" Arn,
        SourceVpce "aws:SourceVpce" Text,
        TagKeys "aws:TagKeys" Texts,
        TokenIssueTime "aws:TokenIssueTime" Date,
        VpceAccount "aws:VpceAccount" Text,
        VpceOrgId "aws:VpceOrgID" Text,
        VpceOrgPaths "aws:VpceOrgPaths" Texts,
        VpcSourceIp "aws:VpcSourceIp" Address,
        AccessGrantsInstanceArn "s3:AccessGrantsInstanceArn" Arn,
        AccessGrantsLocationScope "s3:AccessGrantsLocationScope" Text,
        AccessPointNetworkOrigin "s3:AccessPointNetworkOrigin" Text,
        DataAccessPointAccount "s3:DataAccessPointAccount" Text,
        DataAccessPointArn "s3:DataAccessPointArn" Arn,
        DestinationRegion "s3:destinationRegion" Text,
        ExistingJobOperation "s3:ExistingJobOperation" Text,
        ExistingJobPriority "s3:ExistingJobPriority" Number,
        InventoryAccessibleOptionalFields "s3:InventoryAccessibleOptionalFields" Texts,
        IsReplicationPauseRequest "s3:isReplicationPauseRequest" Bool,
        JobSuspendedCause "s3:JobSuspendedCause" Text,
        RequestJobOperation "s3:RequestJobOperation" Text,
        RequestJobPriority "s3:RequestJobPriority" Number,
    }
    with a name: {
        ExistingObjectTag "s3:ExistingObjectTag/",
        RequestObjectTag "s3:RequestObjectTag/",
        BucketTag "s3:BucketTag/",
        PrincipalTag "aws:PrincipalTag/",
        RequestTag "aws:RequestTag/",
        ResourceTag "aws:ResourceTag/",
    }
}

/// The longest key of a tag, in characters.
const TAG_KEY_CHARACTERS_MAX: usize = 128;

/// Returns what stands behind `prefix`, whose case does not matter.
fn behind<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, key) = name.split_at_checked(prefix.len())?;
    let fits = !key.is_empty() && key.chars().count() <= TAG_KEY_CHARACTERS_MAX;
    (start.eq_ignore_ascii_case(prefix) && fits).then_some(key)
}

impl ConditionKey {
    /// Finds a key by its name, whose case does not matter. None: AWS does not know it.
    pub fn parse(name: &str) -> Option<Self> {
        let same = |key: &&Self| key.parts().0.eq_ignore_ascii_case(name);
        FIXED.iter().find(same).cloned().or_else(|| Self::with_name(name))
    }

    /// Returns whether the request or the one who asks may have a value for this key. What only AWS
    /// has is always absent.
    pub fn is_answered(&self) -> bool {
        let has_none = matches!(self, Self::PrincipalTag(_) | Self::RequestTag(_) | Self::ResourceTag(_));
        !has_none && !self.is_of_aws_alone()
    }

    /// Returns the value where the principal alone has it: Some(None) is a key that this principal
    /// lacks. None: the request has to say.
    pub(super) fn of_principal<'a>(&self, principal: &'a Principal) -> Option<Option<Cow<'a, str>>> {
        let value = match (self, principal) {
            (Self::PrincipalIsAwsService | Self::ViaAwsService, _) => Some("false".into()),
            (Self::PrincipalType, Principal::Anonymous) => Some("Anonymous".into()),
            (Self::PrincipalType, Principal::Root(_)) => Some("Account".into()),
            (Self::PrincipalType, Principal::User(_)) => Some("User".into()),
            (Self::PrincipalAccount | Self::UserId, Principal::Anonymous) => Some("anonymous".into()),
            (Self::PrincipalAccount | Self::UserId, Principal::Root(account)) => {
                Some(account.account_id.as_str().into())
            }
            (Self::PrincipalAccount, Principal::User(user)) => Some(user.account.account_id.as_str().into()),
            (Self::UserId, Principal::User(user)) => Some(user.id.as_str().into()),
            (Self::PrincipalArn, Principal::Root(account)) => {
                Some(format!("arn:aws:iam::{}:root", account.account_id).into())
            }
            (Self::PrincipalArn, Principal::User(user)) => Some(user.arn.as_str().into()),
            (Self::UserName, Principal::User(user)) => Some(user.name.as_str().into()),
            (Self::PrincipalArn, Principal::Anonymous)
            | (Self::UserName, Principal::Anonymous | Principal::Root(_)) => None,
            _ => return None,
        };
        Some(value)
    }
}

impl fmt::Display for ConditionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, key) = self.parts();
        write!(formatter, "{name}{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::policy::testing::{account, user};
    use std::sync::Arc;

    #[test]
    fn every_key_is_found_by_its_name_in_any_case() {
        for key in FIXED {
            let name = key.to_string();
            assert_eq!(ConditionKey::parse(&name).as_ref(), Some(key));
            assert_eq!(ConditionKey::parse(&name.to_ascii_uppercase()).as_ref(), Some(key));
        }
        let tag = ConditionKey::parse("S3:existingobjecttag/Team").unwrap();
        assert_eq!(tag, ConditionKey::ExistingObjectTag("Team".into()));
        assert_eq!(tag.to_string(), "s3:ExistingObjectTag/Team");
    }

    #[test]
    fn what_aws_does_not_know_is_no_key() {
        for name in ["aws:SourceIP4", "s3:", "", "s3:ExistingObjectTag/", "SourceIp", "s3:ExistingObjectTag"]
        {
            assert_eq!(ConditionKey::parse(name), None, "{name}");
        }
        let long = format!("s3:ExistingObjectTag/{}", "é".repeat(TAG_KEY_CHARACTERS_MAX + 1));
        assert_eq!(ConditionKey::parse(&long), None);
    }

    /// AWS's table "Principal key values".
    #[test]
    fn the_principal_answers_what_it_is() {
        let of = |key: ConditionKey, principal: &Principal| {
            key.of_principal(principal).expect("the principal has it").map(Cow::into_owned)
        };
        let some = |text: &str| Some(text.to_owned());
        let (anonymous, root) = (Principal::Anonymous, Principal::Root(account("111122223333")));
        let user = Principal::User(Arc::new(user("111122223333", "/a/", "bob")));
        for (key, of_anonymous, of_root, of_user) in [
            (ConditionKey::UserName, None, None, some("bob")),
            (ConditionKey::UserId, some("anonymous"), some("111122223333"), some("AIDAbob")),
            (ConditionKey::PrincipalType, some("Anonymous"), some("Account"), some("User")),
            (ConditionKey::PrincipalAccount, some("anonymous"), some("111122223333"), some("111122223333")),
            (
                ConditionKey::PrincipalArn,
                None,
                some("arn:aws:iam::111122223333:root"),
                some("arn:aws:iam::111122223333:user/a/bob"),
            ),
            (ConditionKey::ViaAwsService, some("false"), some("false"), some("false")),
        ] {
            assert_eq!(of(key.clone(), &anonymous), of_anonymous, "{key}");
            assert_eq!(of(key.clone(), &root), of_root, "{key}");
            assert_eq!(of(key.clone(), &user), of_user, "{key}");
            assert!(key.is_answered());
        }
        assert_eq!(ConditionKey::SourceIp.of_principal(&root), None);
        assert!(ConditionKey::XAmzStorageClass.is_answered() && !ConditionKey::SourceVpc.is_answered());
    }
}
