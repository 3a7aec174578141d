//! The tags of objects and buckets: as documents, as headers, and as the operations that change
//! them.
//!
//! Invariants:
//! - A set of tags is checked as a whole before any of it is used: its size, the length and the
//!   characters of keys and values, and that no key stands twice.
//! - Tags are kept and shown in the order of their keys.

use super::Server;
use super::access::Caller;
use super::change::change_attributes;
use super::configuration::{TAGS, missing};
use super::error::{EngineResult, coded, invalid_argument};
use super::xml_reader::{XmlReader, malformed, unknown};
use percent_encoding::percent_decode_str;
use ringbolt_engine::types::traits::{tags, write_tags};
use ringbolt_engine::types::{Attributes, Bucket, ConfigKind};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

/// The header that gives an object its tags.
pub const TAGGING: &str = "x-amz-tagging";
pub const OBJECT_TAGS_MAX: usize = 10;
const BUCKET_TAGS_MAX: usize = 50;
/// The most characters of a key and of a value, as UTF-16 counts them.
const KEY_LENGTH_MAX: usize = 128;
const VALUE_LENGTH_MAX: usize = 256;
/// What the keys of tags begin with that only the system may set.
const SYSTEM_PREFIX: &str = "aws:";

/// The tags of an object or a bucket, in the order of their keys. No key is there twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

fn invalid_tag(message: &'static str) -> S3Error {
    s3_error!(InvalidTag, "{message}")
}

/// Checks tags that a request brings, of which there may be `most`. Fails if one can not be.
pub fn check_tags(tags: &[(String, String)], most: usize) -> S3Result<()> {
    if tags.len() > most {
        return Err(s3_error!(InvalidTag, "There are {} tags; the most allowed is {most}", tags.len()));
    }
    for (key, value) in tags {
        let length = |text: &str| text.encode_utf16().count();
        if key.is_empty() || length(key) > KEY_LENGTH_MAX {
            return Err(invalid_tag("The TagKey you have provided is invalid: it has 1 to 128 characters"));
        }
        if length(value) > VALUE_LENGTH_MAX {
            return Err(invalid_tag(
                "The TagValue you have provided is invalid: it has 256 characters at most",
            ));
        }
        if !key.chars().chain(value.chars()).all(is_tag_char) {
            return Err(invalid_tag(
                "A tag has letters, numbers and spaces of any language, and + - = . _ : / @, and nothing else",
            ));
        }
        if key.get(..SYSTEM_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(SYSTEM_PREFIX)) {
            return Err(invalid_tag("System tags cannot be added or updated by requester"));
        }
    }
    Ok(())
}

impl Tags {
    /// Checks tags that a request brings, of which there may be `most`.
    fn checked(mut tags: Vec<(String, String)>, most: usize) -> S3Result<Self> {
        check_tags(&tags, most)?;
        tags.sort();
        if tags.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(invalid_tag("Cannot provide multiple Tags with the same key"));
        }
        Ok(Self(tags))
    }

    /// Reads the header of a put or copy: keys and values as a query has them.
    pub fn of_header(text: &str) -> S3Result<Self> {
        let mut tags = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            tags.push((decoded(key)?, decoded(value)?));
        }
        if tags.len() > OBJECT_TAGS_MAX {
            let message = format!("Object tags cannot be greater than {OBJECT_TAGS_MAX}");
            return Err(coded("BadRequest", http::StatusCode::BAD_REQUEST, message));
        }
        Self::checked(tags, OBJECT_TAGS_MAX)
    }

    /// Reads the field of a form: a document as PutObjectTagging has it.
    pub fn of_field(text: &str) -> S3Result<Self> {
        TagDocument::read(XmlReader::new(text.as_bytes(), 4 * BUCKET_TAGS_MAX)?)?.of_object()
    }

    /// Writes the tags among the attributes of an object or upload, in place of those that are there.
    pub fn write(&self, attributes: &mut Attributes) {
        write_tags(attributes, self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    }

    /// Returns the tags, each with its value.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0.clone()
    }

    /// Returns the value of a bucket's configuration that holds the tags.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// Returns the tags of a bucket.
    pub fn of_bucket(bucket: &Bucket) -> Option<Self> {
        serde_json::from_slice(bucket.value_of(ConfigKind::TAGS)?).ok().map(Self)
    }

    fn show(&self) -> TagSet {
        shown(self.0.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

fn shown<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>) -> TagSet {
    tags.map(|(key, value)| Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }).collect()
}

/// Returns whether S3 takes a character in a tag.
fn is_tag_char(letter: char) -> bool {
    letter.is_alphanumeric()
        || letter == ' '
        || "+-=._:/@".contains(letter)
        // Marks belong to the letters of many languages.
        || (!letter.is_ascii() && !letter.is_control())
}

fn decoded(text: &str) -> S3Result<String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.map(|text| text.into_owned()).map_err(|_| {
        invalid_argument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters",
        )
    })
}

/// The document of PutObjectTagging and PutBucketTagging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagDocument(Vec<(String, String)>);

impl TagDocument {
    /// Reads the document. Fails if it is malformed.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("Tagging")?;
        let mut tags = None;
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "TagSet" if tags.is_none() => tags = Some(read_set(&mut reader)?),
                "TagSet" => return Err(malformed("there is more than one TagSet")),
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        tags.map(Self).ok_or_else(|| malformed("there is no TagSet"))
    }

    /// Returns the tags as those of an object. Fails if they are not allowed.
    pub fn of_object(self) -> S3Result<Tags> {
        Tags::checked(self.0, OBJECT_TAGS_MAX)
    }

    /// Returns the tags as those of a bucket. Fails if they are not allowed.
    pub fn of_bucket(self) -> S3Result<Tags> {
        Tags::checked(self.0, BUCKET_TAGS_MAX)
    }

    /// Reads the tags in the document of a CreateBucket, whose element was just begun.
    pub fn of_new_bucket(reader: &mut XmlReader<'_>) -> S3Result<Self> {
        read_set(reader).map(Self)
    }
}

/// Reads the tags of an element that was just begun.
fn read_set(reader: &mut XmlReader<'_>) -> S3Result<Vec<(String, String)>> {
    let mut tags = Vec::new();
    while let Some(name) = reader.child()? {
        if name != "Tag" {
            return Err(unknown(&name));
        }
        tags.push(read_tag(reader)?);
    }
    Ok(tags)
}

/// Reads a tag whose element was just begun.
pub fn read_tag(reader: &mut XmlReader<'_>) -> S3Result<(String, String)> {
    let (mut key, mut value) = (None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        let field = match name.as_str() {
            "Key" => &mut key,
            "Value" => &mut value,
            _ => return Err(unknown(&name)),
        };
        if field.replace(text).is_some() {
            return Err(malformed(format_args!("{name:?} stands more than once")));
        }
    }
    match (key, value) {
        (Some(key), Some(value)) => Ok((key, value)),
        _ => Err(malformed("a Tag has no Key or no Value")),
    }
}

/// Answers PutObjectTagging.
pub async fn put_object_tagging(
    server: &Server,
    mut request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let mut caller = Caller::take(&mut request);
    let input = request.input;
    let Some(document) = request.extensions.remove::<TagDocument>() else {
        return Err(malformed("the document is missing"));
    };
    let tags = document.of_object()?;
    caller.said.tags = Some(tags.pairs());
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let named = (input.key.as_str(), input.version_id.as_deref());
    let changed = change_attributes((server, &caller), &bucket, named, false, |attributes| {
        tags.write(attributes);
        Ok(())
    });
    let version_id = changed.await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

/// Answers GetObjectTagging.
pub async fn get_object_tagging(
    server: &Server,
    mut request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let (info, version_id) =
        server.find_version(&caller, &bucket, (&input.key, input.version_id.as_deref())).await?;
    let tag_set = shown(tags(&info.attributes));
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id }))
}

/// Answers DeleteObjectTagging.
pub async fn delete_object_tagging(
    server: &Server,
    mut request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let named = (input.key.as_str(), input.version_id.as_deref());
    let changed = change_attributes((server, &caller), &bucket, named, false, |attributes| {
        Tags::default().write(attributes);
        Ok(())
    });
    let version_id = changed.await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Answers PutBucketTagging.
pub async fn put_bucket_tagging(
    server: &Server,
    mut request: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(document) = request.extensions.remove::<TagDocument>() else {
        return Err(malformed("the document is missing"));
    };
    let value = document.of_bucket()?.encode();
    server.core.set_bucket_config(bucket.id, ConfigKind::TAGS, Some(value)).await.s3()?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

/// Answers GetBucketTagging.
pub async fn get_bucket_tagging(
    server: &Server,
    mut request: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(tags) = Tags::of_bucket(&bucket) else { return missing(TAGS) };
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: tags.show() }))
}

/// Answers DeleteBucketTagging.
pub async fn delete_bucket_tagging(
    server: &Server,
    mut request: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    server.configure(&bucket, ConfigKind::TAGS, None).await?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: S3Result<T>) -> Option<String> {
        result.err().map(|error| error.code().as_str().to_owned())
    }

    fn document(inner: &str) -> S3Result<TagDocument> {
        let text = format!("<Tagging>{inner}</Tagging>");
        TagDocument::read(XmlReader::new(text.as_bytes(), 200)?)
    }

    fn many(count: usize) -> String {
        let tag = |number| format!("<Tag><Key>k{number}</Key><Value/></Tag>");
        format!("<TagSet>{}</TagSet>", (0..count).map(tag).collect::<String>())
    }

    #[test]
    fn a_header_is_read_as_a_query_and_sorted() {
        let tags = Tags::of_header("foo=bar&bar&a+b=c%20d%3D%C3%A9").unwrap();
        let expected = [("a b", "c d=\u{e9}"), ("bar", ""), ("foo", "bar")];
        assert_eq!(tags.0, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(Tags::of_header("").unwrap(), Tags::default());
        assert_eq!(code(Tags::of_header("a=%ff")).as_deref(), Some("InvalidArgument"));
        let eleven: Vec<String> = (0..11).map(|number| format!("k{number}=")).collect();
        assert_eq!(code(Tags::of_header(&eleven.join("&"))).as_deref(), Some("BadRequest"));
    }

    #[test]
    fn a_document_is_read_whole_or_refused() {
        let inner = "<TagSet><Tag><Key>b</Key><Value>1</Value></Tag><Tag><Value/><Key>a</Key></Tag></TagSet>";
        let tags = document(inner).unwrap().of_object().unwrap();
        assert_eq!(tags.0, [("a".into(), String::new()), ("b".into(), "1".into())]);
        assert_eq!(document("<TagSet/>").unwrap().of_object().unwrap(), Tags::default());
        for bad in [
            "",
            "<TagSet/><TagSet/>",
            "<TagSet><Tag><Key>a</Key></Tag></TagSet>",
            "<TagSet><Tag><Value>a</Value></Tag></TagSet>",
            "<TagSet><Tag><Key>a</Key><Key>b</Key><Value/></Tag></TagSet>",
            "<TagSet><Tag><Key>a</Key><Value/><Other/></Tag></TagSet>",
            "<Tags/>",
        ] {
            assert_eq!(code(document(bad)).as_deref(), Some("MalformedXML"), "{bad}");
        }
    }

    #[test]
    fn limits_are_those_of_s3() {
        assert_eq!(code(document(&many(10)).unwrap().of_object()), None);
        assert_eq!(code(document(&many(11)).unwrap().of_object()).as_deref(), Some("InvalidTag"));
        assert_eq!(code(document(&many(50)).unwrap().of_bucket()), None);
        assert_eq!(code(document(&many(51)).unwrap().of_bucket()).as_deref(), Some("InvalidTag"));
        let one = |key: &str, value: &str| Tags::checked(vec![(key.to_owned(), value.to_owned())], 10);
        assert_eq!(code(one(&"k".repeat(128), &"\u{e9}".repeat(256))), None);
        assert_eq!(code(one("a+b-c=d.e_f:g/h@i j", "\u{93f}")), None);
        for (key, value) in [
            (String::new(), String::new()),
            ("k".repeat(129), String::new()),
            ("k".to_owned(), "v".repeat(257)),
            ("\u{1f600}".repeat(65), String::new()),
            ("aws:x".to_owned(), String::new()),
            ("AWS:x".to_owned(), String::new()),
            ("a,b".to_owned(), String::new()),
            ("a\n".to_owned(), String::new()),
        ] {
            assert_eq!(code(one(&key, &value)).as_deref(), Some("InvalidTag"), "{key:?} {value:?}");
        }
        let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert_eq!(code(Tags::checked(twice, 10)).as_deref(), Some("InvalidTag"));
    }

    #[test]
    fn what_a_bucket_keeps_comes_back() {
        let tags = Tags::of_header("b=2&a=%22x").err();
        assert!(tags.is_some(), "a quote is no character of a tag");
        let tags = Tags::of_header("b=2&a=1").unwrap();
        let mut bucket = super::super::testing_bucket();
        assert_eq!(Tags::of_bucket(&bucket), None);
        bucket.config = vec![(ConfigKind::TAGS, tags.encode().into())];
        assert_eq!(Tags::of_bucket(&bucket), Some(tags));
    }
}
