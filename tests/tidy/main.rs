//! These tests check the project's rules of style on every file.
//!
//! Each test names all offenders with their line, not only the first. If a rule makes a file worse,
//! an exception states the reason: `// long: reason` at the top of the file, or a number in a
//! ratchet.

mod dependencies;
mod documents;
mod layers;
mod source;
mod tree;
mod words;
