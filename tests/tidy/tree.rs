//! This module reads the project's own files.

use std::fs;
use std::path::Path;

/// This is a text file of the project.
pub struct TextFile {
    /// This is relative to the workspace, with `/`.
    pub path: String,
    pub text: String,
}

impl TextFile {
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Iterates over the lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Returns whether the file contains the rules, whose texts name what they forbid.
    pub fn states_the_rules(&self) -> bool {
        self.path.starts_with("tests/tidy/")
    }
}

/// Returns every text file outside of build results, by path. It walks the tree rather than asking
/// git, so that it also works in an unpacked archive.
pub fn text_files() -> Vec<TextFile> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf();
    let mut files = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("read a directory of the project") {
            let path = entry.expect("read a directory entry").path();
            if path.is_dir() {
                if !is_skipped(&path) {
                    directories.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                files.push(TextFile { path: relative(&root, &path), text });
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(files.iter().any(|file| file.path == "tests/tidy/tree.rs"), "the walk does not find this file");
    files
}

pub fn rust_files() -> Vec<TextFile> {
    text_files().into_iter().filter(|file| file.has_extension("rs")).collect()
}

/// Fails with all offenders, if there are any.
pub fn assert_none(rule: &str, offenders: &[String]) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).expect("the walk stays in the workspace").to_string_lossy().replace('\\', "/")
}

fn is_skipped(directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let hidden = name.starts_with('.') && name != ".ci";
    hidden || matches!(name.as_str(), "target" | "ringbolt-data" | "__pycache__" | "node_modules")
}
