//! Who owns what is written into a bucket, and whether access control lists count there.
//!
//! Invariant: what can not be read protects most: the owner of the bucket owns all of it, and no list
//! counts.

/// The ownership controls of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The owner of the bucket owns all that is in it, and lists do not count. New buckets are like
    /// this, as in AWS.
    #[default]
    BucketOwnerEnforced,
    /// Whoever writes an object owns it, unless the request grants the owner of the bucket all of it.
    BucketOwnerPreferred,
    /// Whoever writes an object owns it.
    ObjectWriter,
}

impl Ownership {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred, Self::ObjectWriter];

    /// Returns the name that S3 has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }

    /// Returns the ownership of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Reads the value of a bucket's configuration. A bucket without one has the controls that S3 had
    /// before there were any.
    pub fn of_value(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::ObjectWriter };
        std::str::from_utf8(value).ok().and_then(Self::from_name).unwrap_or_default()
    }

    /// Returns whether access control lists count.
    pub fn has_lists(self) -> bool {
        self != Self::BucketOwnerEnforced
    }
}

/// The public access block of a bucket: what of the access of everybody is blocked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicAccessBlock {
    /// Requests that put a list with grants to everybody are refused.
    pub block_acls: bool,
    /// Grants to everybody do not count.
    pub ignore_acls: bool,
    /// Requests that put a public policy are refused.
    pub block_policy: bool,
    /// While the policy is public, what it allows counts for the account of the bucket alone.
    pub restrict: bool,
}

impl PublicAccessBlock {
    /// Returns the value of a bucket's configuration.
    pub fn encode(self) -> Vec<u8> {
        vec![
            [self.block_acls, self.ignore_acls, self.block_policy, self.restrict]
                .into_iter()
                .enumerate()
                .fold(0, |bits, (at, set)| bits | u8::from(set) << at),
        ]
    }

    /// Reads a value of a bucket's configuration. One that can not be read blocks all.
    pub fn decode(value: &[u8]) -> Self {
        let bits = match value {
            [bits] if *bits < 16 => *bits,
            _ => 15,
        };
        let set = |at: u8| bits >> at & 1 == 1;
        Self { block_acls: set(0), ignore_acls: set(1), block_policy: set(2), restrict: set(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_what_can_not_be_read_protects() {
        for ownership in Ownership::ALL {
            assert_eq!(Ownership::of_value(Some(ownership.name().as_bytes())), ownership);
        }
        assert_eq!(Ownership::of_value(Some(b"Everybody")), Ownership::BucketOwnerEnforced);
        assert_eq!(Ownership::of_value(None), Ownership::ObjectWriter);
        for bits in 0..16 {
            let block = PublicAccessBlock::decode(&[bits]);
            assert_eq!(block.encode(), [bits]);
        }
        for bad in [&[][..], &[16], &[1, 1]] {
            assert_eq!(PublicAccessBlock::decode(bad).encode(), [15]);
        }
    }
}
