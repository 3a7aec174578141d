//! This module describes failures of requests, as an errno for the figures and as text for users.

use super::head::Malformed;
use crate::engine::EngineError;
use crate::engine::failures::FailedOperation;
use rustls::CertificateError;
use std::io;
use std::time::Duration;

/// At most this many characters of a server's message are kept.
const MESSAGE_CHARACTERS_MAX: usize = 200;

// These are errno values of Linux, as completions contain them.
const ENOENT: i32 = 2;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const EPROTO: i32 = 71;
const ECONNRESET: i32 = 104;
const ETIMEDOUT: i32 = 110;
const ECANCELED: i32 = 125;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection before its answer was whole")]
    Closed,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("TLS: {}", tls_in_words(.0))]
    Tls(rustls::Error),
    #[error("no whole answer within {0:?}")]
    TimedOut(Duration),
    #[error("cut off, because the run or the job was over")]
    Cut,
    #[error("{status} {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    /// A response lacks a required part.
    #[error("the answer has no {0}")]
    Lacks(&'static str),
    /// Adds the request to a failure.
    #[error("{method} {path}: {failure}")]
    At { method: &'static str, path: String, failure: Box<Self> },
    #[error("the answer has status {status}, not {expected}")]
    OtherStatus { status: u16, expected: u16 },
    /// The length of an object or range is not the expected one.
    #[error("{bytes} bytes are announced or came, {expected} are to come")]
    OtherLength { bytes: u64, expected: u64 },
    #[error("Content-Range is {found:?}, not {expected:?}")]
    OtherRange { found: String, expected: String },
    #[error("the listing has {keys} keys, at least {expected} are stored")]
    ShortList { keys: u64, expected: u64 },
}

impl Failure {
    /// Creates the failure from a response's status and body, which may be an XML document of S3.
    pub fn refused(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let element =
            |name| ringbolt_tool_common::s3::answer::elements(&text, name).next().unwrap_or_default();
        let message = element("Message").chars().take(MESSAGE_CHARACTERS_MAX).collect();
        let code = match element("Code") {
            "" => "without an error code".to_owned(),
            code => code.to_owned(),
        };
        Self::Refused { status, code, message }
    }

    /// Adds the request to a failure, unless it already has one.
    pub fn at(self, method: &'static str, path: &[u8]) -> Self {
        match self {
            Self::At { .. } => self,
            failure => {
                let path = String::from_utf8_lossy(path).into_owned();
                Self::At { method, path, failure: Box::new(failure) }
            }
        }
    }

    /// Replaces the reason of the failure and keeps the request.
    pub fn because(self, reason: Self) -> Self {
        match self {
            Self::At { method, path, .. } => Self::At { method, path, failure: Box::new(reason) },
            _ => reason,
        }
    }

    /// Returns the failure without the request.
    pub fn reason(&self) -> &Self {
        match self {
            Self::At { failure, .. } => failure,
            failure => failure,
        }
    }

    /// Describes the failure for the report.
    pub fn told(&self) -> FailedOperation {
        let (operation, path) = match self {
            Self::At { method, path, .. } => ((*method).to_owned(), path.clone()),
            _ => (String::new(), String::new()),
        };
        let reason = self.reason();
        let (status, code) = match reason {
            Self::Refused { status, code, .. } => (Some(*status), Some(code.clone())),
            Self::OtherStatus { status, .. } => (Some(*status), None),
            _ => (None, None),
        };
        FailedOperation {
            operation,
            path,
            offset: None,
            errno: self.errno(),
            status,
            code,
            text: reason.to_string(),
            kind: reason.kind(),
        }
    }

    /// Returns the status of a response with an error, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self.reason() {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns the errno for the completion, as a positive number.
    pub fn errno(&self) -> i32 {
        match self.reason() {
            Self::At { .. } => unreachable!("a reason is no request"),
            Self::Io(error) => error.raw_os_error().unwrap_or(ECONNRESET),
            Self::Closed => ECONNRESET,
            Self::Tls(_)
            | Self::Malformed(_)
            | Self::Lacks(_)
            | Self::OtherStatus { .. }
            | Self::OtherLength { .. }
            | Self::OtherRange { .. }
            | Self::ShortList { .. } => EPROTO,
            Self::TimedOut(_) => ETIMEDOUT,
            Self::Cut => ECANCELED,
            Self::Refused { status, code, .. } => match (*status, code.as_str()) {
                (_, "SlowDown") | (429 | 503, _) => EBUSY,
                (_, "XMinioStorageFull") | (507, _) => ENOSPC,
                (401 | 403, _) => EACCES,
                (404, _) => ENOENT,
                (409, _) => EEXIST,
                (500.., _) => EIO,
                _ => EINVAL,
            },
        }
    }

    /// Returns a text that is equal for failures of the same kind.
    pub fn kind(&self) -> String {
        match self {
            Self::Refused { status, code, .. } => format!("{status} {code}"),
            Self::OtherLength { .. } => "a body of another length".into(),
            Self::OtherRange { .. } => "another range".into(),
            Self::ShortList { .. } => "a short listing".into(),
            other => other.to_string(),
        }
    }
}

/// Says what is wrong with TLS, and what to do about it.
fn tls_in_words(error: &rustls::Error) -> String {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    let advice = match error {
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            ": http_host= has to be a name that is in it, or use https=insecure, which does not look at it"
        }
        rustls::Error::InvalidCertificate(_) => {
            ": add who signed it to the certificates that the system trusts, or name a PEM file with it in \
             SSL_CERT_FILE, or use https=insecure, which does not look at it"
        }
        rustls::Error::InvalidMessage(_) => "; is it https that is spoken there?",
        _ => "",
    };
    let certificate = match error {
        rustls::Error::InvalidCertificate(_) => "the server's certificate is not trusted: ",
        _ => "",
    };
    format!("{certificate}{error}{advice}")
}

/// Preparation has no completion that could hold the failure.
impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_s3_gives_its_code_and_its_errno() {
        let body = b"<?xml?><Error><Code>NoSuchKey</Code><Message>It is gone.</Message></Error>";
        let failure = Failure::refused(404, body);
        assert_eq!((failure.to_string().as_str(), failure.errno()), ("404 NoSuchKey: It is gone.", ENOENT));
        assert_eq!(Failure::refused(503, b"<Code>SlowDown</Code>").errno(), EBUSY);
        assert_eq!(Failure::refused(502, b"bad gateway").errno(), EIO);
        assert_eq!(Failure::refused(403, b"").errno(), EACCES);
        assert_eq!(Failure::Tls(rustls::Error::DecryptError).errno(), EPROTO);
        assert_eq!(Failure::Io(io::Error::from_raw_os_error(111)).errno(), 111);
    }

    #[test]
    fn a_certificate_that_is_refused_says_what_to_do() {
        let words = |error| Failure::Tls(rustls::Error::InvalidCertificate(error)).to_string();
        let unknown = words(CertificateError::UnknownIssuer);
        assert!(unknown.contains("not trusted") && unknown.contains("SSL_CERT_FILE"), "{unknown}");
        let other_name = words(CertificateError::NotValidForName);
        assert!(other_name.contains("http_host=") && !other_name.contains("SSL_CERT_FILE"), "{other_name}");
        assert!([unknown, other_name].iter().all(|text| text.contains("https=insecure")));
    }
}
