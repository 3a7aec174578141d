//! Managed policies that every account has: those of MinIO and of AWS by their names.

use crate::access::NamedPolicy;
use crate::access::policy::{Policy, PolicyKind};
use std::sync::{Arc, LazyLock};

/// Names and documents. Those of MinIO do what they do there: `readonly` gets objects and lists nothing.
const DOCUMENTS: [(&str, &str); 5] = [
    (
        "readonly",
        r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":["s3:GetBucketLocation","s3:GetObject"],"Resource":"arn:aws:s3:::*"}]}"#,
    ),
    (
        "readwrite",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::*"}]}"#,
    ),
    (
        "writeonly",
        r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"s3:PutObject","Resource":"arn:aws:s3:::*"}]}"#,
    ),
    (
        "AmazonS3FullAccess",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#,
    ),
    (
        "AmazonS3ReadOnlyAccess",
        r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*"],"Resource":"*"}]}"#,
    ),
];
/// What stands before the names of AWS's own policies in their ARNs.
const AWS: &str = "arn:aws:iam::aws:policy/";

static COMPILED: LazyLock<Vec<Arc<NamedPolicy>>> =
    LazyLock::new(|| DOCUMENTS.iter().map(|(name, document)| compiled(name, document)).collect());

fn compiled(name: &str, document: &str) -> Arc<NamedPolicy> {
    match Policy::parse(document.as_bytes(), PolicyKind::Identity) {
        Ok(policy) => Arc::new(NamedPolicy { name: name.to_owned(), policy }),
        Err(error) => panic!("the policy {name:?} of this program: {error}"),
    }
}

/// Returns the name of a managed policy that an ARN of AWS may stand for.
pub fn plain_name(name: &str) -> &str {
    name.strip_prefix(AWS).unwrap_or(name)
}

/// Returns the policy of this name, if every account has it.
pub fn find(name: &str) -> Option<&'static Arc<NamedPolicy>> {
    COMPILED.iter().find(|named| named.name == name)
}

/// Returns the document of the policy of this name, if every account has it.
pub fn document(name: &str) -> Option<&'static str> {
    DOCUMENTS.iter().find(|(known, _)| *known == name).map(|(_, document)| *document)
}

/// Returns the names of all.
pub fn names() -> impl Iterator<Item = &'static str> {
    DOCUMENTS.iter().map(|(name, _)| *name)
}

/// Makes the policy that stands for one that can not be loaded: it denies everything.
pub fn deny_all(name: &str) -> Arc<NamedPolicy> {
    const DENY: &str = r#"{"Version":"2012-10-17","Statement":
        {"Sid":"CanNotBeLoaded","Effect":"Deny","Action":"*","Resource":"*"}}"#;
    compiled(name, DENY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_understood() {
        for name in names() {
            assert_eq!(find(name).expect("it is there").name, name);
            assert!(document(name).is_some());
        }
        assert!(find("admin").is_none());
        assert_eq!(plain_name("arn:aws:iam::aws:policy/AmazonS3FullAccess"), "AmazonS3FullAccess");
        assert_eq!(deny_all("gone").name, "gone");
    }
}
