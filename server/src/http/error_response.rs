//! S3 errors that are answered before a request reaches the S3 room.

use super::head::{ALLOWED, HeadError};
use crate::auth::AuthError;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

/// The answer to a request that this room or the auth room refuses.
pub fn refused(error: &AuthError, resource: &str, request_id: &str) -> Response<s3s::Body> {
    let region = error.region().map(|region| ("Region", region));
    xml(error.status(), error.code(), &error.to_string(), region, resource, request_id)
}

/// The answer to a request whose head is not acceptable.
pub fn malformed(error: HeadError, resource: &str, request_id: &str) -> Response<s3s::Body> {
    let mut response = xml(error.status(), error.code(), &error.to_string(), None, resource, request_id);
    if matches!(error, HeadError::Method(_)) {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    }
    response
}

/// 503: come back later.
pub fn unavailable(code: &str, message: &str, resource: &str, request_id: &str) -> Response<s3s::Body> {
    let mut response = xml(StatusCode::SERVICE_UNAVAILABLE, code, message, None, resource, request_id);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn xml(
    status: StatusCode,
    code: &str,
    message: &str,
    extra: Option<(&str, &str)>,
    resource: &str,
    request_id: &str,
) -> Response<s3s::Body> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
    let fields = [Some(("Code", code)), Some(("Message", message)), extra];
    let last = [Some(("Resource", resource)), Some(("RequestId", request_id))];
    for (name, value) in fields.into_iter().chain(last).flatten() {
        text.push_str(&format!("<{name}>{}</{name}>", escape(value)));
    }
    text.push_str("</Error>");
    let mut response = Response::new(s3s::Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Also drops control characters, which XML can not hold in any form.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn markup_and_control_characters_do_not_get_through() {
        assert_eq!(escape("a<b>&\"c\u{1}"), "a&lt;b&gt;&amp;&quot;c");
    }
}
