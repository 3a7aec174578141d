//! Answers to commands, and the errors of the engine in an operator's words.

use crate::memory::OutOfMemory;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use ringbolt_engine::EngineError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The reason why a command was not carried out, and what to do.
#[derive(Debug)]
pub struct Failure {
    pub status: StatusCode,
    error: String,
    what_to_do: String,
    /// The methods that the path has, where the request's is none of them.
    allowed: Option<&'static str>,
}

impl Failure {
    /// Makes a failure of what is wrong and what to do about it.
    pub fn new(status: StatusCode, error: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self { status, error: error.into(), what_to_do: what_to_do.into(), allowed: None }
    }

    /// The path is that of no command.
    pub fn no_such_path() -> Self {
        let what_to_do = "see the commands of `ringbolt --help`";
        Self::new(StatusCode::NOT_FOUND, "there is no such command", what_to_do)
    }

    /// The path has other methods than the request's.
    pub fn method(allowed: &'static str) -> Self {
        let what_to_do = format!("use one of these methods: {allowed}");
        let failure =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, "the method is none of this path", what_to_do);
        Self { allowed: Some(allowed), ..failure }
    }

    /// The node is not open.
    pub fn starting() -> Self {
        let error = "the server is starting: it recovers its drives";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error, "try again once /ringbolt/health answers 200")
    }

    /// The body is longer than any command's.
    pub fn too_large() -> Self {
        let error = "the body has more than 64 KiB";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send the fields of the command alone")
    }

    /// The body did not come to its end.
    pub fn incomplete() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the body did not arrive", "send it whole, within 20 seconds")
    }

    /// The body is not what the command takes. `expected` is an example.
    pub fn body(error: &serde_json::Error, expected: &str) -> Self {
        let what_to_do = format!("send a body as in {expected}");
        Self::new(StatusCode::BAD_REQUEST, format!("the body is not understood: {error}"), what_to_do)
    }

    /// There is no bucket of this name.
    pub fn no_such_bucket(name: &str) -> Self {
        let error = format!("there is no bucket {name:?}");
        Self::new(StatusCode::NOT_FOUND, error, "see the names with `ringbolt bucket list`")
    }

    /// Returns the answer to the request.
    pub fn response(self) -> Response<s3s::Body> {
        let value = json!({ "error": self.error, "what_to_do": self.what_to_do });
        let mut response = json(self.status, &value);
        if let Some(allowed) = self.allowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let (status, what_to_do) = match &error {
            EngineError::NoSuchBucket => {
                (StatusCode::NOT_FOUND, "somebody deleted it meanwhile; see `ringbolt bucket list`")
            }
            EngineError::BucketNotEmpty => (
                StatusCode::CONFLICT,
                "empty it with `ringbolt bucket empty`, or delete it together with what it holds with `ringbolt bucket \
                 delete --force`",
            ),
            EngineError::NoSpace { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "delete objects, or move to a larger drive")
            }
            EngineError::IndexFull { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "raise --memory, delete objects, or abort uploads")
            }
            EngineError::NodeValueTooLong { .. } | EngineError::NodeChangeTooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "make it smaller, for example by managed policies in place of inline ones",
            ),
            EngineError::NodeNameLength { .. } => (StatusCode::BAD_REQUEST, "choose a shorter name"),
            EngineError::NodeRecordsFull { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "remove users or keys that nobody needs")
            }
            EngineError::NodeRecordsChanged { .. } => (StatusCode::CONFLICT, "try again"),
            EngineError::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
            EngineError::ShuttingDown => {
                (StatusCode::SERVICE_UNAVAILABLE, "try again once the server runs again")
            }
            EngineError::WritesStopped { .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "look at the drive, then restart the server: only that tells whether the change is there",
            ),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "see the server's log"),
        };
        Self::new(status, error.to_string(), what_to_do)
    }
}

impl From<OutOfMemory> for Failure {
    fn from(error: OutOfMemory) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string(), "try again")
    }
}

/// Reads the fields of a command's body, which is a JSON object. `expected` is an example.
///
/// # Errors
/// Returns a failure when it is something else, or has fields that the command does not take.
pub fn fields<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, Failure> {
    // A list would be taken for the fields in their order.
    let read = serde_json::from_slice(body).map(Value::Object);
    read.and_then(serde_json::from_value).map_err(|error| Failure::body(&error, expected))
}

/// Returns an answer with a JSON body.
pub fn json(status: StatusCode, value: &Value) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(format!("{value}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
