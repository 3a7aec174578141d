//! Browser uploads: POST of a form to a bucket.
//!
//! Invariants: the form is judged before anything is stored; without a valid policy signature the caller
//! is anonymous, and an anonymous caller may store nothing. A form is held in memory while it is judged,
//! because the length of its file, which the engine wants first, is known only at its end; so a form is
//! limited to [`FORM_BYTES_MAX`], and takes its share of the core's memory for requests.

mod form;
mod policy;
mod signature;

use super::Server;
use super::access::{Caller, check_canned_acl, refuse_unbuilt};
use super::checksum::Kind;
use super::error::{EngineResult, from_body, invalid_argument, not_implemented, slow_down};
use super::headers;
use super::host::absolute_uri;
use super::naming::url_encode;
use super::preamble::{META_PREFIX, Preamble, to_header};
use super::receive::{Announced, receive};
use bytes::{Bytes, BytesMut};
use form::{File, Form};
use futures_util::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use policy::Policy;
use ringbolt_engine::types::{ObjectInfo, ObjectMeta};
use s3s::dto::StreamingBlob;
use s3s::{Body, S3Result, s3_error};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most that a form may have, file and fields together.
const FORM_BYTES_MAX: u64 = 16 << 20;

/// The boundary, if this request is an upload by form.
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
    preamble: Preamble,
    boundary: &str,
) -> S3Result<Response<Body>> {
    let bucket_name = bucket_name(server, &request)?;
    let length = announced_length(server, preamble.body_length)?;
    // Held until the answer: the file is a part of the form's bytes.
    let _memory = server.settings.memory.take(length).map_err(slow_down)?;
    let body = read(&mut request, length).await?;
    let mut form = Form::parse(&body, boundary)?;
    let Some(file) = form.file.take() else {
        return Err(invalid_argument("POST requires exactly one file upload per request."));
    };
    let Some(key) = form.get("key").map(|key| key.replace("${filename}", &file.name)) else {
        return Err(invalid_argument(
            "Bucket POST must contain a field named 'key'. If it is specified, check the order.",
        ));
    };
    let location = absolute_uri(server.domains.as_ref(), request.headers(), &bucket_name, &key);
    request.extensions_mut().insert(preamble);
    let mut caller = Caller::take(request.extensions_mut());
    if let Some(field) = form.get("policy") {
        caller.account = Some(signature::signer(&form, field, &server.accounts)?);
        check_policy(&form, field, &bucket_name, &key, file.bytes.len() as u64, now_s())?;
    }
    let info = store(server, &mut caller, &form, file, &bucket_name, &key).await?;
    answer(&form, &info, &location, &bucket_name, &key)
}

fn check_policy(form: &Form, policy: &str, bucket: &str, key: &str, length: u64, now_s: i64) -> S3Result<()> {
    let mut fields = form.fields.clone();
    fields.retain(|(name, _)| name != "bucket");
    fields.push(("bucket".to_owned(), bucket.to_owned()));
    if let Some((_, value)) = fields.iter_mut().find(|(name, _)| name == "key") {
        key.clone_into(value);
    }
    Policy::parse(policy)?.check(&fields, length, now_s)
}

/// All that is asked of a form but whether there is room for its file; for fuzzing.
pub(crate) fn judge_form(body: &Bytes, boundary: &str, accounts: &crate::auth::Accounts) -> S3Result<()> {
    let form = Form::parse(body, boundary)?;
    headers_of(&form)?;
    let Some(field) = form.get("policy") else { return Ok(()) };
    let signed = signature::signer(&form, field, accounts);
    // A fuzzer finds no signature: the policy is judged all the same.
    let length = form.file.as_ref().map_or(0, |file| file.bytes.len() as u64);
    check_policy(&form, field, "bucket", form.get("key").unwrap_or_default(), length, 0)?;
    signed.map(|_| ())
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// By host name or path; never with a key.
fn bucket_name(server: &Server, request: &Request<Body>) -> S3Result<String> {
    let path = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let path = path.trim_matches('/');
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    if let (Some(domains), Some(host)) = (&server.domains, host)
        && let Some(bucket) = domains.bucket_of(host)
        && path.is_empty()
    {
        return Ok(bucket);
    }
    if path.is_empty() || path.contains('/') {
        return Err(s3_error!(MethodNotAllowed, "A form is posted to a bucket, not to the service or a key"));
    }
    Ok(path.to_owned())
}

fn announced_length(server: &Server, announced: Option<u64>) -> S3Result<u64> {
    let Some(length) = announced else {
        return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
    };
    let most = FORM_BYTES_MAX.min(server.settings.memory.bytes_max() / 2);
    if length > most {
        return Err(s3_error!(
            EntityTooLarge,
            "Your form has {length} bytes; the most is {most}. PUT and multipart uploads may be larger."
        ));
    }
    Ok(length)
}

async fn read(request: &mut Request<Body>, length: u64) -> S3Result<Bytes> {
    // Sized at once: growing by doubling would take twice what was accounted for.
    let mut bytes = BytesMut::with_capacity(usize::try_from(length).unwrap_or(0));
    while let Some(piece) = request.body_mut().next().await {
        let piece = piece.map_err(from_body)?;
        if (bytes.len() + piece.len()) as u64 > length {
            return Err(s3_error!(IncompleteBody, "You announced a form of {length} bytes and sent more"));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// The form's fields as the headers of a PUT, so that both are judged alike.
fn headers_of(form: &Form) -> S3Result<(HeaderMap, Preamble)> {
    let (mut headers, mut preamble) = (HeaderMap::new(), Preamble::default());
    for (name, value) in &form.fields {
        let Ok(header) = HeaderValue::from_bytes(value.as_bytes()) else {
            return Err(invalid_argument(format!("The field {name} has a value that no header can carry")));
        };
        if let Some(name) = name.strip_prefix(META_PREFIX) {
            preamble.metadata.push((name.to_owned(), super::preamble::to_text(&header)));
            continue;
        }
        match name.as_str() {
            "acl" => check_canned_acl(value)?,
            "tagging" => return Err(not_implemented("Tagging")),
            "expires" => preamble.expires = Some(value.clone()),
            _ => {
                if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                    headers.insert(name, header);
                }
            }
        }
    }
    Ok((headers, preamble))
}

async fn store(
    server: &Server,
    caller: &mut Caller,
    form: &Form,
    file: File,
    bucket_name: &str,
    key: &str,
) -> S3Result<ObjectInfo> {
    let bucket = server.bucket_of(caller, bucket_name, None)?;
    if key.is_empty() {
        return Err(invalid_argument("User key must have a length greater than 0."));
    }
    let (headers, mut preamble) = headers_of(form)?;
    refuse_unbuilt(&headers)?;
    preamble.body_length = Some(file.bytes.len() as u64);
    caller.preamble = preamble;
    let announced = Announced::new(&headers, caller, None)?;
    let mut attributes = headers::attributes_of_request(&headers, &caller.preamble)?;
    let mut writer = server.core.put(bucket.id, key.as_bytes(), announced.length).await.s3()?;
    let body = StreamingBlob::from(Body::from(file.bytes));
    let received = receive(Some(body), &mut writer, &announced, &caller.trailers).await?;
    if let Some((algorithm, checksum)) = received.checksum {
        headers::add_checksum(&mut attributes, algorithm, checksum, Some(Kind::FullObject));
    }
    writer.commit(ObjectMeta { etag: received.etag, attributes }, Default::default()).await.s3()
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
            *response.body_mut() = Body::from(format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket>\
                 <Key>{}</Key><ETag>&quot;{etag}&quot;</ETag></PostResponse>",
                escape(location),
                escape(bucket),
                escape(key)
            ));
        }
        // Any other value is as good as none.
        _ => *response.status_mut() = StatusCode::NO_CONTENT,
    }
    Ok(response)
}

/// The address to send the browser to; None if it is none, which S3 ignores.
fn redirection(target: &str, bucket: &str, key: &str, etag: &str) -> Option<HeaderValue> {
    let uri: http::Uri = target.parse().ok()?;
    uri.scheme()?;
    let separator = if uri.query().is_some() { '&' } else { '?' };
    let key = url_encode(key.as_bytes());
    to_header(&format!("{target}{separator}bucket={bucket}&key={key}&etag=%22{etag}%22"))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(fields: &[(&str, &str)]) -> Response<Body> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        answer(&Form { fields, file: None }, &ObjectInfo::default(), "http://h/b/a%26b%20c", "b", "a&b c").unwrap()
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
        let (headers, preamble) = headers_of(&Form { fields, file: None }).unwrap();
        assert_eq!(headers["content-type"], "a/b");
        assert_eq!(preamble.metadata, [("c".to_owned(), "d\u{c3}\u{a9}".to_owned())]);
        assert_eq!(preamble.expires.as_deref(), Some("soon"));
        let public = Form { fields: vec![("acl".to_owned(), "public-read".to_owned())], file: None };
        assert!(headers_of(&public).is_err());
    }
}
