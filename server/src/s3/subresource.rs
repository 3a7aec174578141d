//! Refuses operations that this server does not know.
//!
//! S3 tells operations apart by parameters of the query, and new ones appear every year: taken for the
//! plain operation on the same name, `DELETE /bucket/key?annotation` would delete the object.
//! Invariant: a request that writes and has a parameter not listed here answers 501, and so does one that
//! reads and names an unlisted subresource (a parameter without a value). Others are ignored, as S3 does.

use super::error::not_implemented;
use http::{Method, Uri};
use s3s::S3Result;

/// Parameters of writes to an object, by method.
const PUT_OBJECT: &[&str] =
    &["acl", "legal-hold", "partNumber", "retention", "tagging", "uploadId", "versionId"];
const POST_OBJECT: &[&str] = &["restore", "select", "select-type", "uploadId", "uploads", "versionId"];
const DELETE_OBJECT: &[&str] = &["tagging", "uploadId", "versionId"];
const GET_OBJECT: &[&str] =
    &["acl", "attributes", "legal-hold", "retention", "tagging", "torrent", "uploadId"];

/// Configurations of a bucket that can be put, got and deleted.
const CONFIGURATIONS: &[&str] = &[
    "analytics",
    "cors",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "lifecycle",
    "metrics",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "tagging",
    "website",
];
/// Those that can be put and got.
const SETTINGS: &[&str] =
    &["accelerate", "acl", "logging", "notification", "object-lock", "requestPayment", "versioning"];
const GET_BUCKET: &[&str] = &["location", "metadataTable", "policyStatus", "session", "uploads", "versions"];

/// `has_key`: the request names an object, not only a bucket.
pub fn check(method: &Method, uri: &Uri, has_key: bool) -> S3Result<()> {
    let Some(query) = uri.query() else { return Ok(()) };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if reads && (!value.is_empty() || is_parameter_of_reads(name)) || is_listed(method, name, has_key) {
            continue;
        }
        return Err(not_implemented(&format!("{method} with the parameter {:?}", shown(name))));
    }
    Ok(())
}

fn shown(name: &str) -> String {
    name.chars().take(60).collect()
}

/// What may be empty without naming a subresource.
fn is_parameter_of_reads(name: &str) -> bool {
    name.starts_with("response-")
        || matches!(
            name,
            "prefix"
                | "delimiter"
                | "marker"
                | "start-after"
                | "continuation-token"
                | "key-marker"
                | "upload-id-marker"
                | "version-id-marker"
                | "encoding-type"
                | "max-keys"
                | "max-uploads"
                | "max-parts"
                | "max-buckets"
                | "part-number-marker"
                | "partNumber"
                | "fetch-owner"
                | "list-type"
                | "bucket-region"
                | "versionId"
                | "id"
        )
}

fn is_listed(method: &Method, name: &str, has_key: bool) -> bool {
    // The SDKs' note of the operation's name, and what signatures and headers say in the query.
    if name == "x-id" || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) {
        return true;
    }
    match (*method == Method::PUT, *method == Method::POST, *method == Method::DELETE, has_key) {
        (true, _, _, true) => PUT_OBJECT.contains(&name),
        (_, true, _, true) => POST_OBJECT.contains(&name),
        (_, _, true, true) => DELETE_OBJECT.contains(&name),
        (_, _, _, true) => GET_OBJECT.contains(&name),
        (true, _, _, false) => name == "id" || CONFIGURATIONS.contains(&name) || SETTINGS.contains(&name),
        (_, true, _, false) => matches!(name, "delete" | "metadataTable"),
        (_, _, true, false) => matches!(name, "id" | "metadataTable") || CONFIGURATIONS.contains(&name),
        (_, _, _, false) => [CONFIGURATIONS, SETTINGS, GET_BUCKET].iter().any(|names| names.contains(&name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(method: &str, uri: &str, has_key: bool) -> bool {
        check(&method.parse().unwrap(), &uri.parse().unwrap(), has_key).is_ok()
    }

    #[test]
    fn operations_of_another_year_are_not_taken_for_plain_ones() {
        for (method, query, has_key) in [
            ("DELETE", "annotation", true),
            ("DELETE", "metadataConfiguration", false),
            ("PUT", "renameObject", true),
            ("PUT", "encryption", true),
            ("PUT", "annotation=a", true),
            ("PUT", "abac", false),
            ("GET", "abac", false),
            ("GET", "annotation&x-id=GetObjectAnnotation", true),
            ("POST", "delete", true),
        ] {
            assert!(!passes(method, &format!("/b/k?{query}"), has_key), "{method} {query}");
        }
    }

    #[test]
    fn known_operations_and_harmless_parameters_pass() {
        for (method, query, has_key) in [
            ("PUT", "", true),
            ("PUT", "partNumber=1&uploadId=u&x-id=UploadPart", true),
            ("POST", "uploads=", true),
            ("POST", "delete", false),
            ("DELETE", "versionId=null", true),
            ("DELETE", "analytics&id=1", false),
            ("PUT", "versioning", false),
            ("PUT", "x-amz-meta-a=b&X-Amz-Acl=private", true),
            ("GET", "list-type=2&prefix=&delimiter=&continuation-token=", false),
            ("GET", "versions&max-keys=2&encoding-type=url", false),
            ("GET", "anything=1&response-content-type=", true),
            ("HEAD", "read-stats=true", false),
        ] {
            assert!(passes(method, &format!("/b/k?{query}"), has_key), "{method} {query}");
        }
    }
}
