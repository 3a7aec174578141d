//! The S3 errors, and what an error of the engine means to an S3 client.
//!
//! Invariant: an answer of 5xx that hides its cause from the client has its detail in the log.

use crate::auth::AuthError;
use crate::memory::OutOfMemory;
use http::StatusCode;
use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};
use ringbolt_engine::EngineError;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};
use std::borrow::Cow;

/// Returns the S3 error for an error of the engine. What the client is not told is logged.
pub fn from_engine(error: EngineError) -> S3Error {
    let message = error.to_string();
    match error {
        EngineError::NoSuchBucket => s3_error!(NoSuchBucket, "The specified bucket does not exist"),
        EngineError::BucketNotEmpty => {
            s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty")
        }
        EngineError::NoSuchKey => s3_error!(NoSuchKey, "The specified key does not exist."),
        EngineError::NoSuchUpload => no_such_upload(),
        EngineError::InvalidPart { .. } => S3Error::with_message(S3ErrorCode::InvalidPart, message),
        EngineError::PreconditionFailed => precondition_failed(),
        EngineError::Superseded => {
            s3_error!(OperationAborted, "A conflicting operation on this object is in progress. Try again.")
        }
        EngineError::TooLarge { .. } => S3Error::with_message(S3ErrorCode::EntityTooLarge, message),
        EngineError::KeyTooLong { .. } => S3Error::with_message(S3ErrorCode::KeyTooLongError, message),
        EngineError::AttributesTooLarge { .. } => {
            S3Error::with_message(S3ErrorCode::MetadataTooLarge, message)
        }
        EngineError::Locked => {
            s3_error!(AccessDenied, "Access Denied because object protected by object lock.")
        }
        EngineError::RetentionOver => invalid_argument(message),
        // No request of S3 changes records of the node.
        EngineError::NodeNameLength { .. }
        | EngineError::NodeValueTooLong { .. }
        | EngineError::NodeChangeTooLarge { .. }
        | EngineError::NodeRecordsFull { .. }
        | EngineError::NodeRecordsChanged { .. } => {
            tracing::error!(message, "an error of the node's records came to a request");
            s3_error!(InternalError)
        }
        EngineError::ConfigTooLarge { .. } => S3Error::with_message(S3ErrorCode::EntityTooLarge, message),
        EngineError::LockNeedsVersions => invalid_bucket_state(message),
        EngineError::QuotaExceeded { .. } => quota_exceeded(message),
        EngineError::LengthMismatch { .. } => S3Error::with_message(S3ErrorCode::IncompleteBody, message),
        EngineError::NoSpace { .. } | EngineError::IndexFull { .. } => insufficient_storage(message),
        EngineError::Busy { .. } => S3Error::with_message(S3ErrorCode::SlowDown, message),
        EngineError::WritesStopped { .. } | EngineError::ShuttingDown => {
            S3Error::with_message(S3ErrorCode::ServiceUnavailable, message)
        }
        EngineError::Damaged { .. } | EngineError::ReadFailed { .. } => {
            tracing::error!(error = %message, "stored data could not be read");
            s3_error!(InternalError, "The stored data could not be read; see the server's log")
        }
    }
}

/// Makes an error with a code of S3 whose status s3s does not know, or knows otherwise.
pub fn coded(code: &'static str, status: StatusCode, message: impl Into<Cow<'static, str>>) -> S3Error {
    let known = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::Custom(code.into()));
    let mut error = S3Error::with_message(known, message);
    error.set_status_code(status);
    error
}

/// Makes the error for a bucket that is not in the state that an operation needs: 409.
pub fn invalid_bucket_state(message: String) -> S3Error {
    coded("InvalidBucketState", StatusCode::CONFLICT, message)
}

/// Makes the error for a write that the bucket's quota does not admit: 403, as other servers answer.
fn quota_exceeded(message: String) -> S3Error {
    coded("QuotaExceeded", StatusCode::FORBIDDEN, message)
}

fn insufficient_storage(message: String) -> S3Error {
    coded("InsufficientStorage", StatusCode::INSUFFICIENT_STORAGE, message)
}

/// Makes the error for a request that finds no memory: 503.
pub fn slow_down(error: OutOfMemory) -> S3Error {
    S3Error::with_message(S3ErrorCode::SlowDown, error.to_string())
}

/// Makes the error for an upload that is not in progress, or no longer: 404.
pub fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. It may have been aborted or completed, or its id may be invalid."
    )
}

/// Makes the error for a condition that does not hold: 412.
pub fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// Makes the error for what a request asks for and this server does not do: 501.
pub fn not_implemented(what: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("{what} is not implemented by this server"))
}

/// Makes the error for an invalid argument: 400. The message says which.
pub fn invalid_argument(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// Makes the error for a request that contradicts itself: 400.
pub fn invalid_request(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message)
}

/// Returns the error for a request body that failed while it was read. A layer below that knows the
/// S3 error (a wrong chunk signature, say) hands it over as an [`S3Error`].
pub fn from_body(error: StdError) -> S3Error {
    match error.downcast::<S3Error>() {
        Ok(known) => *known,
        Err(other) => S3Error::with_message(
            S3ErrorCode::IncompleteBody,
            format!("the request body ended early: {other}"),
        ),
    }
}

/// Returns the S3 error for an error of the authentication, for example of a form's signature.
pub fn from_auth(error: &AuthError) -> S3Error {
    let mut answer = S3Error::with_message(S3ErrorCode::Custom(error.code().into()), error.to_string());
    answer.set_status_code(error.status());
    answer
}

/// Returns the message of an error for which s3s writes none.
pub fn default_message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        }
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long: the most is 1024 bytes of UTF-8.",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema."
        }
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MissingRequestBodyError" => "Request body is empty.",
        "NotImplemented" => "The operation is not implemented by this server.",
        "NotModified" | "PreconditionFailed" => {
            "At least one of the pre-conditions you specified did not hold"
        }
        _ => "The server could not do what the request asks for; the code says why.",
    }
}

/// Adds to the XML of an error what s3s leaves out: a message, the resource (the path of the
/// request), and the id of the request. Returns None for what is no XML.
pub fn complete(xml: &str, resource: &str, request_id: &str) -> Option<String> {
    let (has_message, has_resource) = (xml.contains("<Message>"), xml.contains("<Resource>"));
    let mut reader = Reader::from_str(xml);
    let mut writer = Writer::new(Vec::with_capacity(xml.len() + 256));
    let mut text = String::new();
    loop {
        let event = reader.read_event().ok()?;
        match &event {
            Event::Eof => return String::from_utf8(writer.into_inner()).ok(),
            Event::Text(content) => text = content.decode().ok()?.into_owned(),
            Event::End(end) if end.name().as_ref() == b"Error" => {
                let resource = (!has_resource).then_some(("Resource", resource));
                for (name, value) in resource.into_iter().chain([("RequestId", request_id)]) {
                    writer.create_element(name).write_text_content(BytesText::new(value)).ok()?;
                }
            }
            _ => {}
        }
        let ends_code = matches!(&event, Event::End(end) if end.name().as_ref() == b"Code");
        writer.write_event(event).ok()?;
        if ends_code && !has_message {
            let message = BytesText::new(default_message(&text));
            writer.create_element("Message").write_text_content(message).ok()?;
        }
    }
}

/// Turns a result of the engine into one of S3.
pub trait EngineResult<T> {
    /// Turns the error, if it is one, into an S3 error.
    fn s3(self) -> S3Result<T>;
}

impl<T> EngineResult<T> for ringbolt_engine::Result<T> {
    fn s3(self) -> S3Result<T> {
        self.map_err(from_engine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_drive_is_507_with_the_engine_s_advice() {
        let error = from_engine(EngineError::NoSpace { free_bytes: 12 });
        assert_eq!(error.status_code(), Some(http::StatusCode::INSUFFICIENT_STORAGE));
        let message = error.message().unwrap_or_default();
        assert!(
            message.contains("delete objects or add a drive") && message.contains("(12 bytes are free"),
            "{message}"
        );
    }

    #[test]
    fn a_body_error_that_knows_its_s3_error_keeps_it() {
        let known: StdError = Box::new(s3_error!(SignatureDoesNotMatch, "chunk 3"));
        assert_eq!(from_body(known).code(), &S3ErrorCode::SignatureDoesNotMatch);
        let unknown: StdError = "connection reset".into();
        assert_eq!(from_body(unknown).code(), &S3ErrorCode::IncompleteBody);
    }

    #[test]
    fn an_error_says_what_where_and_under_which_id() {
        let bare = "<Error><Code>KeyTooLongError</Code></Error>";
        assert_eq!(
            complete(bare, "/b/a&b", "7").unwrap(),
            "<Error><Code>KeyTooLongError</Code><Message>Your key is too long: the most is 1024 bytes of \
             UTF-8.</Message><Resource>/b/a&amp;b</Resource><RequestId>7</RequestId></Error>"
        );
        let whole = "<Error><Code>A</Code><Message>m</Message><Resource>/r</Resource></Error>";
        let with_id = whole.replace("</Error>", "<RequestId>7</RequestId></Error>");
        assert_eq!(complete(whole, "/other", "7"), Some(with_id));
        assert_eq!(complete("<Error><Code></Error>", "/", "7"), None);
    }
}
