//! This module prints job files as one command line, for `--showcmd`.
//!
//! Invariant: the printed line gives the same jobs again, except that secrets are left out.

use super::parser::{Entry, GLOBAL, Section};
use super::resolve::inherited;

/// Returns the command line, and the names of the keys that it leaves out.
pub fn command_line(sections: &[Section]) -> (String, Vec<&'static str>) {
    let mut words = vec!["ringbolt bench".to_owned()];
    // A global section of a second file would be inherited only by that file's jobs. With several
    // files, each job therefore repeats what it inherits.
    let flat = sections.iter().any(|section| section.source > 1);
    let mut sources_begun = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        if section.is_global() {
            if !flat {
                words.push(format!("--name={GLOBAL}"));
                words.extend(section.entries.iter().filter_map(option));
            }
            continue;
        }
        words.push(quoted(&format!("--name={}", name(section))));
        let begins_file = section.source > 1 && !sources_begun.contains(&section.source);
        sources_begun.push(section.source);
        if begins_file {
            words.push("--stonewall".to_owned());
        }
        if flat {
            let above: Vec<&Entry> = inherited(sections, index).collect();
            words.extend(above.into_iter().filter_map(option));
        }
        words.extend(section.entries.iter().filter_map(option));
    }
    let secrets = sections.iter().flat_map(|section| &section.entries).filter(|entry| entry.key.secret);
    let mut left_out: Vec<&str> = secrets.map(|entry| entry.key.name).collect();
    left_out.sort_unstable();
    left_out.dedup();
    (words.join(" "), left_out)
}

fn name(section: &Section) -> &str {
    let renamed = section.entries.iter().rev().find(|entry| entry.key.name == "name");
    renamed.and_then(|entry| entry.value.as_deref()).unwrap_or(&section.name)
}

fn option(entry: &Entry) -> Option<String> {
    if entry.key.secret || entry.key.name == "name" {
        return None;
    }
    Some(match &entry.value {
        Some(value) => quoted(&format!("--{}={value}", entry.key.name)),
        None => format!("--{}", entry.key.name),
    })
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=./:,+%@".contains(character);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}
