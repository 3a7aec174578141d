//! A recorder of what a drive is sent, for tests that replay power cuts. It exists only with the
//! feature `record`, and wraps only the devices of a node that was opened for it.
//!
//! Invariants:
//! - A start is recorded before the device is called, an end after the device has completed. So
//!   what the recording calls durable is durable, and what it calls started is all that can have
//!   reached the drive.
//! - There is one order of events over all cores: if a core saw an end before it began an
//!   operation, the recording has them in this order.
//! - A write whose future is dropped has no end. It counts as never completed, which allows more
//!   states after a power cut and promises less.

use std::rc::Rc;
#[expect(clippy::disallowed_types, reason = "test build only: one order of events over all cores")]
use std::sync::{Arc, Mutex, PoisonError};

use super::{Device, Durability, FlushFuture, IoFuture};
use crate::ring::Buffer;

/// An event of a recording. Writes and flushes are numbered together.
#[derive(Clone, Debug)]
pub enum Event {
    WriteStarted {
        id: u64,
        offset: u64,
        bytes: Vec<u8>,
        durability: Durability,
    },
    WriteEnded {
        id: u64,
    },
    FlushStarted {
        id: u64,
    },
    FlushEnded {
        id: u64,
    },
    /// An event of the test itself, such as a request sent or an answer received.
    Mark(u64),
}

#[derive(Default)]
struct Recording {
    events: Vec<Event>,
    next: u64,
}

/// A running recording. Clones record into the same one.
#[derive(Clone, Default)]
#[expect(clippy::disallowed_types, reason = "test build only: one order of events over all cores")]
pub struct Recorder(Arc<Mutex<Recording>>);

impl Recorder {
    /// Records an event of the test itself.
    pub fn mark(&self, number: u64) {
        self.change(|recording| recording.events.push(Event::Mark(number)));
    }

    /// Returns all events so far and empties the recording.
    pub fn take(&self) -> Vec<Event> {
        self.change(|recording| std::mem::take(&mut recording.events))
    }

    /// Returns a device that passes every call to `inner` and records it.
    pub fn wrap(&self, inner: Rc<dyn Device>) -> Rc<dyn Device> {
        Rc::new(RecordingDevice { inner, recorder: self.clone() })
    }

    fn start(&self, event: impl FnOnce(u64) -> Event) -> u64 {
        self.change(|recording| {
            recording.next += 1;
            recording.events.push(event(recording.next));
            recording.next
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Recording) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct RecordingDevice {
    inner: Rc<dyn Device>,
    recorder: Recorder,
}

impl Device for RecordingDevice {
    fn size_bytes(&self) -> u64 {
        self.inner.size_bytes()
    }

    fn needs_flush(&self) -> bool {
        self.inner.needs_flush()
    }

    fn durable_write_flushes(&self) -> bool {
        self.inner.durable_write_flushes()
    }

    fn is_idle(&self) -> bool {
        self.inner.is_idle()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        self.inner.read(offset, length, buffer)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        let bytes = buffer[..length].to_vec();
        let id = self.recorder.start(|id| Event::WriteStarted { id, offset, bytes, durability });
        let (recorder, running) =
            (self.recorder.clone(), self.inner.write(offset, length, buffer, durability));
        Box::pin(async move {
            let (result, buffer) = running.await;
            if result.is_ok() {
                recorder.change(|recording| recording.events.push(Event::WriteEnded { id }));
            }
            (result, buffer)
        })
    }

    fn flush(&self) -> FlushFuture {
        let id = self.recorder.start(|id| Event::FlushStarted { id });
        let (recorder, running) = (self.recorder.clone(), self.inner.flush());
        Box::pin(async move {
            let result = running.await;
            if result.is_ok() {
                recorder.change(|recording| recording.events.push(Event::FlushEnded { id }));
            }
            result
        })
    }
}
