//! What an engine error means to an S3 client.
//!
//! Invariant: an answer of 5xx that hides its cause from the client has its detail in the log.

use crate::auth::AuthError;
use crate::memory::OutOfMemory;
use ringbolt_engine::EngineError;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

/// The S3 error for what the engine answered.
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
        EngineError::TooLarge { .. } => S3Error::with_message(S3ErrorCode::EntityTooLarge, message),
        EngineError::KeyTooLong { .. } => S3Error::with_message(S3ErrorCode::KeyTooLongError, message),
        EngineError::AttributesTooLarge { .. } => {
            S3Error::with_message(S3ErrorCode::MetadataTooLarge, message)
        }
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

fn insufficient_storage(message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), message);
    error.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
    error
}

/// 503 for a request that finds no memory.
pub fn slow_down(error: OutOfMemory) -> S3Error {
    S3Error::with_message(S3ErrorCode::SlowDown, error.to_string())
}

/// 404 for an upload that is not, or no longer, in progress.
pub fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. It may have been aborted or completed, or its id may be invalid."
    )
}

/// 412 for a condition that does not hold.
pub fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// 501 for what a request asks for and this server does not do.
pub fn not_implemented(what: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::NotImplemented, format!("{what} is not implemented by this server"))
}

/// 400 with the argument that was wrong.
pub fn invalid_argument(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// 400 for a request that contradicts itself.
pub fn invalid_request(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message)
}

/// The error for a request body that failed while it was read. A layer below that knows the S3
/// error (a wrong chunk signature, say) hands it over as an [`S3Error`].
pub fn from_body(error: StdError) -> S3Error {
    match error.downcast::<S3Error>() {
        Ok(known) => *known,
        Err(other) => S3Error::with_message(
            S3ErrorCode::IncompleteBody,
            format!("the request body ended early: {other}"),
        ),
    }
}

/// The error for a signature, of a form say, that the room of signatures refused.
pub fn from_auth(error: &AuthError) -> S3Error {
    let mut answer = S3Error::with_message(S3ErrorCode::Custom(error.code().into()), error.to_string());
    answer.set_status_code(error.status());
    answer
}

/// What an error says whose message s3s leaves out.
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

/// Adds to the XML of an error what s3s leaves out: a message, the resource (a path, escaped), and the request's id.
pub fn complete(xml: &str, resource: &str, request_id: &str) -> String {
    let mut xml = xml.to_owned();
    if !xml.contains("<Message>")
        && let Some((start, end)) = xml.find("<Code>").zip(xml.find("</Code>"))
    {
        let message = default_message(&xml[start + "<Code>".len()..end]);
        xml.insert_str(end + "</Code>".len(), &format!("<Message>{message}</Message>"));
    }
    let resource = match xml.contains("<Resource>") {
        true => String::new(),
        false => format!("<Resource>{resource}</Resource>"),
    };
    xml.replacen("</Error>", &format!("{resource}<RequestId>{request_id}</RequestId></Error>"), 1)
}

/// Turns the engine's result into the handler's.
pub trait EngineResult<T> {
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
            complete(bare, "/b/a&amp;b", "7"),
            "<Error><Code>KeyTooLongError</Code><Message>Your key is too long: the most is 1024 bytes of \
             UTF-8.</Message><Resource>/b/a&amp;b</Resource><RequestId>7</RequestId></Error>"
        );
        let whole = "<Error><Code>A</Code><Message>m</Message><Resource>/r</Resource></Error>";
        let with_id = whole.replace("</Error>", "<RequestId>7</RequestId></Error>");
        assert_eq!(complete(whole, "/other", "7"), with_id);
    }
}
