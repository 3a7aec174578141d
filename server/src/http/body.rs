//! Bodies on the wire: those of requests, which must keep arriving, and those of responses, which
//! end with the log line of their request.

use super::gathered::Gathered;
use super::minimum_rate::MinimumRate;
use super::timer::CoreSleep;
use crate::auth::AuthError;
use crate::client::Client;
use crate::memory::{Reservation, ResponseMemory};
use crate::next_piece;
use crate::throttle::Pace;
use bytes::{Buf, Bytes};
use http::{Method, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use ringbolt_engine::types::RequestId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// A request's body on the wire. It fails when the peer sends nothing for `stall`, or too little
/// ([`MinimumRate`]).
pub struct RequestBody {
    inner: Incoming,
    stall: Duration,
    rate: MinimumRate,
    deadline: Option<CoreSleep>,
    unread: Unread,
    pace: Pace,
    pause: Option<CoreSleep>,
}

/// Tells whether some of a request's body was left on the wire. The connection can not be used
/// again then, and the client must be told, or it sends its next request into a closing connection.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Returns whether some of the body is unread.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes whether some of the body is unread.
    pub fn set(&self, unread: bool) {
        self.0.store(unread, Ordering::Relaxed);
    }
}

impl RequestBody {
    /// Wraps a body, and keeps `unread` up to date from here on.
    pub fn new(inner: Incoming, stall: Duration, unread: Unread, pace: Pace) -> Self {
        unread.set(!inner.is_end_stream());
        Self { inner, stall, rate: MinimumRate::new(stall), deadline: None, unread, pace, pause: None }
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
        if this.pace.poll_ready(&mut this.pause, context).is_pending() {
            // A peer that was silent for too long is not saved by others of its key.
            let is_late = |deadline: &mut CoreSleep| Pin::new(deadline).poll(context).is_ready();
            if this.deadline.as_mut().is_some_and(is_late) {
                return Poll::Ready(Some(Err(AuthError::BodyTimeout)));
            }
            // The peer is not waited for meanwhile, and so is not too slow.
            this.rate.rests();
            this.deadline = None;
            return Poll::Pending;
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.deadline = None;
            this.unread.set(frame.is_some() && !this.inner.is_end_stream());
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
            this.pace.moved(data.map_or(0, |data| data.len() as u64));
            if let Some(data) = data
                && this.rate.moved(data.len() as u64).is_err()
            {
                return Poll::Ready(Some(Err(AuthError::BodyTimeout)));
            }
            let failed = |error: hyper::Error| AuthError::BodyFailed(error.to_string());
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        this.rate.waits();
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

/// What is logged of a request when its response is dropped.
pub struct RequestRecord {
    pub method: Method,
    pub uri: Uri,
    pub request_id: RequestId,
    pub client: Client,
    pub started: Instant,
    pub slow: Duration,
    pub status: StatusCode,
    pub bytes: u64,
}

impl Drop for RequestRecord {
    /// Logs the request. The query is left out: it may hold a presigned signature.
    fn drop(&mut self) {
        let duration = self.started.elapsed();
        let (method, path, status) = (&self.method, self.uri.path(), self.status.as_u16());
        let (bytes, ms) = (self.bytes, duration.as_secs_f64() * 1e3);
        let (id, client) = (|| self.request_id.to_string(), self.client.address);
        if duration >= self.slow {
            tracing::warn!(%client, %method, path, status, bytes, duration_ms = ms, request_id = id(), "slow request");
        } else {
            tracing::debug!(%client, %method, path, status, bytes, duration_ms = ms, request_id = id(), "request");
        }
    }
}

/// A response's body. Its record is logged when it is dropped, because all was sent or the peer
/// gave up.
pub struct ResponseBody {
    inner: s3s::Body,
    record: RequestRecord,
    pace: Pace,
    pause: Option<CoreSleep>,
    /// What came behind the bytes that were given last, and is no bytes.
    next: Option<Option<Result<Frame<Gathered>, s3s::StdError>>>,
    _memory: Memory,
}

/// The memory that a request and its answer hold until the answer was sent or given up.
type Memory = (Option<Reservation>, Option<ResponseMemory>);

impl ResponseBody {
    /// Wraps a body, whose errors are logged with the request's id.
    pub fn new(inner: s3s::Body, record: RequestRecord, pace: Pace, memory: Memory) -> Self {
        Self { inner, record, pace, pause: None, next: None, _memory: memory }
    }

    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, s3s::StdError>>> {
        ready!(self.pace.poll_ready(&mut self.pause, context));
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.record.bytes += bytes;
                self.pace.moved(bytes);
            }
            // The span has the id.
            Some(Err(error)) => tracing::error!(%error, "the answer broke off"),
            None => {}
        }
        Poll::Ready(frame)
    }
}

impl Body for ResponseBody {
    type Data = Gathered;
    type Error = s3s::StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Gathered>, s3s::StdError>>> {
        let this = self.get_mut();
        let _entered = this.record.request_id.enter();
        if let Some(next) = this.next.take() {
            return Poll::Ready(next);
        }
        let mut gathered = Gathered::default();
        loop {
            match this.poll_inner(context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(piece) => {
                        gathered.add(piece);
                        let is_ready = next_piece::is_ready() && !gathered.is_full();
                        if gathered.has_remaining() && !is_ready {
                            break;
                        }
                    }
                    // Trailers have no data.
                    Err(frame) => this.next = Some(Some(Ok(frame.map_data(|_| Gathered::default())))),
                },
                Poll::Ready(Some(Err(error))) => this.next = Some(Some(Err(error))),
                Poll::Ready(None) => this.next = Some(None),
            }
            if this.next.is_some() {
                break;
            }
        }
        match this.next.take_if(|_| !gathered.has_remaining()) {
            Some(next) => Poll::Ready(next),
            None if gathered.has_remaining() => Poll::Ready(Some(Ok(Frame::data(gathered)))),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
