//! This module opens listings: files, plain or compressed by gzip, or standard input.

use super::error::ScanError;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 256 << 10;

/// Stands for standard input.
pub const STDIN: &str = "-";

/// Opens `path` or standard input, and decompresses it if necessary.
///
/// # Errors
/// Fails when it cannot be opened or read.
pub fn open(path: &Path) -> Result<Box<dyn BufRead>, ScanError> {
    let failed = |source| ScanError::Read { path: path.to_owned(), source };
    let raw: Box<dyn io::Read> = if path.as_os_str() == STDIN {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    plain(BufReader::with_capacity(BUFFER_BYTES, raw)).map_err(failed)
}

/// Detects gzip by the first bytes, because names do not always show it.
fn plain(mut reader: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
    if reader.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

#[cfg(test)]
pub mod testing {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    pub fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::gzip;
    use super::*;
    use std::io::Read;

    fn read(bytes: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        plain(io::Cursor::new(bytes))?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn gzip_is_known_by_its_beginning_also_in_several_pieces() {
        let pieces = [gzip(b"one,"), gzip(b"two")].concat();
        assert_eq!(read(pieces.clone()).unwrap(), "one,two");
        assert_eq!(read(b"plain".to_vec()).unwrap(), "plain");
        assert_eq!(read(Vec::new()).unwrap(), "");
        assert!(read(pieces[..pieces.len() - 3].to_vec()).is_err(), "cut off");
    }
}
