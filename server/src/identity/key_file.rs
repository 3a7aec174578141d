//! The node's key file: the master key under which secrets at rest are sealed.
//!
//! Invariants:
//! - The file is readable by its owner only (mode 0600), or it is refused.
//! - A key is durable in its file before anything is sealed under it, and a file that is there is never
//!   written again.
//! - No text that this room makes holds any of the key.

use crate::whole_file::{FileError, flush_directory, write_beside};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The name of the file in the data directory.
pub const FILE_NAME: &str = "node.key";
/// What stands before the 64 hexadecimal digits of the key. The number is that of the form.
const PREFIX: &str = "ringbolt-node-key-1:";
const KEY_BYTES: usize = 32;

/// The reason why a key file can not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("can not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error(
        "{} can be read by others (mode {mode:04o}) and holds the node's master key; run: chmod 600 {}",
        path.display(),
        path.display()
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("{} is no key file of this server: restore it from your backup", path.display())]
    Syntax { path: PathBuf },
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// The master key of a node.
pub struct NodeKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for NodeKey {
    /// Leaves the key out.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("NodeKey")
    }
}

impl NodeKey {
    /// Makes a key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the key's bytes, from which only [`Seal`](super::seal::Seal) derives others.
    pub(super) fn bytes(&self) -> &[u8] {
        &*self.0
    }

    /// Reads the key of a data directory. Returns None if there is no file.
    ///
    /// # Errors
    /// Fails if others can read the file, or if it holds no key.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, KeyFileError> {
        let path = data_dir.join(FILE_NAME);
        let io = |action, source| KeyFileError::Io { action, path: path.clone(), source };
        let file = match std::fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open", error)),
        };
        let mode = file.metadata().map_err(|error| io("look at", error))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Mode { path, mode });
        }
        let text = Zeroizing::new(std::io::read_to_string(file).map_err(|error| io("read", error))?);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let digits = text.lines().find_map(|line| line.trim().strip_prefix(PREFIX));
        let is_key = digits.is_some_and(|digits| hex::decode_to_slice(digits, &mut *bytes).is_ok());
        if is_key { Ok(Some(Self(bytes))) } else { Err(KeyFileError::Syntax { path }) }
    }

    /// Makes a random key and its file, which is durable then.
    ///
    /// # Errors
    /// Fails if the file is there, or can not be made.
    pub fn create(data_dir: &Path) -> Result<Self, KeyFileError> {
        let path = data_dir.join(FILE_NAME);
        let io = |action| {
            let path = path.clone();
            move |source| KeyFileError::Io { action, path, source }
        };
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *bytes).map_err(|error| KeyFileError::Random(error.to_string()))?;
        let text = Zeroizing::new(format!(
            "# The master key of this Ringbolt node. The secrets of access keys are sealed under it. Keep its\n\
             # mode at 0600, and a copy of it in a safe place that is not this machine: without it they are lost.\n\
             {PREFIX}{}\n",
            *Zeroizing::new(hex::encode(*bytes))
        ));
        let of_file = |FileError { action, source }| io(action)(source);
        let unfinished = write_beside(&path, text.as_bytes(), 0o600).map_err(of_file)?;
        // A link, and not another name, refuses to replace a key.
        let linked = std::fs::hard_link(&unfinished, &path);
        let removed = std::fs::remove_file(&unfinished);
        linked.map_err(io("create"))?;
        removed.map_err(io("finish"))?;
        flush_directory(&path).map_err(of_file)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_private() {
        let directory = tempfile::tempdir().unwrap();
        assert!(NodeKey::read(directory.path()).unwrap().is_none());
        let made = NodeKey::create(directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        let read = NodeKey::read(directory.path()).unwrap().expect("it is there");
        assert_eq!(read.bytes(), made.bytes());
        assert!(NodeKey::create(directory.path()).is_err(), "a file that is there stays");
        assert_eq!(NodeKey::read(directory.path()).unwrap().unwrap().bytes(), made.bytes());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        assert_eq!(format!("{made:?}"), "NodeKey");
    }

    #[test]
    fn a_file_that_is_open_to_others_or_broken_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        drop(NodeKey::create(directory.path()).unwrap());
        let path = directory.path().join(FILE_NAME);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = NodeKey::read(directory.path()).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "ringbolt-node-key-1:00", "ringbolt-node-key-2:00"] {
            std::fs::write(&path, text).unwrap();
            let error = NodeKey::read(directory.path()).unwrap_err().to_string();
            assert!(error.contains("backup"), "{error}");
        }
    }
}
