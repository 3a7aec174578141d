//! The pages by which websites say what went wrong, as S3 writes them.

use crate::auth::RequestContext;
use crate::s3::error::default_message;
use crate::xml::XmlWriter;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use s3s::{Body, S3Error};

/// Returns the code and the message of an error.
fn said(error: &S3Error) -> (&str, &str) {
    let code = error.code().as_str();
    (code, error.message().unwrap_or_else(|| default_message(code)))
}

/// Adds the headers by which S3 tells the error of an answer, whatever its body is.
pub fn tell(headers: &mut HeaderMap, error: &S3Error) {
    let (code, message) = said(error);
    for (name, text) in [("x-amz-error-code", code), ("x-amz-error-message", message)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

/// Makes the page of an error. `about` is what it is about, by name and value; `failed` is the error of
/// the page that the website has for this one, if it has one that could not be shown.
pub fn error_page(
    error: &S3Error,
    about: (&str, &str),
    failed: Option<&S3Error>,
    context: &RequestContext,
) -> Response<Body> {
    let status = error.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let html = XmlWriter::fragment(|html| {
        html.element("html", |html| {
            html.raw("\n");
            html.element("head", |head| head.text("title", &title));
            html.raw("\n");
            html.element("body", |body| {
                body.raw("\n");
                body.text("h1", &title);
                body.raw("\n");
                let id = context.request_id.to_string();
                list(body, error, &[about, ("RequestId", &id)]);
                if let Some(failed) = failed {
                    body.text("h3", "An Error Occurred While Attempting to Retrieve a Custom Error Document");
                    body.raw("\n");
                    list(body, failed, &[]);
                }
                body.raw("<hr/>\n");
            });
            html.raw("\n");
        });
        html.raw("\n");
    });
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    if let Some(headers) = error.headers() {
        *response.headers_mut() = headers.clone();
    }
    tell(response.headers_mut(), error);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn list(body: &mut XmlWriter, error: &S3Error, more: &[(&str, &str)]) {
    let (code, message) = said(error);
    body.element("ul", |list| {
        list.raw("\n");
        for (name, value) in [("Code", code), ("Message", message)].iter().chain(more) {
            list.text("li", format_args!("{name}: {value}"));
            list.raw("\n");
        }
    });
    body.raw("\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::s3_error;

    #[test]
    fn a_page_says_what_is_wrong_and_holds_no_markup_of_others() {
        let error = s3_error!(NoSuchKey, "The specified key does not exist.");
        let failed = s3_error!(AccessDenied, "Access Denied");
        let about = ("Key", "<script>alert('1')</script>");
        let response = error_page(&error, about, Some(&failed), &RequestContext::default());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()["x-amz-error-code"], "NoSuchKey");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        let text = String::from_utf8(response.body().bytes().unwrap().to_vec()).unwrap();
        for part in [
            "<h1>404 Not Found</h1>",
            "<li>Code: NoSuchKey</li>\n<li>Message: The specified key does not exist.</li>\n",
            "<li>Key: &lt;script&gt;alert(&apos;1&apos;)&lt;/script&gt;</li>",
            "Custom Error Document</h3>\n<ul>\n<li>Code: AccessDenied</li>",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("<script"), "{text}");
    }
}
