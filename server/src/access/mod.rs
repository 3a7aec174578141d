//! Who may do what: the language of policies, and the one place that judges a request.
//!
//! A policy is compiled when it is put or loaded ([`policy::Policy::parse`]), and what is not
//! understood is refused then. A request is judged by [`evaluator::authorize`] and nowhere else. It
//! knows no HTTP: what it needs of a request it asks of a [`policy::Context`].
//!
//! Deliberately absent: I/O, XML, the store of users and policies, and which operation asks for which
//! actions.

pub mod acl;
pub mod action;
pub mod evaluator;
#[cfg(test)]
mod oracle;
pub mod ownership;
pub mod policy;
pub mod principal;

pub use self::action::Action;
pub use self::evaluator::{AclGrant, Asked, Decision, Layer, Layers, NamedPolicy, Reason, authorize};
pub use self::policy::{ConditionKey, Context, Policy, PolicyError, PolicyKind, StatementName, Values};
pub use self::principal::{AccountNames, Principal, UserNames};
