//! Who asks.

use std::fmt;
use std::sync::Arc;

/// The names of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountNames {
    /// The 12 digits that ARNs and policies have.
    pub account_id: String,
    /// The id that buckets, objects and ACLs have for their owners.
    pub canonical_id: String,
    pub display_name: String,
}

/// The names of a user of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNames {
    pub account: Arc<AccountNames>,
    /// What `aws:username` is.
    pub name: String,
    /// Begins and ends with `/`.
    pub path: String,
    /// What `aws:userid` is. It is never used again for another user.
    pub id: String,
    /// `arn:aws:iam::<account id>:user<path><name>`.
    pub arn: String,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Anybody: the request has no signature.
    Anonymous,
    /// The account itself, which may do all that is not denied to it.
    Root(Arc<AccountNames>),
    /// A user, who may do what policies allow.
    User(Arc<UserNames>),
}

impl Principal {
    /// Returns the account. None: anonymous.
    pub fn account(&self) -> Option<&AccountNames> {
        match self {
            Self::Anonymous => None,
            Self::Root(account) => Some(account),
            Self::User(user) => Some(&user.account),
        }
    }
}

impl fmt::Display for Principal {
    /// Writes the ARN, or `anonymous`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => formatter.write_str("anonymous"),
            Self::Root(account) => write!(formatter, "arn:aws:iam::{}:root", account.account_id),
            Self::User(user) => formatter.write_str(&user.arn),
        }
    }
}
