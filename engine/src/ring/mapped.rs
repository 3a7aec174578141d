//! A part of a file in memory, for the benchmark: reads and writes are copies, and the kernel moves
//! pages when they are touched first.
//!
//! Invariants:
//! - A copy lies within the mapping, which lives as long as the value.
//! - No reference to mapped bytes leaves this file. Others may change the file meanwhile, so bytes
//!   are copied through pointers.
//!
//! A page that can not be read, or that lies behind the end of a file that became shorter, ends the
//! process with SIGBUS: the processor has no other way to report it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// How the bytes of a mapping will be visited, which decides how far the kernel reads ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visits {
    Unknown,
    Random,
    Sequential,
}

/// A part of a file that is mapped, shared with all who have the file open.
pub struct MappedFile {
    base: NonNull<u8>,
    /// The bytes of the file that are mapped; they begin with a page.
    part: Range<u64>,
}

// SAFETY: a mapping belongs to the process and not to a thread.
unsafe impl Send for MappedFile {}

impl MappedFile {
    /// Maps the bytes `part` of `file`, for writes too if `is_written`.
    ///
    /// # Errors
    /// Returns the kernel's error, for example when the address space is too small.
    pub fn new(file: &File, part: Range<u64>, is_written: bool, visits: Visits) -> io::Result<Self> {
        let part = page_of(part.start)..part.end;
        let protection = libc::PROT_READ | if is_written { libc::PROT_WRITE } else { 0 };
        let offset = i64::try_from(part.start).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
        // SAFETY: a mapping at an address of the kernel's choice touches no other memory.
        let raw = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length_of(&part),
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset,
            )
        };
        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(raw.cast::<u8>()).ok_or_else(io::Error::last_os_error)?;
        let mapped = Self { base, part };
        let advice = match visits {
            Visits::Unknown => return Ok(mapped),
            Visits::Random => libc::MADV_RANDOM,
            Visits::Sequential => libc::MADV_SEQUENTIAL,
        };
        mapped.advise(advice)?;
        Ok(mapped)
    }

    /// Copies bytes of the file to `bytes`, from `offset` in the file.
    ///
    /// # Panics
    /// Panics when a byte is not mapped.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        let from = self.place(offset, bytes.len());
        // SAFETY: the place is within the mapping, and `bytes` is memory of this process that
        // nothing else refers to.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Copies `bytes` to the file, from `offset` in it. They are in the page cache then.
    ///
    /// # Panics
    /// Panics when a byte is not mapped.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let to = self.place(offset, bytes.len());
        // SAFETY: as in `read`; a mapping that is written was asked for with `is_written`, or the
        // process ends.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Makes what was written to these bytes of the file durable.
    ///
    /// # Errors
    /// Returns the kernel's error when they could not be written.
    pub fn flush(&self, part: Range<u64>) -> io::Result<()> {
        let start = page_of(part.start);
        let length = (part.end - start) as usize;
        let place = self.place(start, length);
        // SAFETY: the place is within the mapping, and msync changes no memory.
        match unsafe { libc::msync(place.cast(), length, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// Returns the kernel's error when it could not be written.
    pub fn flush_all(&self) -> io::Result<()> {
        self.flush(self.part.clone())
    }

    /// Unmaps all pages until they are touched again. They stay in the page cache, from which they
    /// can be dropped then.
    ///
    /// # Errors
    /// Returns the kernel's error.
    pub fn let_go(&self) -> io::Result<()> {
        self.advise(libc::MADV_DONTNEED)
    }

    fn advise(&self, advice: i32) -> io::Result<()> {
        // SAFETY: the range is the mapping. Pages of a shared mapping that are let go are read
        // again from the file, so that no advice used here changes contents.
        match unsafe { libc::madvise(self.base.as_ptr().cast(), length_of(&self.part), advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Returns where these bytes of the file are in memory.
    fn place(&self, offset: u64, length: usize) -> *mut u8 {
        let end = offset.checked_add(length as u64);
        let is_mapped = self.part.start <= offset && end.is_some_and(|end| end <= self.part.end);
        assert!(is_mapped, "{length} bytes at {offset} are not in {:?}", self.part);
        // SAFETY: the offset was just compared with the mapping.
        unsafe { self.base.as_ptr().add((offset - self.part.start) as usize) }
    }
}

/// Returns where the page with this offset begins.
fn page_of(offset: u64) -> u64 {
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = u64::try_from(page).unwrap_or(4096).max(1);
    offset / page * page
}

fn length_of(part: &Range<u64>) -> usize {
    (part.end - part.start) as usize
}

impl Drop for MappedFile {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and nothing refers to it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), length_of(&self.part)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file_of(bytes: usize) -> File {
        let file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..bytes).map(|at| (at / 512) as u8).collect();
        file.write_all_at(&content, 0).unwrap();
        file
    }

    #[test]
    fn copies_reach_the_file_and_come_from_it() {
        let file = file_of(32_768);
        for visits in [Visits::Unknown, Visits::Random, Visits::Sequential] {
            // The part begins and ends within pages.
            let mut mapped = MappedFile::new(&file, 5_000..30_000, true, visits).unwrap();
            let mut bytes = [0; 3_000];
            mapped.read(27_000, &mut bytes);
            let mut wanted = [0; 3_000];
            file.read_exact_at(&mut wanted, 27_000).unwrap();
            assert!(bytes == wanted, "{visits:?}");
            mapped.write(8_190, &[0xee; 5]);
            mapped.flush(8_190..8_195).unwrap();
            mapped.flush_all().unwrap();
            mapped.let_go().unwrap();
            let mut written = [0; 7];
            file.read_exact_at(&mut written, 8_189).unwrap();
            assert_eq!(written[1..6], [0xee; 5]);
            mapped.read(8_190, &mut written[..5]);
            assert_eq!(written[..5], [0xee; 5], "what was let go is read again");
        }
    }

    #[test]
    fn what_others_write_is_seen() {
        let file = file_of(8_192);
        let mapped = MappedFile::new(&file, 0..8_192, false, Visits::Random).unwrap();
        let mut byte = [0];
        mapped.read(4_096, &mut byte);
        assert_eq!(byte, [8]);
        file.write_all_at(&[0x77], 4_096).unwrap();
        mapped.read(4_096, &mut byte);
        assert_eq!(byte, [0x77]);
    }

    #[test]
    #[should_panic(expected = "are not in 4096..8192")]
    fn a_place_outside_is_a_bug() {
        let file = file_of(16_384);
        let mapped = MappedFile::new(&file, 4_100..8_192, false, Visits::Unknown).unwrap();
        mapped.read(8_190, &mut [0; 4]);
    }
}
