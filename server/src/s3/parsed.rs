//! The parsed forms of a bucket's configuration, which each core makes once and keeps at the bucket.

use super::cors::CorsRules;
use super::website::Website;
use crate::access::acl::Acl;
use crate::access::ownership::{Ownership, PublicAccessBlock};
use crate::access::policy::{Policy, PolicyKind};
use ringbolt_engine::types::{Bucket, ConfigKind};

/// What the configuration of a bucket says of access.
#[derive(Debug)]
pub struct BucketAccess {
    pub ownership: Ownership,
    /// The bucket's list. A bucket without one is private.
    pub acl: Option<Acl>,
    pub block: PublicAccessBlock,
    pub policy: Option<Policy>,
    /// The bucket has a policy that can not be read. Nobody is let in by anything then.
    pub policy_failed: bool,
}

/// What all parsed forms of a bucket's configuration are.
#[derive(Debug)]
pub struct BucketForms {
    pub access: BucketAccess,
    /// The rules for requests of pages of other origins.
    pub cors: Option<CorsRules>,
    pub website: Option<Website>,
}

impl BucketForms {
    /// Returns the parsed forms of a bucket's configuration.
    pub fn of(bucket: &Bucket) -> &Self {
        bucket.parsed.get_or_parse(|| Self {
            access: BucketAccess::parse(bucket),
            cors: CorsRules::of_bucket(bucket),
            website: Website::of_bucket(bucket),
        })
    }
}

impl BucketAccess {
    /// Returns what the configuration of a bucket says of access.
    pub fn of(bucket: &Bucket) -> &Self {
        &BucketForms::of(bucket).access
    }

    fn parse(bucket: &Bucket) -> Self {
        let text = |kind| bucket.value_of(kind).map(|value| std::str::from_utf8(value).unwrap_or_default());
        let (policy, policy_failed) = match bucket.value_of(ConfigKind::POLICY) {
            None => (None, false),
            Some(value) => match Policy::parse(value, PolicyKind::Bucket { name: &bucket.name }) {
                Ok(policy) => (Some(policy), false),
                Err(error) => {
                    tracing::error!(bucket = bucket.name, %error, "the policy of a bucket can not be read");
                    (None, true)
                }
            },
        };
        let block = bucket.value_of(ConfigKind::PUBLIC_ACCESS_BLOCK);
        Self {
            ownership: Ownership::of_value(bucket.value_of(ConfigKind::OWNERSHIP)),
            acl: text(ConfigKind::ACL).map(Acl::decode),
            block: block.map(PublicAccessBlock::decode).unwrap_or_default(),
            policy,
            policy_failed,
        }
    }

    /// Returns whether nobody but the account of the bucket may do anything: there is no policy, and
    /// no list counts.
    pub fn is_closed(&self) -> bool {
        self.policy.is_none() && !self.policy_failed && !self.ownership.has_lists()
    }

    /// Returns whether something may let in callers who are not of the bucket's account.
    pub fn is_shared(&self, owner: &str) -> bool {
        let by_list = self.ownership.has_lists() && self.acl.as_ref().is_some_and(|acl| acl.shares(owner));
        self.policy.is_some() || by_list
    }

    /// Returns the list of the bucket.
    pub fn list(&self, owner: &str) -> Acl {
        self.acl.clone().unwrap_or_else(|| Acl::private(owner))
    }
}
