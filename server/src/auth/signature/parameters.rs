//! The parameters of a signature, in queries and headers.

use super::request_time::RequestTime;
use crate::auth::AuthError;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// Returns the names and values of a query. Names are decoded, as they are compared; values are as
/// they were sent.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode_str(name).decode_utf8_lossy(), value)
    })
}

/// Returns the decoded value of the parameter `name`, in which a plus sign stays one. Fails if the
/// parameter is given twice or is not UTF-8.
pub fn parameter<'a>(query: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, AuthError> {
    let mut values = pairs(query).filter(|(key, _)| key == name).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(AuthError::MalformedQuery(format!("The parameter {name} is given twice")));
    }
    let decoded = percent_decode_str(value).decode_utf8();
    decoded.map(Some).map_err(|_| AuthError::MalformedQuery(format!("The parameter {name} is not UTF-8")))
}

/// Returns when a request was signed, as its headers say. Fails if they name no time.
pub fn time_of(headers: &HeaderMap) -> Result<RequestTime, AuthError> {
    let value = headers.get("x-amz-date").or_else(|| headers.get(http::header::DATE));
    let text = value.map_or("", |value| value.to_str().unwrap_or(""));
    // A time before 1970 is not that of a clock that is a few minutes off: the value is wrong.
    RequestTime::parse(text)
        .filter(|time| time.unix_s >= 0)
        .ok_or_else(|| AuthError::BadDate(text.chars().take(40).collect()))
}
