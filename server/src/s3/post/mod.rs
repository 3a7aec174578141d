//! Browser uploads: POST of a form to a bucket.
//!
//! Invariants:
//! - Signature and policy are judged when the file begins, before a byte of it is taken. Without a
//!   valid signature of the policy the caller is anonymous, and an anonymous caller may store
//!   nothing.
//! - What is judged is what is used: a field comes once, and is judged after the file's name was
//!   put into it.
//! - The file is stored as that of a PUT is. Of it no more is held than `Core::growing_bytes_max`,
//!   because where it ends, and so how long it is, is known only when its boundary comes.
//! - A form that is refused, for example because of its length, leaves nothing behind.

mod form;
mod policy;
mod signature;

use super::Server;
use super::access::{Caller, refuse_unsupported};
use super::acl::check_canned;
use super::body::{Announced, BODY_BYTES_MAX, receive};
use super::error::{EngineResult, from_body, invalid_argument, slow_down};
use super::headers;
use super::lenient_headers::{LenientHeaders, META_PREFIX, to_header};
use super::tagging::Tags;
use super::target::Target;
use super::version::VERSION_ID;
use crate::auth::RequestContext;
use crate::checksum::Kind;
use crate::host::{absolute_uri, url_encode};
use crate::identity::Directory;
use crate::unix_time::now_s;
use crate::xml::XmlWriter;
use bytes::Bytes;
use form::{Form, Reader, Step};
use futures_util::StreamExt;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use policy::Policy;
use ringbolt_engine::types::{ObjectInfo, ObjectMeta};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Error, S3Result, s3_error};
use signature::Rules;

/// Returns the boundary if the body of this request is a form. Whether the request asks for an
/// upload depends on its target. The inner result fails if the form has no valid boundary.
pub fn boundary_of(request: &Request<Body>) -> Option<S3Result<String>> {
    if request.method() != Method::POST {
        return None;
    }
    form::boundary_of(request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// Answers an upload by form.
pub async fn post_object(
    server: &Server,
    mut request: Request<Body>,
    lenient: LenientHeaders,
    target: &Target,
    boundary: &str,
) -> S3Result<Response<Body>> {
    let (Some(bucket), None) = (&target.bucket, &target.key) else {
        return Err(s3_error!(MethodNotAllowed, "A form is posted to a bucket, not to the service or a key"));
    };
    let Some(announced) = lenient.body_length else {
        return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
    };
    let mut body =
        FormBody { body: std::mem::take(request.body_mut()), reader: Reader::new(boundary), came: 0 };
    let form = body.fields().await?;
    let Some(key) = form.get("key").map(str::to_owned) else {
        return Err(invalid_argument(
            "Bucket POST must contain a field named 'key'. If it is specified, check the order.",
        ));
    };
    let mut caller = Caller::of(request.extensions_mut().remove::<RequestContext>().unwrap_or_default());
    let mut lengths = (0, u64::MAX);
    if let Some(field) = form.get("policy") {
        let directory = server.identity.directory();
        let rules = Rules {
            directory: &directory,
            region: &server.settings.region,
            version_2: server.settings.signature_v2,
            now_s: now_s(),
        };
        let (signer, signed) = signature::signer(&form, field, rules)?;
        caller.context.signer = Some(signer);
        caller.context.signed = Some(signed);
        lengths = check_policy(&form, field, bucket, rules.now_s)?;
    }
    let upload =
        Upload { form: &form, bucket, key: &key, lengths, length_max: announced.saturating_sub(body.came) };
    let info = upload.store(server, &mut caller, body).await?;
    let reached = (caller.context.client.scheme(), request.headers());
    let location = absolute_uri(server.domains.as_ref(), reached, bucket, &key);
    let mut response = answer(&form, &info, &location, bucket, &key)?;
    let stored_in = server.core.bucket(bucket);
    if let Some(shown) = stored_in.and_then(|stored_in| server.show_written(&stored_in, &key, &info))
        && let Some(value) = to_header(&shown)
    {
        response.headers_mut().insert(VERSION_ID, value);
    }
    Ok(response)
}

/// Checks a form against its policy, and returns the least and the most bytes that its file may
/// have.
fn check_policy(form: &Form, policy: &str, bucket: &str, now_s: i64) -> S3Result<(u64, u64)> {
    let mut fields = form.fields.clone();
    // A field `bucket` of the form does not count: the bucket is the one that the form is posted
    // to.
    fields.retain(|(name, _)| name != "bucket");
    fields.push(("bucket".to_owned(), bucket.to_owned()));
    let policy = Policy::parse(policy)?;
    policy.check(&fields, now_s)?;
    Ok(policy.lengths())
}

/// Checks all that is asked of a form but whether there is room for its file. It is for fuzzing.
pub(crate) fn judge_form(body: &Bytes, boundary: &str, directory: &Directory) -> S3Result<()> {
    let whole = form::read_in_pieces(body, boundary, body.len().max(1));
    let cut = form::read_in_pieces(body, boundary, 1 + body.len() % 37);
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut, "the same form in pieces is another"),
        (whole, cut) => assert!(whole.is_err() && cut.is_err(), "{whole:?} whole, {cut:?} in pieces"),
    }
    let Some(form) = whole?.0 else { return Ok(()) };
    headers_of(&form)?;
    let Some(field) = form.get("policy") else { return Ok(()) };
    let rules = Rules { directory, region: "r", version_2: true, now_s: 1 << 40 };
    let signed = signature::signer(&form, field, rules);
    // A fuzzer finds no valid signature, so the policy is judged without one too.
    check_policy(&form, field, "bucket", 0)?;
    signed.map(|_| ())
}

/// The body of a form while it arrives.
struct FormBody {
    body: Body,
    reader: Reader,
    /// The number of bytes that have come.
    came: u64,
}

impl FormBody {
    /// Takes the next piece of the body. Returns false at the end.
    async fn pull(&mut self) -> S3Result<bool> {
        let Some(piece) = self.body.next().await else { return Ok(false) };
        let piece = piece.map_err(from_body)?;
        self.came += piece.len() as u64;
        self.reader.push(&piece);
        Ok(true)
    }

    /// Reads the fields, up to where the file begins.
    async fn fields(&mut self) -> S3Result<Form> {
        loop {
            match self.reader.step()? {
                Step::File(form) => return Ok(form),
                Step::More if self.pull().await? => {}
                Step::More => return Err(self.reader.cut_short()),
                Step::Bytes(_) | Step::End => {
                    return Err(invalid_argument("POST requires exactly one file upload per request."));
                }
            }
        }
    }

    /// Returns the next bytes of the file. At its end the rest of the form is read too, because
    /// only then the body is verified.
    async fn file_bytes(&mut self) -> S3Result<Option<Bytes>> {
        loop {
            match self.reader.step()? {
                Step::Bytes(bytes) => return Ok(Some(bytes)),
                Step::End => {
                    while self.pull().await? {}
                    return Ok(None);
                }
                Step::More if self.pull().await? => {}
                Step::More | Step::File(_) => return Err(self.reader.cut_short()),
            }
        }
    }
}

/// The upload that a form asks for.
struct Upload<'a> {
    form: &'a Form,
    bucket: &'a str,
    key: &'a str,
    /// The least and the most bytes of the file, as the policy says.
    lengths: (u64, u64),
    /// The most bytes that are still to come.
    length_max: u64,
}

impl Upload<'_> {
    async fn store(&self, server: &Server, caller: &mut Caller, body: FormBody) -> S3Result<ObjectInfo> {
        let (mut headers, mut lenient) = headers_of(self.form)?;
        // What the browser says of itself is in the request, and no field of the form.
        for name in [header::REFERER, header::USER_AGENT] {
            headers.remove(&name);
            if let Some(value) = caller.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        caller.headers = headers;
        let tags = self.form.get("tagging").map(Tags::of_field).transpose()?;
        caller.said.tags = tags.as_ref().map(Tags::pairs);
        let bucket = server.bucket_of_key(caller, (self.bucket, self.key, None), None).await?;
        if self.key.is_empty() {
            return Err(invalid_argument("User key must have a length greater than 0."));
        }
        refuse_unsupported(&caller.headers)?;
        let (least, most) = (self.lengths.0, self.lengths.1.min(BODY_BYTES_MAX));
        // Some of what was read with the fields may belong to the file.
        let length_max = self.length_max.saturating_add(form::BEFORE_FILE_BYTES_MAX as u64).min(most);
        if length_max < least {
            return Err(too_small(length_max, least));
        }
        lenient.body_length = Some(length_max);
        caller.lenient = lenient;
        let announced = Announced::new(&caller.headers, caller, None)?.at_most();
        let mut attributes = headers::attributes_of_request(&caller.headers, &caller.lenient)?;
        server.give(caller, &bucket, self.key, &mut attributes)?;
        if let Some(tags) = tags {
            tags.write(&mut attributes);
        }
        let held = length_max.min(server.core.growing_bytes_max() as u64);
        let _memory = server.settings.memory.reserve(held).map_err(slow_down)?;
        let mut writer = server.core.put_growing(bucket.id, self.key.as_bytes(), length_max).await.s3()?;
        let file = limited(body, least, most);
        let received = receive(Some(file), &mut writer, &announced, caller.trailers()).await?;
        if let Some((algorithm, checksum)) = received.checksum {
            headers::add_checksum(&mut attributes, algorithm, checksum, Some(Kind::FullObject));
        }
        writer.commit(ObjectMeta { etag: received.etag, attributes }, Default::default()).await.s3()
    }
}

/// Returns the file's bytes, and fails if there are too many, or too few at the end.
fn limited(body: FormBody, least: u64, most: u64) -> StreamingBlob {
    StreamingBlob::wrap(stream::try_unfold((body, 0u64), move |(mut body, before)| async move {
        let Some(bytes) = body.file_bytes().await? else {
            if before < least {
                return Err(too_small(before, least));
            }
            return Ok::<_, S3Error>(None);
        };
        let length = before + bytes.len() as u64;
        if length > most {
            return Err(s3_error!(
                EntityTooLarge,
                "The file has more than the {most} bytes that are allowed"
            ));
        }
        Ok(Some((bytes, (body, length))))
    }))
}

fn too_small(length: u64, least: u64) -> S3Error {
    s3_error!(EntityTooSmall, "The file has {length} bytes; the policy demands {least}")
}

/// Returns the form's fields as the headers of a PUT, so that both are judged alike.
fn headers_of(form: &Form) -> S3Result<(HeaderMap, LenientHeaders)> {
    let (mut headers, mut lenient) = (HeaderMap::new(), LenientHeaders::default());
    for (name, value) in &form.fields {
        let Ok(header) = HeaderValue::from_bytes(value.as_bytes()) else {
            return Err(invalid_argument(format!("The field {name} has a value that no header can carry")));
        };
        if let Some(name) = name.strip_prefix(META_PREFIX) {
            lenient.metadata.push((name.to_owned(), super::lenient_headers::to_text(&header)));
            continue;
        }
        match name.as_str() {
            "acl" => {
                check_canned(value)?;
                headers.insert(HeaderName::from_static("x-amz-acl"), header);
            }
            // It is a document, and no header has one.
            "tagging" => {}
            "expires" => lenient.expires = Some(value.clone()),
            "content-md5" => lenient.content_md5 = Some(value.clone()),
            _ => {
                if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                    headers.insert(name, header);
                }
            }
        }
    }
    Ok((headers, lenient))
}

fn answer(
    form: &Form,
    info: &ObjectInfo,
    location: &str,
    bucket: &str,
    key: &str,
) -> S3Result<Response<Body>> {
    let etag = info.etag.to_string();
    let mut response = Response::new(Body::empty());
    headers::add_validators(response.headers_mut(), info);
    response.headers_mut().remove(header::LAST_MODIFIED);
    let redirect = form.get("success_action_redirect").or_else(|| form.get("redirect"));
    if let Some(target) = redirect.and_then(|target| redirection(target, bucket, key, &etag)) {
        *response.status_mut() = StatusCode::SEE_OTHER;
        response.headers_mut().insert(header::LOCATION, target);
        return Ok(response);
    }
    if let Some(location) = to_header(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    match form.get("success_action_status") {
        Some("200") => {}
        Some("201") => {
            *response.status_mut() = StatusCode::CREATED;
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            *response.body_mut() = Body::from(XmlWriter::document("PostResponse", None, |result| {
                result.text("Location", location);
                result.text("Bucket", bucket);
                result.text("Key", key);
                result.etag(info.etag);
            }));
        }
        // Any other value counts as none.
        _ => *response.status_mut() = StatusCode::NO_CONTENT,
    }
    Ok(response)
}

/// Returns the address to send the browser to, or None if it is none, which S3 ignores.
fn redirection(target: &str, bucket: &str, key: &str, etag: &str) -> Option<HeaderValue> {
    let uri: http::Uri = target.parse().ok()?;
    uri.scheme()?;
    let separator = if uri.query().is_some() { '&' } else { '?' };
    let key = url_encode(key.as_bytes());
    to_header(&format!("{target}{separator}bucket={bucket}&key={key}&etag=%22{etag}%22"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn answered(fields: &[(&str, &str)]) -> Response<Body> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        answer(
            &Form { fields, file_name: String::new() },
            &ObjectInfo::default(),
            "http://h/b/a%26b%20c",
            "b",
            "a&b c",
        )
        .unwrap()
    }

    #[test]
    fn the_form_chooses_the_answer() {
        assert_eq!(answered(&[]).status(), 204);
        assert_eq!(answered(&[("success_action_status", "404")]).status(), 204);
        assert_eq!(answered(&[("success_action_status", "200")]).status(), 200);
        let created = answered(&[("success_action_status", "201")]);
        assert_eq!(created.status(), 201);
        assert_eq!(created.headers()["location"], "http://h/b/a%26b%20c");
        let redirected = answered(&[("success_action_redirect", "http://x/y?z=1")]);
        assert_eq!(redirected.status(), 303);
        let etag = "0".repeat(32);
        let wanted = format!("http://x/y?z=1&bucket=b&key=a%26b%20c&etag=%22{etag}%22");
        assert_eq!(redirected.headers()["location"], wanted);
        assert_eq!(answered(&[("success_action_redirect", "nowhere")]).status(), 204);
    }

    #[test]
    fn fields_become_headers_and_metadata() {
        let fields =
            [("content-type", "a/b"), ("x-amz-meta-c", "d\u{e9}"), ("expires", "soon"), ("acl", "private")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let (headers, lenient) = headers_of(&Form { fields, file_name: String::new() }).unwrap();
        assert_eq!(headers["content-type"], "a/b");
        assert_eq!(headers["x-amz-acl"], "private");
        assert_eq!(lenient.metadata, [("c".to_owned(), "d\u{c3}\u{a9}".to_owned())]);
        assert_eq!(lenient.expires.as_deref(), Some("soon"));
        let unknown =
            Form { fields: vec![("acl".to_owned(), "publik".to_owned())], file_name: String::new() };
        assert!(headers_of(&unknown).is_err());
    }

    fn file_of(rest: &str, least: u64, most: u64) -> Result<Vec<u8>, S3ErrorCode> {
        let text = format!("--XX\r\nContent-Disposition: form-data; name=file\r\n\r\n{rest}");
        let mut body = FormBody { body: Body::from(text), reader: Reader::new("XX"), came: 0 };
        let read = async {
            body.fields().await?;
            let mut bytes = Vec::new();
            let mut file = limited(body, least, most);
            while let Some(piece) = file.next().await {
                bytes.extend_from_slice(&piece.map_err(from_body)?);
            }
            Ok(bytes)
        };
        let read = futures_util::FutureExt::now_or_never(read).expect("it is all there");
        read.map_err(|error: S3Error| error.code().clone())
    }

    #[test]
    fn a_file_is_as_long_as_it_may_be_and_has_an_end() {
        let whole = "abc\r\n--XX\r\nignored";
        assert_eq!(file_of(whole, 3, 3).as_deref(), Ok(b"abc".as_slice()));
        assert_eq!(file_of(whole, 0, 2), Err(S3ErrorCode::EntityTooLarge));
        assert_eq!(file_of(whole, 4, 9), Err(S3ErrorCode::EntityTooSmall));
        assert_eq!(file_of("abc\r\n--X", 0, 9), Err(S3ErrorCode::MalformedPOSTRequest));
        assert_eq!(file_of("", 0, 9), Err(S3ErrorCode::MalformedPOSTRequest));
    }
}
