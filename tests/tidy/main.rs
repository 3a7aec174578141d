//! Style is a test: what the project asks of its files, checked on every file.
//!
//! Each test names all offenders with their line, not only the first. A rule that makes one file worse is lifted
//! there with the reason in sight: `// long: reason` at the top of a file, a number in a ratchet.

mod dependencies;
mod documents;
mod source;
mod tree;
mod words;
