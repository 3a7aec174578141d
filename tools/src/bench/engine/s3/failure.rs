//! What goes wrong between us and a server, as an errno for the figures and as words for people.

use super::head::Malformed;
use crate::bench::engine::EngineError;
use std::collections::BTreeMap;
use std::io;

/// Kinds that are kept with a message; what comes after them is counted without.
const KINDS_MAX: usize = 8;
/// Of a server's message, characters.
const MESSAGE_CHARACTERS_MAX: usize = 200;

// errno values of Linux, as completions carry them.
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

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    #[error("the server closed the connection before its answer was whole")]
    Closed,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no whole answer within {0} s")]
    TimedOut(u64),
    #[error("{status} {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    /// An answer without what it has to have.
    #[error("the answer has no {0}")]
    Lacks(&'static str),
}

impl Failure {
    /// From the answer's body, an XML document of S3 or not.
    pub fn refused(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let element = |name| crate::s3::answer::elements(&text, name).next().unwrap_or_default();
        let message = element("Message").chars().take(MESSAGE_CHARACTERS_MAX).collect();
        let code = match element("Code") {
            "" => "without an error code".to_owned(),
            code => code.to_owned(),
        };
        Self::Refused { status, code, message }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// As a completion carries it, positive.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Io(error) => error.raw_os_error().unwrap_or(ECONNRESET),
            Self::Closed => ECONNRESET,
            Self::Malformed(_) | Self::Lacks(_) => EPROTO,
            Self::TimedOut(_) => ETIMEDOUT,
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

    /// What such failures have in common.
    fn kind(&self) -> String {
        match self {
            Self::Refused { status, code, .. } => format!("{status} {code}"),
            other => other.to_string(),
        }
    }
}

/// Preparing has no completion to put it into.
impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

/// How often what went wrong.
#[derive(Debug, Default)]
pub struct Failures {
    kinds: BTreeMap<String, (u64, String)>,
    others: u64,
}

impl Failures {
    pub fn count(&mut self, failure: &Failure) {
        let kind = failure.kind();
        if let Some((count, _)) = self.kinds.get_mut(&kind) {
            *count += 1;
        } else if self.kinds.len() < KINDS_MAX {
            self.kinds.insert(kind, (1, failure.to_string()));
        } else {
            self.others += 1;
        }
    }

    /// A line for each kind, the most frequent first.
    pub fn lines(&self) -> Vec<String> {
        let mut kinds: Vec<_> = self.kinds.values().collect();
        kinds.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let mut lines: Vec<String> =
            kinds.iter().map(|(count, first)| format!("{count} × {first}")).collect();
        if self.others > 0 {
            lines.push(format!("{} × of other kinds", self.others));
        }
        lines
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
        assert_eq!(Failure::Io(io::Error::from_raw_os_error(111)).errno(), 111);
    }

    #[test]
    fn kinds_are_counted_and_bounded() {
        let mut failures = Failures::default();
        for number in 0..20 {
            failures.count(&Failure::refused(503, b"<Code>SlowDown</Code>"));
            failures.count(&Failure::refused(400 + number, b"<Code>Odd</Code>"));
        }
        let lines = failures.lines();
        assert_eq!(lines[0], "20 × 503 SlowDown: ");
        assert_eq!(lines.len(), KINDS_MAX + 1);
        assert_eq!(lines.last().unwrap(), "13 × of other kinds");
    }
}
