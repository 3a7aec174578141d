//! Continuation of transfers that the kernel ended early. The ring and the simulated drive share
//! it.
//!
//! Invariants:
//! - A transfer is complete or an error. A block that was transferred in part is transferred again,
//!   because O_DIRECT continues only at a block.
//! - EINTR and EAGAIN are returned before anything happened, so the operation is repeated. Every
//!   other error is final.
//! - A transfer that makes no progress fails after some attempts; otherwise a device that ends
//!   within a block would be asked for ever.

use std::future::Future;

use super::DeviceError;
use crate::ring::Buffer;
use crate::ring::arena::ALIGNMENT;
use crate::ring::uring::Completion;

/// The most attempts in a row that may start at the same block.
const STANDSTILLS_MAX: u32 = 64;

/// A transfer, as the message of an error describes it.
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    pub operation: &'static str,
    pub offset: u64,
    pub length: usize,
}

impl Transfer {
    /// Waits for `running`, which was started for the whole transfer. If it ends early, `start`
    /// starts the rest, behind the number of bytes that it is given.
    pub async fn complete<F: Future<Output = Completion>>(
        self,
        mut running: F,
        start: impl Fn(usize, Buffer) -> F,
    ) -> (Result<(), DeviceError>, Buffer) {
        let (mut done, mut standstills) = (0, 0);
        loop {
            let before = done;
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
            standstills = if done > before { 0 } else { standstills + 1 };
            if standstills > STANDSTILLS_MAX {
                return (Err(self.failed(format!("the device does not get on at byte {done}"))), buffer);
            }
            running = start(done, buffer);
        }
    }

    fn failed(self, reason: String) -> DeviceError {
        DeviceError { operation: self.operation, offset: self.offset, length: self.length, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{Ready, ready};
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::ring::Pool;

    const LENGTH: usize = 4 * ALIGNMENT;

    /// A kernel whose results are scripted: a number of bytes or an error. After the script it
    /// transfers whatever it is asked for. It refuses what O_DIRECT refuses.
    struct Kernel {
        script: RefCell<Vec<i32>>,
        asked: RefCell<Vec<usize>>,
    }

    impl Kernel {
        fn read(&self, done: usize, mut buffer: Buffer) -> Ready<Completion> {
            self.asked.borrow_mut().push(done);
            let scripted = self.script.borrow_mut().pop();
            let result = match scripted.unwrap_or((LENGTH - done) as i32) {
                _ if !done.is_multiple_of(ALIGNMENT) => -libc::EINVAL,
                bytes if bytes > 0 => {
                    let end = done + bytes as usize;
                    (done..end).for_each(|at| buffer[at] = (at % 251) as u8);
                    bytes
                }
                other => other,
            };
            ready(Completion { result, buffer: Some(buffer) })
        }
    }

    /// Returns the result of the transfer and the bytes at which its operations were started.
    fn run(script: &[i32]) -> (Result<(), DeviceError>, Vec<usize>) {
        let kernel = Kernel {
            script: RefCell::new(script.iter().rev().copied().collect()),
            asked: RefCell::default(),
        };
        let buffer = Pool::new(0).expect("memory").try_take(LENGTH).expect("a buffer");
        let transfer = Transfer { operation: "read", offset: 0, length: LENGTH };
        let running = transfer.complete(kernel.read(0, buffer), |done, buffer| kernel.read(done, buffer));
        let Poll::Ready((result, buffer)) =
            std::pin::pin!(running).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("the kernel answers at once")
        };
        if result.is_ok() {
            assert!((0..LENGTH).all(|at| buffer[at] == (at % 251) as u8), "{script:?}");
        }
        (result, kernel.asked.take())
    }

    /// A transfer that continued at the byte where it had ended was refused by the device, although
    /// the drive was sound.
    #[test]
    fn a_short_transfer_goes_on_at_its_block() {
        const BLOCK: i32 = ALIGNMENT as i32;
        assert_eq!(run(&[]), (Ok(()), vec![0]));
        assert_eq!(run(&[BLOCK + 512]), (Ok(()), vec![0, ALIGNMENT]));
        assert_eq!(run(&[2 * BLOCK, 100, BLOCK + 1]), (Ok(()), vec![0, 8192, 8192, 12288]));
        assert_eq!(run(&[-libc::EINTR, 7, -libc::EAGAIN, BLOCK]), (Ok(()), vec![0, 0, 0, 0, ALIGNMENT]));
    }

    #[test]
    fn an_error_is_final_and_so_is_a_standstill() {
        let reason = |script: &[i32]| {
            let (result, asked) = run(script);
            (result.expect_err("an error").reason, asked.len())
        };
        let (said, times) = reason(&[512, -libc::EIO, 4096]);
        assert!(said.contains("os error 5") && times == 2, "{said}, {times}");
        let (said, times) = reason(&[4096, 0, 4096]);
        assert!(said.contains("ended early") && times == 2, "{said}, {times}");
        let (said, times) = reason(&[8192 + 512].into_iter().chain([512; 200]).collect::<Vec<_>>());
        assert!(said.contains("at byte 8192") && times == STANDSTILLS_MAX as usize + 2, "{said}, {times}");
        assert!(reason(&[-libc::EAGAIN; 200]).0.contains("at byte 0"));
    }
}
