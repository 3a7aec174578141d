//! Transfers that the kernel ends early, and how they go on: the same for a ring and for the simulated drive.
//!
//! Invariants:
//! - A transfer is whole or an error. What was done of a block is done again, because O_DIRECT goes on at a block.
//! - EINTR and EAGAIN come before anything happened: they are no verdict of the device. Every other error is final.

use std::future::Future;

use super::DeviceError;
use crate::ring::Buffer;
use crate::ring::arena::ALIGNMENT;
use crate::ring::uring::Completion;

/// What is transferred, for the message of an error.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    pub operation: &'static str,
    pub offset: u64,
    pub length: usize,
}

impl Transfer {
    /// Waits for `running`, which was started for the whole; `start` starts the rest behind the bytes it gets.
    pub async fn complete<F: Future<Output = Completion>>(
        self,
        mut running: F,
        start: impl Fn(usize, Buffer) -> F,
    ) -> (Result<(), DeviceError>, Buffer) {
        let mut done = 0;
        loop {
            let completion = running.await;
            let buffer = completion.buffer.unwrap_or_else(|| panic!("a transfer always has a buffer"));
            match completion.result {
                code if code == -libc::EINTR || code == -libc::EAGAIN => {}
                code if code < 0 => {
                    let reason = std::io::Error::from_raw_os_error(-code).to_string();
                    return (Err(self.failed(reason)), buffer);
                }
                0 => return (Err(self.failed("the device ended early".to_owned())), buffer),
                bytes => done += bytes as usize,
            }
            if done >= self.length {
                return (Ok(()), buffer);
            }
            done -= done % ALIGNMENT;
            running = start(done, buffer);
        }
    }

    fn failed(self, reason: String) -> DeviceError {
        DeviceError { operation: self.operation, offset: self.offset, length: self.length, reason }
    }
}
