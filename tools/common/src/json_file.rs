//! This module reads and writes our files in JSON: each contains its schema and version, which are
//! checked before anything else.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Describes a kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub schema: &'static str,
    pub version: u32,
    /// Describes the content as text.
    pub holds: &'static str,
    /// This is the command that writes the file.
    pub command: &'static str,
}

/// Says why a text is not such a file.
#[derive(Debug, thiserror::Error)]
pub enum JsonFileError {
    #[error("no {}: {error}; make it with `{}`", .kind.holds, .kind.command)]
    Json { kind: Kind, error: serde_json::Error },
    #[error(
        "schema {schema:?} version {version}: this program reads {:?} version {}; make it again with `{}`",
        .kind.schema, .kind.version, .kind.command
    )]
    Version { kind: Kind, schema: String, version: u32 },
}

impl Kind {
    /// Reads a file of this kind.
    ///
    /// # Errors
    /// Fails when `text` is not JSON of this schema and version.
    pub fn read<T: DeserializeOwned>(self, text: &str) -> Result<T, JsonFileError> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
            version: u32,
        }
        let refused = |error| JsonFileError::Json { kind: self, error };
        let Head { schema, version } = serde_json::from_str(text).map_err(refused)?;
        if schema != self.schema || version != self.version {
            return Err(JsonFileError::Version { kind: self, schema, version });
        }
        serde_json::from_str(text).map_err(refused)
    }
}

/// Writes a value with indentation and a newline at the end. `value` must have plain fields only.
pub fn text<T: Serialize>(value: &T) -> String {
    match serde_json::to_string_pretty(value) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("plain fields are written: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { schema: "a", version: 2, holds: "figures", command: "ringbolt figures" };

    #[test]
    fn schema_and_version_come_first() {
        let error = |text: &str| KIND.read::<Vec<u8>>(text).unwrap_err().to_string();
        assert!(error("{").starts_with("no figures: "));
        assert!(error("{}").ends_with("make it with `ringbolt figures`"));
        let other = error("{\"schema\": \"a\", \"version\": 1}");
        assert_eq!(
            other,
            "schema \"a\" version 1: this program reads \"a\" version 2; make it again with `ringbolt figures`"
        );
        assert!(error("{\"schema\": \"a\", \"version\": 2}").contains("expected a sequence"));
    }
}
