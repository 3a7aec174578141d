//! Access control lists: who is granted what on a bucket or an object, beside policies.
//!
//! Invariants:
//! - A list has an owner, who may always read and change it. The owner is not in the list.
//! - A list that can not be read grants nothing.
//! - Grants name accounts by canonical id, and groups by their address; addresses of e-mail are
//!   refused, as S3 does since 2025.

use super::evaluator::AclGrant;
use std::fmt;

/// The most grants of a list, as S3 limits them.
pub const GRANTS_MAX: usize = 100;
/// The name of the attribute of an object's list, where it grants more than all to the owner.
pub const ATTRIBUTE: &str = ":acl";
/// The name of the attribute of an object's owner, where it is not the bucket's.
pub const OWNER_ATTRIBUTE: &str = ":owner";

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl];

    /// Returns the name that S3 has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    /// Returns the permission of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }

    /// Returns the header by which a request grants it.
    pub fn header(self) -> &'static str {
        match self {
            Self::Read => "x-amz-grant-read",
            Self::Write => "x-amz-grant-write",
            Self::ReadAcp => "x-amz-grant-read-acp",
            Self::WriteAcp => "x-amz-grant-write-acp",
            Self::FullControl => "x-amz-grant-full-control",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Read => 'R',
            Self::Write => 'W',
            Self::ReadAcp => 'r',
            Self::WriteAcp => 'w',
            Self::FullControl => 'F',
        }
    }

    fn covers(self, asked: Self) -> bool {
        self == asked || self == Self::FullControl
    }
}

/// Whom a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// An account, by its canonical id.
    Account(String),
    /// Everybody, signed or not.
    AllUsers,
    /// Everybody who signs.
    AuthenticatedUsers,
    /// The writer of access logs, which S3 has as a group.
    LogDelivery,
}

const GROUPS: [(&str, &str, Grantee); 3] = [
    ("all", "http://acs.amazonaws.com/groups/global/AllUsers", Grantee::AllUsers),
    ("auth", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers", Grantee::AuthenticatedUsers),
    ("log", "http://acs.amazonaws.com/groups/s3/LogDelivery", Grantee::LogDelivery),
];

impl Grantee {
    /// Returns the group with this address.
    pub fn group(uri: &str) -> Option<Self> {
        GROUPS.into_iter().find(|(_, known, _)| *known == uri).map(|(_, _, group)| group)
    }

    /// Returns the address of a group, or None for an account.
    pub fn uri(&self) -> Option<&'static str> {
        GROUPS.iter().find(|(.., group)| group == self).map(|(_, uri, _)| *uri)
    }

    fn includes(&self, caller: Option<&str>) -> bool {
        match self {
            Self::Account(id) => caller == Some(id),
            Self::AllUsers => true,
            Self::AuthenticatedUsers => caller.is_some(),
            Self::LogDelivery => false,
        }
    }

    fn is_public(&self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: Permission,
}

impl Grant {
    /// Makes a grant to an account.
    pub fn to(id: &str, permission: Permission) -> Self {
        Self { grantee: Grantee::Account(id.to_owned()), permission }
    }
}

/// A list of grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    pub grants: Vec<Grant>,
}

/// The canned lists of S3 by name.
pub const CANNED: [&str; 8] = [
    "private",
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "bucket-owner-full-control",
    "log-delivery-write",
];

impl Acl {
    /// Returns the list of what nobody but its owner may touch.
    pub fn private(owner: &str) -> Self {
        Self { grants: vec![Grant::to(owner, Permission::FullControl)] }
    }

    /// Returns the canned list of this name, or None if there is none. `bucket_owner` is the owner of
    /// the bucket that an object is in, and the owner itself for the list of a bucket.
    pub fn canned(name: &str, owner: &str, bucket_owner: &str) -> Option<Self> {
        let mut acl = Self::default();
        let mut grant = |grantee, permission| acl.grants.push(Grant { grantee, permission });
        let other = || Grantee::Account(bucket_owner.to_owned());
        match name {
            "private" | "aws-exec-read" => {}
            "public-read" => grant(Grantee::AllUsers, Permission::Read),
            "public-read-write" => {
                grant(Grantee::AllUsers, Permission::Read);
                grant(Grantee::AllUsers, Permission::Write);
            }
            "authenticated-read" => grant(Grantee::AuthenticatedUsers, Permission::Read),
            "bucket-owner-read" if owner != bucket_owner => grant(other(), Permission::Read),
            "bucket-owner-full-control" if owner != bucket_owner => grant(other(), Permission::FullControl),
            "bucket-owner-read" | "bucket-owner-full-control" => {}
            "log-delivery-write" => {
                grant(Grantee::LogDelivery, Permission::Write);
                grant(Grantee::LogDelivery, Permission::ReadAcp);
            }
            _ => return None,
        }
        acl.grants.push(Grant::to(owner, Permission::FullControl));
        Some(acl)
    }

    /// Returns to whom the list grants a permission: to a caller by the canonical id of the account,
    /// or to a group that the caller is in. A caller without a signature has no id. Grants to
    /// everybody count unless they are to be ignored.
    pub fn grant_of(&self, caller: Option<&str>, asked: Permission, ignores_public: bool) -> AclGrant {
        let counts = |grant: &&Grant| {
            grant.permission.covers(asked)
                && grant.grantee.includes(caller)
                && !(ignores_public && grant.grantee.is_public())
        };
        let mut counting = self.grants.iter().filter(counts).peekable();
        match (counting.peek().is_some(), counting.any(|grant| grant.grantee.is_public())) {
            (false, _) => AclGrant::Nobody,
            (true, true) => AclGrant::Group,
            (true, false) => AclGrant::Account,
        }
    }

    /// Returns whether the list grants anything to everybody, or to everybody who signs.
    pub fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.grantee.is_public())
    }

    /// Returns whether the list grants something to anybody but this owner.
    pub fn shares(&self, owner: &str) -> bool {
        self.grants.iter().any(|grant| grant.grantee != Grantee::Account(owner.to_owned()))
    }

    /// Reads a list as it is stored. One that can not be read grants nothing.
    pub fn decode(text: &str) -> Self {
        Self::try_decode(text).unwrap_or_default()
    }

    fn try_decode(text: &str) -> Option<Self> {
        let grant = |word: &str| {
            let letter = word.chars().next()?;
            let permission = Permission::ALL.into_iter().find(|known| known.letter() == letter)?;
            let rest = &word[1..];
            let grantee = match rest.strip_prefix('=') {
                Some(id) if !id.is_empty() => Grantee::Account(id.to_owned()),
                Some(_) => return None,
                None => GROUPS.into_iter().find(|(name, ..)| rest.strip_prefix('@') == Some(*name))?.2,
            };
            Some(Grant { grantee, permission })
        };
        let grants = text.split_ascii_whitespace().map(grant).collect::<Option<Vec<_>>>()?;
        Some(Self { grants })
    }
}

impl fmt::Display for Acl {
    /// Writes the list as it is stored: for each grant a letter, and `=` with an id or `@` with the
    /// name of a group. Canonical ids have no white space.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, grant) in self.grants.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            let letter = grant.permission.letter();
            match &grant.grantee {
                Grantee::Account(id) => write!(formatter, "{space}{letter}={id}")?,
                group => {
                    let name = GROUPS.iter().find(|(.., known)| known == group).map_or("", |(name, ..)| name);
                    write!(formatter, "{space}{letter}@{name}")?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the grantees of a header such as `x-amz-grant-read`: `id="…", uri="…"`. Each is given as the
/// name of its kind and its value. Returns None if it is malformed.
pub fn grantees_of_header(text: &str) -> Option<Vec<(&str, &str)>> {
    text.split(',')
        .map(|part| {
            let (kind, value) = part.trim().split_once('=')?;
            let value = value.trim();
            let bare = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
            (!bare.is_empty()).then_some((kind.trim(), bare))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canned_lists_are_those_of_s3() {
        let show = |name| Acl::canned(name, "o", "b").map(|acl| acl.to_string());
        for (name, shown) in [
            ("private", "F=o"),
            ("aws-exec-read", "F=o"),
            ("public-read", "R@all F=o"),
            ("public-read-write", "R@all W@all F=o"),
            ("authenticated-read", "R@auth F=o"),
            ("bucket-owner-read", "R=b F=o"),
            ("bucket-owner-full-control", "F=b F=o"),
            ("log-delivery-write", "W@log r@log F=o"),
        ] {
            assert_eq!(show(name).as_deref(), Some(shown), "{name}");
        }
        assert_eq!(show("public"), None);
        assert_eq!(CANNED.map(show).iter().filter(|shown| shown.is_none()).count(), 0);
        assert_eq!(Acl::canned("bucket-owner-read", "o", "o"), Some(Acl::private("o")));
    }

    #[test]
    fn lists_come_back_and_what_can_not_be_read_grants_nothing() {
        for name in CANNED {
            let acl = Acl::canned(name, "o", "b").expect(name);
            assert_eq!(Acl::decode(&acl.to_string()), acl);
        }
        for bad in ["x=o", "F", "F=", "F@", "F@everybody", "F=o R@", "é=o", "R@all,F=o"] {
            assert_eq!(Acl::decode(bad), Acl::default(), "{bad}");
        }
    }

    #[test]
    fn a_grant_is_for_whom_it_names_and_full_control_is_all() {
        let acl = Acl::decode("R@all W@auth r=a F=b");
        let allows = |caller, asked| acl.grant_of(caller, asked, false) != AclGrant::Nobody;
        assert!(allows(None, Permission::Read) && !allows(None, Permission::Write));
        assert!(allows(Some("c"), Permission::Write) && !allows(Some("c"), Permission::ReadAcp));
        assert!(allows(Some("a"), Permission::ReadAcp) && !allows(Some("a"), Permission::WriteAcp));
        assert!(Permission::ALL.into_iter().all(|asked| allows(Some("b"), asked)));
        let private = |caller| acl.grant_of(Some(caller), Permission::Read, true);
        assert_eq!((private("a"), private("b")), (AclGrant::Nobody, AclGrant::Account));
        assert_eq!(acl.grant_of(Some("b"), Permission::Read, false), AclGrant::Group);
        assert!(acl.is_public() && acl.shares("b"));
        assert!(!Acl::private("b").is_public() && !Acl::private("b").shares("b"));
        let log = Acl::decode("W@log").grant_of(Some("c"), Permission::Write, false);
        assert_eq!(log, AclGrant::Nobody);
    }

    #[test]
    fn headers_name_grantees() {
        let header = "id=\"a b\", uri = http://x/y ,emailAddress=\"e@f\"";
        let wanted = vec![("id", "a b"), ("uri", "http://x/y"), ("emailAddress", "e@f")];
        assert_eq!(grantees_of_header(header), Some(wanted));
        for bad in ["", "id", "id=", "id=\"", "id=\"a", "id=a,", ","] {
            assert_eq!(grantees_of_header(bad), None, "{bad}");
        }
    }
}
