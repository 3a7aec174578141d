//! The `Principal` and `NotPrincipal` of a statement.
//!
//! A statement may name a user, or an account. To name an account in an Allow is to leave it to that
//! account: its root may, and its users may as far as their own policies allow it. In a Deny it means
//! the root and all users.

use super::condition::components;
use super::json::Json;
use super::statement::{Wrong, texts, wrong};
use crate::access::principal::Principal;

/// How a statement names the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    No,
    /// Through the account that it is a user of.
    ByAccount,
    /// As itself, or as one of all.
    Itself,
}

/// A set of principals. Services are accepted and left out: none of AWS's services asks here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrincipalSet {
    everybody: bool,
    /// The ids of accounts, of either kind.
    accounts: Vec<Box<str>>,
    /// The ARNs of users.
    users: Vec<Box<str>>,
}

/// Whom a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principals {
    /// Whoever holds the policy: a policy of an identity names nobody.
    Holder,
    Only(PrincipalSet),
    AllBut(PrincipalSet),
}

impl PrincipalSet {
    fn name(&self, principal: &Principal) -> Named {
        if self.everybody {
            return Named::Itself;
        }
        let Some(account) = principal.account() else { return Named::No };
        let has = |list: &[Box<str>], id: &str| list.iter().any(|listed| **listed == *id);
        let has_account =
            || has(&self.accounts, &account.account_id) || has(&self.accounts, &account.canonical_id);
        match principal {
            Principal::User(user) if has(&self.users, &user.arn) => Named::Itself,
            Principal::User(_) if has_account() => Named::ByAccount,
            Principal::Root(_) if has_account() => Named::Itself,
            _ => Named::No,
        }
    }
}

impl Principals {
    /// Returns how the one who asks is named. `NotPrincipal` leaves out whom it lists and nobody else:
    /// an account there is its root alone, not its users.
    pub fn name(&self, principal: &Principal) -> Named {
        match self {
            Self::Holder => Named::Itself,
            Self::Only(set) => set.name(principal),
            Self::AllBut(set) if set.name(principal) == Named::Itself => Named::No,
            Self::AllBut(_) => Named::Itself,
        }
    }

    /// Returns whether the statement is about everybody.
    pub fn are_everybody(&self) -> bool {
        match self {
            Self::Holder => false,
            Self::Only(set) => set.everybody,
            Self::AllBut(_) => true,
        }
    }

    /// Reads the element.
    pub fn parse(element: &'static str, value: &Json, negated: bool) -> Result<Self, Wrong> {
        let mut set = PrincipalSet::default();
        match value {
            Json::Text(text) if text == "*" => set.everybody = true,
            Json::Text(text) => {
                return Err(wrong(element, format!("{text:?} is not \"*\": write {{\"AWS\": {text:?}}}")));
            }
            Json::Object(kinds) if kinds.is_empty() => return Err(wrong(element, "it names nobody")),
            Json::Object(kinds) => {
                for (kind, value) in kinds {
                    add(element, kind, value, &mut set)?;
                }
            }
            other => {
                return Err(wrong(element, format!("it is {}; write \"*\" or {{\"AWS\": …}}", other.kind())));
            }
        }
        if negated && set.everybody {
            return Err(wrong(element, "\"*\" leaves nobody: name those who are left out"));
        }
        Ok(if negated { Self::AllBut(set) } else { Self::Only(set) })
    }
}

fn add(element: &'static str, kind: &str, value: &Json, set: &mut PrincipalSet) -> Result<(), Wrong> {
    let values = texts(element, value)?;
    match kind {
        "AWS" => values.into_iter().try_for_each(|text| add_aws(element, text, set)),
        "CanonicalUser" => {
            for id in values {
                let plausible = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
                if !plausible {
                    return Err(wrong(element, format!("{id:?} is no canonical id")));
                }
                set.accounts.push(id.into());
            }
            Ok(())
        }
        "Service" => {
            match values.iter().find(|text| !text.contains(".amazonaws.com") || text.contains(['*', '?'])) {
                None => Ok(()),
                Some(text) => {
                    Err(wrong(element, format!("{text:?} is no service such as logging.s3.amazonaws.com")))
                }
            }
        }
        "Federated" => Err(wrong(element, "this server has no federated users: remove \"Federated\"")),
        other => Err(wrong(element, format!("{other:?} is neither AWS, CanonicalUser nor Service"))),
    }
}

/// Adds `*`, an account's id, or the ARN of an account or a user.
fn add_aws(element: &'static str, text: &str, set: &mut PrincipalSet) -> Result<(), Wrong> {
    if text == "*" {
        set.everybody = true;
        return Ok(());
    }
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        set.accounts.push(text.into());
        return Ok(());
    }
    let refused = |problem: &str| Err(wrong(element, format!("{text:?}: {problem}")));
    let Some(["arn", "aws", "iam", "", account, who]) = components(text) else {
        return refused("write an account's 12 digits, or arn:aws:iam::ACCOUNT:root or …:user/NAME");
    };
    if text.contains(['*', '?', '$']) {
        return refused(
            "wildcards and variables are for \"*\" alone, and for a condition on aws:PrincipalArn",
        );
    }
    if !is_name(account) {
        return refused("an account stands between \"iam::\" and the next colon");
    }
    match who.split_once('/') {
        None if who == "root" => set.accounts.push(account.into()),
        Some(("user", name)) if !name.is_empty() && !name.ends_with('/') => set.users.push(text.into()),
        _ => {
            return refused(
                "this server has accounts (root) and users (user/NAME) alone, no roles or groups here",
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{account, user};
    use super::*;
    use std::sync::Arc;

    fn parse(text: &str) -> Result<Principals, Wrong> {
        Principals::parse("Principal", &Json::parse(text.as_bytes()).unwrap(), false)
    }

    fn all_but(text: &str) -> Principals {
        Principals::parse("NotPrincipal", &Json::parse(text.as_bytes()).unwrap(), true).unwrap()
    }

    fn bob() -> Principal {
        Principal::User(Arc::new(user("111122223333", "/team/", "bob")))
    }

    fn root() -> Principal {
        Principal::Root(account("111122223333"))
    }

    #[test]
    fn a_principal_is_named_as_itself_or_by_its_account() {
        for (text, of_anonymous, of_root, of_user) in [
            (r#""*""#, Named::Itself, Named::Itself, Named::Itself),
            (r#"{"AWS": "*"}"#, Named::Itself, Named::Itself, Named::Itself),
            (r#"{"AWS": "111122223333"}"#, Named::No, Named::Itself, Named::ByAccount),
            (r#"{"AWS": "arn:aws:iam::111122223333:root"}"#, Named::No, Named::Itself, Named::ByAccount),
            (r#"{"CanonicalUser": "canonical111122223333"}"#, Named::No, Named::Itself, Named::ByAccount),
            (r#"{"AWS": ["arn:aws:iam::111122223333:user/team/bob"]}"#, Named::No, Named::No, Named::Itself),
            (r#"{"AWS": "arn:aws:iam::111122223333:user/bob"}"#, Named::No, Named::No, Named::No),
            (r#"{"AWS": "arn:aws:iam::444455556666:root"}"#, Named::No, Named::No, Named::No),
            (r#"{"AWS": "arn:aws:iam::s3tenant1:root"}"#, Named::No, Named::No, Named::No),
            (r#"{"Service": "logging.s3.amazonaws.com"}"#, Named::No, Named::No, Named::No),
        ] {
            let principals = parse(text).unwrap();
            assert_eq!(principals.name(&Principal::Anonymous), of_anonymous, "{text}");
            assert_eq!(principals.name(&root()), of_root, "{text}");
            assert_eq!(principals.name(&bob()), of_user, "{text}");
        }
    }

    #[test]
    fn not_principal_leaves_out_whom_it_lists_alone() {
        let user = all_but(r#"{"AWS": "arn:aws:iam::111122223333:user/team/bob"}"#);
        assert_eq!((user.name(&bob()), user.name(&root())), (Named::No, Named::Itself));
        let account = all_but(r#"{"AWS": "111122223333"}"#);
        assert_eq!((account.name(&bob()), account.name(&root())), (Named::Itself, Named::No));
        assert_eq!(account.name(&Principal::Anonymous), Named::Itself);
    }

    #[test]
    fn what_names_nobody_of_this_server_is_refused() {
        for text in [
            r#""bob""#,
            r#"{}"#,
            r#"[]"#,
            r#"{"AWS": []}"#,
            r#"{"AWS": ""}"#,
            r#"{"AWS": "12345"}"#,
            r#"{"AWS": 111122223333}"#,
            r#"{"AWS": "arn:aws:iam:::user/bob"}"#,
            r#"{"AWS": "arn:aws:iam::111122223333:user/*"}"#,
            r#"{"AWS": "arn:aws:iam::111122223333:user/"}"#,
            r#"{"AWS": "arn:aws:iam::111122223333:role/admin"}"#,
            r#"{"AWS": "arn:aws:sts::111122223333:assumed-role/a/b"}"#,
            r#"{"aws": "*"}"#,
            r#"{"Federated": "accounts.google.com"}"#,
            r#"{"Service": "*"}"#,
            r#"{"CanonicalUser": "*"}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(Principals::parse("NotPrincipal", &Json::Text("*".to_owned()), true).is_err());
    }
}
