//! The parameters of every operation.
//!
//! S3 tells operations apart by parameters of the query, and new ones appear every year: taken for
//! the plain operation on the same name, `DELETE /bucket/key?annotation` would delete the object.
//!
//! Invariant: a parameter is one that the chosen operation takes, or it means nothing to any
//! ([`means_nothing`]), or the request is refused: 400 for an argument of another operation, 501
//! for one that chooses an operation that is not known here.

use super::error::{invalid_argument, not_implemented};
use http::Method;
use s3s::{S3Result, s3_error};

/// What a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Service,
    Bucket,
    Object,
}

/// An operation, or several that differ only in the parameter that chooses them.
struct Operation {
    method: Method,
    level: Level,
    /// The parameters that choose an operation. If there are none, it is what a request without any
    /// of them asks for.
    chosen_by: &'static [&'static str],
    takes: &'static [&'static str],
}

/// The configurations of a bucket that S3 lets put, get and delete. Those that can not be put here
/// can be read and deleted, as none is set ([`super::configuration`]); a PUT of them is 501 before
/// anybody looks at its body.
const CONFIGURATIONS: &[&str] = &[
    "cors",
    "encryption",
    "lifecycle",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "replication",
    "tagging",
    "website",
];
/// The configurations of which a bucket has several, each with its id.
const NUMBERED: &[&str] = &["analytics", "intelligent-tiering", "inventory", "metrics"];
/// The settings that S3 lets put and get.
const SETTINGS: &[&str] =
    &["accelerate", "acl", "logging", "notification", "object-lock", "requestPayment", "versioning"];
/// The configurations and settings that can be put here.
const PUT_TO_BUCKETS: &[&str] = &[
    "acl",
    "cors",
    "lifecycle",
    "object-lock",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "tagging",
    "versioning",
    "website",
];
const OBJECT_DOCUMENTS: &[&str] = &["acl", "legal-hold", "retention", "tagging"];
const READS: &[&str] = &[
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "versionId",
];
const LISTS: &[&str] = &["delimiter", "encoding-type", "marker", "max-keys", "prefix"];
/// The parameters of ListObjectsV2. `metadata` asks for the users' metadata in the list, which S3
/// does not know: it is taken, and the list is as ever.
const LISTS_2: &[&str] = &[
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "max-keys",
    "metadata",
    "prefix",
    "start-after",
];
const LISTS_VERSIONS: &[&str] =
    &["delimiter", "encoding-type", "key-marker", "max-keys", "metadata", "prefix", "version-id-marker"];
const LISTS_UPLOADS: &[&str] =
    &["delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"];
const LISTS_BUCKETS: &[&str] = &["bucket-region", "continuation-token", "max-buckets", "prefix"];
const LISTS_PARTS: &[&str] = &["encoding-type", "max-parts", "part-number-marker"];
const VERSION: &[&str] = &["versionId"];

const fn operation(
    method: Method,
    level: Level,
    chosen_by: &'static [&'static str],
    takes: &'static [&'static str],
) -> Operation {
    Operation { method, level, chosen_by, takes }
}

/// All operations. `partNumber` chooses none: it is an argument of what `uploadId` chooses, and one
/// that a PUT must not lack.
const OPERATIONS: &[Operation] = &[
    operation(Method::GET, Level::Service, &[], LISTS_BUCKETS),
    operation(Method::HEAD, Level::Bucket, &[], &[]),
    operation(Method::GET, Level::Bucket, &[], LISTS),
    operation(Method::GET, Level::Bucket, &["list-type"], LISTS_2),
    operation(Method::GET, Level::Bucket, &["versions"], LISTS_VERSIONS),
    operation(Method::GET, Level::Bucket, &["uploads"], LISTS_UPLOADS),
    operation(Method::GET, Level::Bucket, &["location", "metadataTable", "policyStatus", "session"], &[]),
    operation(Method::GET, Level::Bucket, CONFIGURATIONS, &[]),
    operation(Method::GET, Level::Bucket, SETTINGS, &[]),
    operation(Method::GET, Level::Bucket, NUMBERED, &["continuation-token", "id"]),
    operation(Method::PUT, Level::Bucket, &[], &[]),
    operation(Method::PUT, Level::Bucket, PUT_TO_BUCKETS, &[]),
    operation(Method::POST, Level::Bucket, &["delete", "metadataTable"], &[]),
    operation(Method::DELETE, Level::Bucket, &[], &[]),
    operation(Method::DELETE, Level::Bucket, CONFIGURATIONS, &[]),
    operation(Method::DELETE, Level::Bucket, &["metadataTable"], &[]),
    operation(Method::DELETE, Level::Bucket, NUMBERED, &["id"]),
    operation(Method::HEAD, Level::Object, &[], READS),
    operation(Method::GET, Level::Object, &[], READS),
    operation(Method::GET, Level::Object, OBJECT_DOCUMENTS, VERSION),
    operation(Method::GET, Level::Object, &["attributes", "torrent"], VERSION),
    operation(Method::GET, Level::Object, &["uploadId"], LISTS_PARTS),
    operation(Method::PUT, Level::Object, &[], &[]),
    operation(Method::PUT, Level::Object, OBJECT_DOCUMENTS, VERSION),
    operation(Method::PUT, Level::Object, &["uploadId"], &["partNumber"]),
    operation(Method::POST, Level::Object, &["uploads", "uploadId"], &[]),
    operation(Method::POST, Level::Object, &["restore"], VERSION),
    operation(Method::POST, Level::Object, &["select"], &["select-type", "versionId"]),
    operation(Method::DELETE, Level::Object, &[], VERSION),
    operation(Method::DELETE, Level::Object, &["tagging"], VERSION),
    operation(Method::DELETE, Level::Object, &["uploadId"], &[]),
];

/// Returns whether a parameter means nothing to any operation: the SDKs' note of the operation's
/// name, what clients add for their own logs (S3 keeps names in `x-` free for that), and hints to
/// Ceph that ask for no more than what is the case here anyway.
pub fn means_nothing(name: &str) -> bool {
    let own = name.starts_with("x-") && !name.starts_with("x-amz-");
    own || matches!(name, "read-stats" | "allow-unordered")
}

/// Returns a name as messages show it, cut if it is long.
pub fn shown(name: &str) -> String {
    name.chars().take(60).collect()
}

/// Checks the parameters of a request, and removes those that its operation does not take. Each
/// name must be there once, and none that means nothing. Fails if they choose several operations or
/// none that is known.
pub fn check(method: &Method, level: Level, parameters: &mut Vec<(String, Option<String>)>) -> S3Result<()> {
    let known = |operation: &&Operation| operation.method == *method && operation.level == level;
    let has = |name: &str| parameters.iter().any(|(given, _)| given == name);
    let mut operations = OPERATIONS.iter().filter(known).peekable();
    if operations.peek().is_none() {
        // There is no such operation: s3s refuses it by its method.
        return Ok(());
    }
    let mut choices = operations
        .flat_map(|operation| operation.chosen_by.iter().map(move |name| (*name, operation)))
        .filter(|(name, _)| has(name));
    let (chooser, operation) = match (choices.next(), choices.next()) {
        (Some((one, _)), Some((other, _))) => {
            return Err(invalid_argument(format!("Conflicting query string parameters: {one}, {other}")));
        }
        (Some((name, operation)), None) => (Some(name), Some(operation)),
        (None, _) => (None, OPERATIONS.iter().filter(known).find(|operation| operation.chosen_by.is_empty())),
    };
    let taken = |name: &str| {
        Some(name) == chooser || operation.is_some_and(|operation| operation.takes.contains(&name))
    };
    for (name, value) in parameters.iter() {
        // An argument without a value counts as none.
        let idle = value.as_ref().is_some_and(String::is_empty) && is_argument(name);
        if !taken(name) && !idle {
            return Err(refusal(method, name));
        }
    }
    complete(method, level, chooser, parameters)?;
    parameters.retain(|(name, _)| taken(name));
    Ok(())
}

/// Checks the parameters that an operation demands beside the one that chooses it.
fn complete(
    method: &Method,
    level: Level,
    chooser: Option<&str>,
    parameters: &[(String, Option<String>)],
) -> S3Result<()> {
    let value = |name: &str| {
        let pair = parameters.iter().find(|(given, _)| given == name);
        pair.map(|(_, value)| value.as_deref().unwrap_or_default())
    };
    match chooser {
        Some("uploadId") if *method == Method::PUT && value("partNumber").is_none_or(str::is_empty) => {
            Err(s3_error!(MethodNotAllowed, "A PUT with the parameter uploadId needs partNumber too"))
        }
        Some("uploadId") if value("uploadId").is_none_or(str::is_empty) => {
            Err(invalid_argument("The parameter uploadId needs a value"))
        }
        Some("list-type") if value("list-type") != Some("2") => {
            Err(invalid_argument("Invalid List Type specified in request: it can only be 2"))
        }
        None if level == Level::Object && *method == Method::PUT && value("partNumber").is_some() => {
            Err(invalid_argument("The parameter partNumber needs uploadId"))
        }
        _ => Ok(()),
    }
}

/// Returns whether a name is an argument of some operation. An argument chooses none.
fn is_argument(name: &str) -> bool {
    OPERATIONS.iter().any(|operation| operation.takes.contains(&name))
}

fn refusal(method: &Method, name: &str) -> s3s::S3Error {
    match name {
        _ if is_argument(name) || name == "uploadId" || name == "list-type" => {
            invalid_argument(format!("This operation does not take the query parameter {name}"))
        }
        _ => not_implemented(&format!("{method} with the parameter {:?}", shown(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn judged(method: &str, query: &str, level: Level) -> Result<(), S3ErrorCode> {
        let mut pairs: Vec<(String, Option<String>)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (pair.to_owned(), None),
            })
            .collect();
        check(&method.parse().unwrap(), level, &mut pairs).map_err(|error| error.code().clone())
    }

    #[test]
    fn operations_of_another_year_or_server_are_not_taken_for_plain_ones() {
        for (method, query, level) in [
            ("DELETE", "annotation", Level::Object),
            ("DELETE", "metadataConfiguration", Level::Bucket),
            ("DELETE", "policy=", Level::Object),
            ("PUT", "renameObject", Level::Object),
            ("PUT", "encryption", Level::Object),
            ("PUT", "annotation=a", Level::Object),
            ("PUT", "abac", Level::Bucket),
            ("PUT", "versioning", Level::Object),
            ("PUT", "cors", Level::Object),
            ("PUT", "logging", Level::Bucket),
            ("PUT", "metrics&id=1", Level::Bucket),
            ("GET", "abac", Level::Bucket),
            ("GET", "events=", Level::Bucket),
            ("GET", "events=s3:ObjectCreated:*&prefix=&suffix=", Level::Bucket),
            ("GET", "events=s3:ObjectCreated:*", Level::Service),
            ("GET", "annotation=1", Level::Object),
            ("HEAD", "acl", Level::Object),
            ("HEAD", "anything=1", Level::Bucket),
            ("POST", "delete", Level::Object),
        ] {
            assert_eq!(judged(method, query, level), Err(S3ErrorCode::NotImplemented), "{method} {query}");
        }
    }

    #[test]
    fn an_argument_of_another_operation_is_refused() {
        for (method, query, level) in [
            ("PUT", "partNumber=1", Level::Object),
            ("PUT", "versionId=abc", Level::Object),
            ("PUT", "uploadId=u&partNumber=1&versionId=null", Level::Object),
            ("GET", "acl&tagging", Level::Object),
            ("PUT", "acl&partNumber=1&uploadId=u", Level::Object),
            ("PUT", "uploadId=&partNumber=1", Level::Object),
            ("POST", "uploads&uploadId=u", Level::Object),
            ("POST", "uploads&versionId=1", Level::Object),
            ("GET", "uploadId=u&partNumber=1", Level::Object),
            ("GET", "prefix=a", Level::Object),
            ("GET", "list-type=3", Level::Bucket),
            ("GET", "list-type=2&marker=a", Level::Bucket),
            ("GET", "start-after=a", Level::Bucket),
            ("GET", "versionId=1", Level::Bucket),
            ("DELETE", "partNumber=1", Level::Object),
            ("DELETE", "uploadId=u&versionId=1", Level::Object),
            ("DELETE", "versionId=1", Level::Bucket),
        ] {
            assert_eq!(judged(method, query, level), Err(S3ErrorCode::InvalidArgument), "{method} {query}");
        }
        for query in ["uploadId=u", "uploadId=u&partNumber="] {
            assert_eq!(judged("PUT", query, Level::Object), Err(S3ErrorCode::MethodNotAllowed), "{query}");
        }
    }

    #[test]
    fn known_operations_pass_with_what_they_take() {
        for (method, query, level) in [
            ("PUT", "", Level::Object),
            ("PUT", "partNumber=1&uploadId=u", Level::Object),
            ("PUT", "acl&versionId=null", Level::Object),
            ("POST", "uploads=", Level::Object),
            ("POST", "uploadId=u", Level::Object),
            ("POST", "delete", Level::Bucket),
            ("DELETE", "versionId=null", Level::Object),
            ("DELETE", "uploadId=u", Level::Object),
            ("DELETE", "analytics&id=1", Level::Bucket),
            ("PUT", "acl", Level::Bucket),
            ("PUT", "tagging", Level::Bucket),
            ("PUT", "cors", Level::Bucket),
            ("PUT", "website", Level::Bucket),
            ("PUT", "object-lock", Level::Bucket),
            ("PUT", "tagging&versionId=null", Level::Object),
            ("PUT", "retention", Level::Object),
            ("PUT", "legal-hold&versionId=1", Level::Object),
            ("GET", "versioning", Level::Bucket),
            ("GET", "list-type=2&prefix=&delimiter=&continuation-token=&marker=", Level::Bucket),
            ("GET", "versions&max-keys=2&encoding-type=url", Level::Bucket),
            ("GET", "list-type=2&metadata=true", Level::Bucket),
            ("GET", "versions&metadata=true", Level::Bucket),
            ("GET", "prefix=a&marker=b&max-keys=1", Level::Bucket),
            ("GET", "policy", Level::Bucket),
            ("GET", "versionId=null&response-content-type=&partNumber=1", Level::Object),
            ("GET", "uploadId=u&max-parts=1&encoding-type=url", Level::Object),
            ("GET", "attributes", Level::Object),
            ("GET", "max-buckets=1", Level::Service),
            ("HEAD", "partNumber=1", Level::Object),
            ("HEAD", "", Level::Bucket),
            ("OPTIONS", "anything", Level::Bucket),
        ] {
            assert_eq!(judged(method, query, level), Ok(()), "{method} {query}");
        }
    }

    #[test]
    fn what_clients_note_for_themselves_means_nothing() {
        for name in ["x-id", "x-trace", "x-request-source", "read-stats"] {
            assert!(means_nothing(name), "{name}");
        }
        for name in ["x-amz-acl", "id", "acl", "X-Amz-Signature", ""] {
            assert!(!means_nothing(name), "{name}");
        }
    }
}
