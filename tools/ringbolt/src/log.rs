//! The log's lines name the request that they belong to.
//!
//! Every line that is written while a request is worked on is shown inside a span `request` with
//! the field `request_id`. The span is made when a line is written, and not when the request
//! begins: a span for every request would cost each of them 300 ns and a lock that all cores share
//! (docs/decisions/dependencies.md, `tracing`).

use ringbolt_engine::types::RequestId;
use std::fmt;
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats events as `F` does, inside the span of the request that the thread works for.
#[derive(Clone, Copy, Debug, Default)]
pub struct WithRequest<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for WithRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let _entered = RequestId::current().map(|id| span_of(id, event).entered());
        self.0.format_event(context, writer, event)
    }
}

/// Makes the span of a request. It has the target of the crate that the event comes from, so that a
/// filter that shows the event shows the span too.
fn span_of(id: RequestId, event: &Event<'_>) -> Span {
    let id = id.to_string();
    match event.metadata().target().starts_with("ringbolt_engine") {
        true => tracing::error_span!(target: "ringbolt_engine", "request", request_id = id.as_str()),
        false => tracing::error_span!(target: "ringbolt_server", "request", request_id = id.as_str()),
    }
}
