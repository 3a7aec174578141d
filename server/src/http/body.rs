//! Bodies on the wire: requests that must keep arriving, and responses that end with their log line.

use super::pace::Pace;
use super::timer::CoreSleep;
use crate::auth::AuthError;
use crate::memory::{Held, Share};
use bytes::Bytes;
use http::{Method, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A request body. Fails when nothing came for `stall`, or too little ([`Pace`]).
pub struct RequestBody {
    inner: Incoming,
    stall: Duration,
    pace: Pace,
    deadline: Option<CoreSleep>,
    unread: Unread,
}

/// Whether something of a request's body was left on the wire. Then the connection can not be used again, and the
/// client must be told, or it sends its next request into a closing connection.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, unread: bool) {
        self.0.store(unread, Ordering::Relaxed);
    }
}

impl RequestBody {
    /// `unread` is kept up to date from here on.
    pub fn new(inner: Incoming, stall: Duration, unread: Unread) -> Self {
        unread.set(!inner.is_end_stream());
        Self { inner, stall, pace: Pace::new(stall), deadline: None, unread }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = AuthError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AuthError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.deadline = None;
            this.unread.set(frame.is_some() && !this.inner.is_end_stream());
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            if let Some(data) = data
                && this.pace.moved(data.len() as u64).is_err()
            {
                return Poll::Ready(Some(Err(AuthError::BodyTimeout)));
            }
            let failed = |error: hyper::Error| AuthError::BodyFailed(error.to_string());
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        this.pace.waits();
        let deadline = this.deadline.get_or_insert_with(|| CoreSleep::new(this.stall));
        ready!(Pin::new(deadline).poll(context));
        Poll::Ready(Some(Err(AuthError::BodyTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What the log line of a request says.
pub struct RequestRecord {
    pub method: Method,
    pub uri: Uri,
    pub request_id: String,
    pub started: Instant,
    pub slow: Duration,
    pub status: StatusCode,
    pub bytes: u64,
}

impl Drop for RequestRecord {
    /// The query is left out: it may hold a presigned signature.
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let (method, path, status) = (&self.method, self.uri.path(), self.status.as_u16());
        let (bytes, id, ms) = (self.bytes, self.request_id.as_str(), duration.as_secs_f64() * 1e3);
        if duration >= self.slow {
            tracing::warn!(%method, path, status, bytes, duration_ms = ms, request_id = id, "slow request");
        } else {
            tracing::debug!(%method, path, status, bytes, duration_ms = ms, request_id = id, "request");
        }
    }
}

/// A response body. Its record is logged when it is dropped: sent to the end, or given up.
pub struct ResponseBody {
    inner: s3s::Body,
    record: RequestRecord,
    _memory: Memory,
}

/// What the request, and what its answer, hold until that was sent or given up.
type Memory = (Option<Share>, Option<Held>);

impl ResponseBody {
    pub fn new(inner: s3s::Body, record: RequestRecord, memory: Memory) -> Self {
        Self { inner, record, _memory: memory }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = s3s::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => this.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                let id = this.record.request_id.as_str();
                tracing::error!(request_id = id, %error, "the answer broke off");
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
