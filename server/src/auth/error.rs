//! The errors of a request's signature or body, with the S3 code and the status that each is
//! answered with.

/// The reason why a request's signature or body is not acceptable. The error of a body reaches the handlers as
/// the error of the body's stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    #[error("Access Denied")]
    AccessDenied,
    #[error("There were headers present in the request which were not signed: {0}")]
    HeaderNotSigned(String),
    #[error("Request has expired: it was valid until {0}")]
    Expired(String),
    #[error("Request is not yet valid: it is dated {0}, more than 15 minutes ahead of this server")]
    NotYetValid(String),
    #[error("AWS authentication requires a valid Date or x-amz-date header; got {0:?}")]
    BadDate(String),
    #[error("The access key id you provided does not exist in our records.")]
    InvalidAccessKeyId,
    #[error(
        "The request signature we calculated does not match the signature you provided. \
         Check your secret key and signing method."
    )]
    SignatureDoesNotMatch,
    #[error("The authorization header is malformed; {0}")]
    MalformedHeader(String),
    #[error("The authorization header is malformed; the region '{given}' is wrong; expecting '{expected}'")]
    WrongRegion { given: String, expected: String },
    #[error(
        "Error parsing the X-Amz-Credential parameter; the region '{given}' is wrong; expecting '{expected}'"
    )]
    WrongQueryRegion { given: String, expected: String },
    #[error("{0}")]
    MalformedQuery(String),
    #[error("X-Amz-Expires is {given:?}; it must be a number of seconds from 1 to {max_s}")]
    BadExpires { given: String, max_s: u32 },
    #[error("The difference between the request time ({0}) and the server's time is too large.")]
    RequestTimeTooSkewed(String),
    #[error(
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256 \
         (signature version 4)."
    )]
    UnsupportedMechanism,
    #[error(
        "Signature version 2 is switched off at this server (--signature-v2 off): please use AWS4-HMAC-SHA256."
    )]
    Version2Off,
    #[error(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
         or the Authorization header should be specified"
    )]
    SeveralMechanisms,
    #[error("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters: {0}")]
    MalformedQuery2(String),
    #[error("{0} is given twice with values that differ")]
    GivenTwice(String),
    #[error("The value of the query parameter {0} is none that a header can have")]
    NoHeaderValue(String),
    #[error("Unsupported authorization type: {0}")]
    UnsupportedScheme(String),
    #[error("Missing required header for this request: {0}")]
    MissingHeader(&'static str),
    #[error("Invalid header {name}: {reason}")]
    BadHeader { name: &'static str, reason: String },
    #[error("You must provide the Content-Length HTTP header.")]
    MissingContentLength,
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    ContentSha256Mismatch,
    #[error("You did not provide the number of bytes announced: {got} of {announced}")]
    IncompleteBody { announced: u64, got: u64 },
    #[error("The aws-chunked body is malformed: {0}")]
    MalformedChunk(String),
    #[error("The request body stopped arriving")]
    BodyTimeout,
    #[error("The connection failed while the body was read: {0}")]
    BodyFailed(String),
}

impl AuthError {
    /// Returns whether the key or what it signed is wrong, as whoever guesses keys has it.
    pub fn is_wrong_key(&self) -> bool {
        matches!(self, Self::InvalidAccessKeyId | Self::SignatureDoesNotMatch)
    }

    /// Returns the code that S3 has for this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AccessDenied
            | Self::HeaderNotSigned(_)
            | Self::Expired(_)
            | Self::NotYetValid(_)
            | Self::MalformedQuery2(_)
            | Self::BadDate(_) => "AccessDenied",
            Self::InvalidAccessKeyId => "InvalidAccessKeyId",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::MalformedHeader(_) | Self::WrongRegion { .. } => "AuthorizationHeaderMalformed",
            Self::MalformedQuery(_) | Self::WrongQueryRegion { .. } | Self::BadExpires { .. } => {
                "AuthorizationQueryParametersError"
            }
            Self::RequestTimeTooSkewed(_) => "RequestTimeTooSkewed",
            Self::UnsupportedMechanism | Self::Version2Off | Self::MissingHeader(_) => "InvalidRequest",
            Self::UnsupportedScheme(_)
            | Self::SeveralMechanisms
            | Self::GivenTwice(_)
            | Self::NoHeaderValue(_)
            | Self::BadHeader { .. } => "InvalidArgument",
            Self::MissingContentLength => "MissingContentLength",
            Self::ContentSha256Mismatch => "XAmzContentSHA256Mismatch",
            Self::IncompleteBody { .. } | Self::MalformedChunk(_) | Self::BodyFailed(_) => "IncompleteBody",
            Self::BodyTimeout => "RequestTimeout",
        }
    }

    /// Returns the HTTP status that the error is answered with.
    pub fn status(&self) -> http::StatusCode {
        use http::StatusCode;
        match self.code() {
            // A request that is never valid is refused like one that is no longer valid.
            _ if matches!(self, Self::BadExpires { .. }) => StatusCode::FORBIDDEN,
            "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => {
                StatusCode::FORBIDDEN
            }
            "MissingContentLength" => StatusCode::LENGTH_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the region that the client should have signed for, if that is what was wrong.
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::WrongRegion { expected, .. } | Self::WrongQueryRegion { expected, .. } => Some(expected),
            _ => None,
        }
    }
}
