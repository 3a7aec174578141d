//! The policy of an upload form: what the signer lets the form say.
//!
//! Invariant: a policy that does not parse as a whole is refused (400). With one that parses, every
//! field of the form meets it, or the upload is denied (403). No condition is skipped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};
use serde_json::Value;

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Equals { name: String, value: String },
    StartsWith { name: String, prefix: String },
    Length { least: u64, most: u64 },
}

/// The policy of an upload form.
#[derive(Debug)]
pub struct Policy {
    expires_s: i64,
    conditions: Vec<Condition>,
}

fn invalid(reason: impl std::fmt::Display) -> S3Error {
    s3_error!(
        InvalidPolicyDocument,
        "The content of the form does not meet the conditions of a policy document: {reason}"
    )
}

fn denied(reason: impl std::fmt::Display) -> S3Error {
    s3_error!(AccessDenied, "Invalid according to Policy: {reason}")
}

/// Returns whether a field needs no condition: those that carry the policy itself, and a checksum,
/// which can only make the upload stricter.
fn is_exempt(name: &str) -> bool {
    matches!(name, "awsaccesskeyid" | "signature" | "policy" | "x-amz-signature" | "file")
        || name.starts_with("x-ignore-")
        || name.starts_with("x-amz-checksum-")
        || name == "x-amz-sdk-checksum-algorithm"
}

impl Policy {
    /// Parses the field of a form, which is base64 of JSON. Fails if any of it is invalid.
    pub fn parse(field: &str) -> S3Result<Self> {
        let bytes = BASE64.decode(field.trim()).map_err(|_| invalid("it is not base64"))?;
        let document: Value = serde_json::from_slice(&bytes).map_err(invalid)?;
        let expiration =
            document.get("expiration").and_then(Value::as_str).ok_or_else(|| invalid("no expiration"))?;
        // The parser takes anything between date and time; S3 does not.
        let expires = Some(expiration)
            .filter(|text| text.as_bytes().get(10) == Some(&b'T'))
            .and_then(|text| Timestamp::parse(TimestampFormat::DateTime, text).ok())
            .ok_or_else(|| invalid("expiration is not an ISO 8601 date"))?;
        let expires: time::OffsetDateTime = expires.into();
        let list =
            document.get("conditions").and_then(Value::as_array).ok_or_else(|| invalid("no conditions"))?;
        let mut conditions = Vec::new();
        for entry in list {
            parse_condition(entry, &mut conditions)?;
        }
        Ok(Self { expires_s: expires.unix_timestamp(), conditions })
    }

    /// Checks the fields of a form, with names in lower case and the bucket among them. `now_s` is
    /// Unix time. Fails if the policy has expired, a condition does not hold, or a field has none.
    /// The length of the file, which has not come, is left to [`Policy::lengths`].
    pub fn check(&self, fields: &[(String, String)], now_s: i64) -> S3Result<()> {
        if now_s >= self.expires_s {
            return Err(denied("Policy expired."));
        }
        let value =
            |name: &str| fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        for condition in &self.conditions {
            match condition {
                Condition::Equals { name, value: wanted } if value(name) != wanted => {
                    return Err(denied(format!(
                        "Policy Condition failed: [\"eq\", \"${name}\", \"{wanted}\"]"
                    )));
                }
                Condition::StartsWith { name, prefix } if !starts_with(name, value(name), prefix) => {
                    return Err(denied(format!(
                        "Policy Condition failed: [\"starts-with\", \"${name}\", \"{prefix}\"]"
                    )));
                }
                _ => {}
            }
        }
        match fields.iter().find(|(name, _)| !is_exempt(name) && !self.names(name)) {
            Some((extra, _)) => Err(denied(format!("Extra input fields: {extra}"))),
            None => Ok(()),
        }
    }

    /// Returns the least and the most bytes that the file may have.
    pub fn lengths(&self) -> (u64, u64) {
        self.conditions.iter().fold((0, u64::MAX), |(low, high), condition| match condition {
            Condition::Length { least, most } => (low.max(*least), high.min(*most)),
            _ => (low, high),
        })
    }

    fn names(&self, field: &str) -> bool {
        self.conditions.iter().any(|condition| match condition {
            Condition::Equals { name, .. } | Condition::StartsWith { name, .. } => name == field,
            Condition::Length { .. } => false,
        })
    }
}

/// Returns whether a value begins with `prefix`. S3 takes a content type with commas for a list,
/// and each of it must begin so.
fn starts_with(name: &str, value: &str, prefix: &str) -> bool {
    match name {
        "content-type" => value.split(',').all(|one| one.trim().starts_with(prefix)),
        _ => value.starts_with(prefix),
    }
}

fn parse_condition(entry: &Value, conditions: &mut Vec<Condition>) -> S3Result<()> {
    match entry {
        Value::Object(pairs) if !pairs.is_empty() => {
            for (name, value) in pairs {
                let value =
                    value.as_str().ok_or_else(|| invalid(format!("the value of {name} is not text")))?;
                conditions
                    .push(Condition::Equals { name: name.to_ascii_lowercase(), value: value.to_owned() });
            }
            Ok(())
        }
        Value::Array(items) => {
            let [operator, first, second] = items.as_slice() else {
                return Err(invalid(format!("a condition has three members, not {}", items.len())));
            };
            conditions.push(parse_operator(operator, first, second)?);
            Ok(())
        }
        _ => Err(invalid("a condition is empty or neither an object nor a list")),
    }
}

fn parse_operator(operator: &Value, first: &Value, second: &Value) -> S3Result<Condition> {
    let operator = operator.as_str().unwrap_or_default().to_ascii_lowercase();
    if operator == "content-length-range" {
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let (Some(least), Some(most)) = (number(first), number(second)) else {
            return Err(invalid("content-length-range takes two numbers of bytes"));
        };
        return Ok(Condition::Length { least, most });
    }
    let name = first.as_str().and_then(|name| name.strip_prefix('$')).map(str::to_ascii_lowercase);
    let (Some(name), Some(value)) = (name, second.as_str().map(str::to_owned)) else {
        return Err(invalid(format!("{operator} takes a field with $ before its name, and a text")));
    };
    match operator.as_str() {
        "eq" => Ok(Condition::Equals { name, value }),
        "starts-with" => Ok(Condition::StartsWith { name, prefix: value }),
        _ => Err(invalid(format!("unknown condition {operator}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    const DATE: &str = r#""expiration":"2030-01-01T00:00:00Z""#;

    fn policy(json: &str) -> Result<Policy, S3ErrorCode> {
        Policy::parse(&BASE64.encode(json)).map_err(|error| error.code().clone())
    }

    fn check(conditions: &str, fields: &[(&str, &str)]) -> Option<S3ErrorCode> {
        let policy = policy(&format!("{{{DATE},\"conditions\":[{conditions}]}}")).unwrap();
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        policy.check(&fields, 0).err().map(|error| error.code().clone())
    }

    #[test]
    fn conditions_are_met_by_every_field() {
        let conditions = r#"{"BucKet":"b"},["StArTs-with","$KeY","foo"],["eq","$acl","private"]"#;
        let fields = [("bucket", "b"), ("key", "foo.txt"), ("acl", "private")];
        assert_eq!(check(conditions, &fields), None);
        assert_eq!(check(conditions, &fields[..2]), Some(S3ErrorCode::AccessDenied));
        let extra = [fields[0], fields[1], fields[2], ("x-amz-meta-a", "1")];
        assert_eq!(check(conditions, &extra), Some(S3ErrorCode::AccessDenied));
        let ignored = [fields[0], fields[1], fields[2], ("x-ignore-a", "1"), ("policy", "p")];
        assert_eq!(check(conditions, &ignored), None);
        let other = [("bucket", "b"), ("key", "bar"), ("acl", "private")];
        assert_eq!(check(conditions, &other), Some(S3ErrorCode::AccessDenied));
    }

    #[test]
    fn lengths() {
        let lengths = |conditions: &str| {
            policy(&format!("{{{DATE},\"conditions\":[{conditions}]}}")).unwrap().lengths()
        };
        assert_eq!(lengths(""), (0, u64::MAX));
        let range = r#"["content-length-range",2,4]"#;
        assert_eq!(lengths(range), (2, 4));
        assert_eq!(lengths(&format!(r#"{range},["content-length-range","3","9"]"#)), (3, 4));
        assert_eq!(check(range, &[]), None);
    }

    #[test]
    fn each_of_a_list_of_content_types_is_judged() {
        let images = r#"["starts-with","$Content-Type","image/"]"#;
        for good in ["image/png", "image/png,image/gif", "image/png, image/gif"] {
            assert_eq!(check(images, &[("content-type", good)]), None, "{good}");
        }
        for bad in ["text/html", "image/png,text/html", "image/png,", "text/html,image/png", ""] {
            assert_eq!(check(images, &[("content-type", bad)]), Some(S3ErrorCode::AccessDenied), "{bad}");
        }
        let other = r#"["starts-with","$x-amz-meta-a","image/"]"#;
        assert_eq!(check(other, &[("x-amz-meta-a", "image/png,text/html")]), None, "no list there");
    }

    #[test]
    fn a_policy_parses_in_whole_or_not_at_all() {
        assert!(policy(&format!("{{{DATE},\"conditions\":[]}}")).is_ok());
        for bad in [
            "no json".to_owned(),
            r#"{"conditions":[]}"#.to_owned(),
            format!("{{{DATE}}}"),
            format!("{{{DATE},\"CONDITIONS\":[]}}"),
            r#"{"expiration":"soon","conditions":[]}"#.to_owned(),
            r#"{"expiration":"2030-01-01 00:00:00Z","conditions":[]}"#.to_owned(),
            format!("{{{DATE},\"conditions\":[{{}}]}}"),
            format!("{{{DATE},\"conditions\":[[\"content-length-range\",0]]}}"),
            format!("{{{DATE},\"conditions\":[[\"content-length-range\",-1,0]]}}"),
            format!("{{{DATE},\"conditions\":[[\"ends-with\",\"$key\",\"a\"]]}}"),
            format!("{{{DATE},\"conditions\":[[\"eq\",\"key\",\"a\"]]}}"),
        ] {
            assert_eq!(policy(&bad).err(), Some(S3ErrorCode::InvalidPolicyDocument), "{bad}");
        }
    }

    #[test]
    fn an_expired_policy_is_denied() {
        let policy = policy(&format!("{{{DATE},\"conditions\":[]}}")).unwrap();
        assert!(policy.check(&[], 1_893_455_999).is_ok());
        assert!(policy.check(&[], 1_893_456_000).is_err());
    }
}
