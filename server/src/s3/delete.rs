//! DeleteObject and DeleteObjects.
//!
//! Invariants:
//! - Deleting what does not exist succeeds, with or without conditions.
//! - A version that is named is removed for good. Where the bucket keeps versions, a delete that names
//!   none adds a delete marker, and the answer says so.
//! - The list of a DeleteObjects comes from the request's extensions, which exists only once its Content-MD5 or
//!   checksum was compared.

use super::Server;
use super::access::Caller;
use super::conditional::{bare_etag, parse_etags, timestamp_s};
use super::error::{EngineResult, invalid_request};
use super::judge::OnKey;
use super::version::Named;
use super::xml_reader::{XmlReader, malformed, set, unknown};
use futures_util::StreamExt;
use ringbolt_engine::types::{Bucket, Deleted, Deletion, WriteCondition};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result};
use std::sync::Arc;

/// The most keys of one request, as S3 limits them.
const KEYS_MAX: usize = 1000;
/// How many bytes of a key or version are kept, and come back in the answer. No object has so many,
/// so that a name that was cut is refused as the whole one would be.
const NAME_BYTES_KEPT: usize = 1025;
/// The most deletes of one request that are in flight at once, so that they share group commits.
const CONCURRENT_MAX: usize = 64;

/// Answers DeleteObject.
pub async fn delete_object(
    server: &Server,
    mut request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let condition = WriteCondition {
        if_match: caller.lenient.conditions.if_match.as_deref().map(parse_etags),
        if_none_match: None,
        if_modified_time_s: input.if_match_last_modified_time.as_ref().map(condition_time).transpose()?,
        if_size_bytes: input.if_match_size.map(condition_size).transpose()?,
    };
    let named = (input.key.as_str(), input.version_id.as_deref());
    let on = OnKey::new(named.0, named.1);
    server.allow_condition(&caller, &bucket, on, caller.lenient.conditions.if_match.as_deref()).await?;
    let bypass_governance = server.may_bypass(&caller, &bucket, &input.key);
    let outcome = delete(server, &bucket, named, (condition, bypass_governance)).await?;
    let output = DeleteObjectOutput {
        delete_marker: outcome.is_marker.then_some(true),
        version_id: outcome.version_id,
        ..DeleteObjectOutput::default()
    };
    Ok(S3Response::new(output))
}

fn condition_time(time: &Timestamp) -> S3Result<u64> {
    timestamp_s(time).ok_or_else(|| invalid_request("The time of a condition lies before 1970"))
}

fn condition_size(size: i64) -> S3Result<u64> {
    u64::try_from(size).map_err(|_| invalid_request("The size of a condition is negative"))
}

/// What became of a delete, as the answer says it.
#[derive(Debug, Default)]
struct Outcome {
    /// The version that was removed, or the delete marker that was added, where the bucket keeps
    /// versions.
    version_id: Option<String>,
    /// That version is a delete marker.
    is_marker: bool,
}

async fn delete(
    server: &Server,
    bucket: &Bucket,
    (key, version): (&str, Option<&str>),
    (condition, bypass_governance): (WriteCondition, bool),
) -> S3Result<Outcome> {
    let named = server.named_version(bucket, key, version)?;
    let given = version.filter(|version| !version.is_empty()).map(str::to_owned);
    let absent = Outcome { version_id: given.clone(), is_marker: false };
    let Named::Version(version) = named else { return Ok(absent) };
    let deletion = Deletion { version, condition, bypass_governance };
    let deleted = server.core.remove(bucket.id, key.as_bytes(), deletion).await.s3()?;
    Ok(match deleted {
        Deleted::Absent => absent,
        Deleted::Removed { marker, .. } => Outcome { version_id: given, is_marker: marker },
        Deleted::Marked { generation, is_null } => {
            let version_id = server.show_version(bucket, key.as_bytes(), generation, is_null);
            Outcome { version_id: Some(version_id), is_marker: true }
        }
    })
}

/// Answers DeleteObjects.
pub async fn delete_objects(
    server: &Server,
    mut request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of_list(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(list) = request.extensions.remove::<Arc<DeleteList>>() else {
        return Err(malformed("the list of keys is missing"));
    };
    let (quiet, bucket) = (list.quiet, &bucket);
    let caller = &caller;
    let mut outcomes = futures_util::stream::iter(&list.objects)
        .map(|object| async move {
            let outcome = delete_listed(server, caller, bucket, object).await;
            (object, outcome)
        })
        .buffered(CONCURRENT_MAX);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    while let Some((object, outcome)) = outcomes.next().await {
        match outcome {
            Ok(_) if quiet => {}
            Ok(outcome) => deleted.push(DeletedObject {
                key: Some(object.key.clone()),
                version_id: object.version_id.clone(),
                delete_marker: outcome.is_marker.then_some(true),
                delete_marker_version_id: outcome.version_id.filter(|_| outcome.is_marker),
            }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key.clone()),
                version_id: object.version_id.clone(),
            }),
        }
    }
    let output = DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), request_charged: None };
    Ok(S3Response::new(output))
}

async fn delete_listed(
    server: &Server,
    caller: &Caller,
    bucket: &Bucket,
    object: &ListedObject,
) -> S3Result<Outcome> {
    let condition = WriteCondition {
        if_match: object.etag.as_deref().map(|etag| parse_etags(&bare_etag(etag))),
        if_none_match: None,
        if_modified_time_s: object.last_modified.as_ref().map(condition_time).transpose()?,
        if_size_bytes: object.size.map(condition_size).transpose()?,
    };
    let named = (object.key.as_str(), object.version_id.as_deref());
    let about = (OnKey::new(named.0, named.1), object.etag.as_deref());
    let bypass_governance = server.allow_delete(caller, bucket, about).await?;
    delete(server, bucket, named, (condition, bypass_governance)).await
}

/// The document of a DeleteObjects.
#[derive(Debug, Default)]
pub struct DeleteList {
    pub objects: Vec<ListedObject>,
    quiet: bool,
}

/// A key to delete, and on what conditions.
#[derive(Debug, Default)]
pub struct ListedObject {
    pub key: String,
    version_id: Option<String>,
    etag: Option<String>,
    last_modified: Option<Timestamp>,
    size: Option<i64>,
}

impl DeleteList {
    /// Reads the document. An element that is not known could be a condition: it is refused, and
    /// nothing is deleted without it.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("Delete")?;
        let mut list = Self::default();
        let mut quiet = None;
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "Object" if list.objects.len() == KEYS_MAX => {
                    return Err(malformed(format_args!("the list has more than {KEYS_MAX} keys")));
                }
                "Object" => list.objects.push(ListedObject::read(&mut reader)?),
                "Quiet" => set(&mut quiet, &name, parse_bool(&reader.text()?)?)?,
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        if list.objects.is_empty() {
            return Err(malformed("the list has no keys"));
        }
        list.quiet = quiet.unwrap_or(false);
        Ok(list)
    }
}

impl ListedObject {
    fn read(reader: &mut XmlReader<'_>) -> S3Result<Self> {
        let mut object = Self::default();
        let mut key = None;
        while let Some(name) = reader.child()? {
            let text = reader.text()?;
            match name.as_str() {
                "Key" => set(&mut key, &name, cut(text))?,
                "VersionId" => set(&mut object.version_id, &name, cut(text))?,
                "ETag" => set(&mut object.etag, &name, text)?,
                "LastModifiedTime" => set(&mut object.last_modified, &name, parse_time(&text)?)?,
                "Size" => {
                    let size = text.trim().parse().map_err(|_| malformed("a Size is no number"))?;
                    set(&mut object.size, &name, size)?;
                }
                _ => return Err(unknown(&name)),
            }
        }
        object.key = key
            .filter(|key| !key.is_empty())
            .ok_or_else(|| malformed("an Object has no Key, or an empty one"))?;
        Ok(object)
    }
}

/// Cuts a text to [`NAME_BYTES_KEPT`] bytes, or to the end of the character there.
fn cut(mut text: String) -> String {
    text.truncate(text.ceil_char_boundary(NAME_BYTES_KEPT));
    text.shrink_to_fit();
    text
}

fn parse_bool(text: &str) -> S3Result<bool> {
    match text.trim() {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" | "" => Ok(false),
        _ => Err(malformed("Quiet is neither true nor false")),
    }
}

/// Parses the time of a condition. Most SDKs write it as HTTP does, and some as ISO 8601.
fn parse_time(text: &str) -> S3Result<Timestamp> {
    let text = text.trim();
    let http = httpdate::parse_http_date(text).ok().map(Timestamp::from);
    let parsed = http.or_else(|| Timestamp::parse(TimestampFormat::DateTime, text).ok());
    parsed.ok_or_else(|| malformed("a LastModifiedTime is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str) -> Result<Vec<String>, String> {
        let document = format!("<Delete>{inner}</Delete>");
        let reader = XmlReader::new(document.as_bytes(), 10_000).map_err(|error| error.to_string())?;
        let list = DeleteList::read(reader).map_err(|error| error.to_string())?;
        Ok(list.objects.into_iter().map(|object| object.key).collect())
    }

    #[test]
    fn keys_are_read_as_they_were_meant() {
        let keys = "<Object><Key><![CDATA[a<b]]></Key></Object><Object><Key>&#128512;</Key>\
                    <VersionId>null</VersionId></Object><Quiet> true </Quiet><Object><Key> x </Key></Object>";
        assert_eq!(read(keys), Ok(vec!["a<b".to_owned(), "\u{1f600}".to_owned(), " x ".to_owned()]));
        let all = "<Object><Key>k</Key><ETag>\"e\"</ETag><Size>3</Size>\
                   <LastModifiedTime>Sat, 29 Oct 1994 19:43:31 GMT</LastModifiedTime></Object>";
        assert_eq!(read(all), Ok(vec!["k".to_owned()]));
        assert!(read(&all.replace("Sat, 29 Oct 1994 19:43:31 GMT", "1994-10-29T19:43:31Z")).is_ok());
        assert_eq!(
            read(&"<Object><Key>k</Key></Object>".repeat(KEYS_MAX)).map(|keys| keys.len()),
            Ok(KEYS_MAX)
        );
    }

    #[test]
    fn of_names_no_more_is_kept_than_makes_them_too_long() {
        let longest = format!("{}\u{e9}", "k".repeat(1022));
        assert_eq!(longest.len(), 1024);
        assert_eq!(read(&format!("<Object><Key>{longest}</Key></Object>")), Ok(vec![longest]));
        for letter in ["k", "\u{e9}", "\u{1f600}"] {
            let long = letter.repeat(2000);
            let keys = read(&format!("<Object><Key>{long}</Key></Object>")).unwrap();
            assert!((1025..1029).contains(&keys[0].len()) && long.starts_with(&keys[0]), "{letter}");
        }
    }

    #[test]
    fn what_the_list_cannot_mean_is_refused_whole() {
        for bad in [
            "",
            "<Quiet>true</Quiet>",
            "<Object><Key></Key></Object>",
            "<Object><Key/></Object>",
            "<Object><Key><![CDATA[]]></Key></Object>",
            "<Object></Object>",
            "<Object><Key>a</Key><Key>b</Key></Object>",
            "<Object><Key>a<b/></Key></Object>",
            "<Object><Key>a</Key><IfNewCondition>x</IfNewCondition></Object>",
            "<Object><Key>a</Key><Size>x</Size></Object>",
            "<Object><Key>a</Key><LastModifiedTime>now</LastModifiedTime></Object>",
            "<Object><Key>a</Key></Object><Quiet>maybe</Quiet>",
            "<Object><Key>a\u{1}</Key></Object>",
            "<Object><Key>a&#1;</Key></Object>",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&"<Object><Key>k</Key></Object>".repeat(KEYS_MAX + 1)).is_err());
    }
}
