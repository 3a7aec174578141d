//! This module splits the text of a job file into sections and entries.
//!
//! The grammar is fio's: `[name]` begins a section; `;` and `#` begin a comment, also after a
//! value; `include FILE` inserts a file without sections; `${NAME}` is the value of an environment
//! variable, empty when it is not set.
//!
//! Invariant: the key of every entry is in the table; unknown keys are refused here, with their
//! line.

use super::error::{JobError, Place, Refusals};
use super::keys::{self, Found, Key};
use std::io::Read;
use std::path::Path;

/// Holds one `key=value` of a section.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: &'static Key,
    /// This is `None` when the key is given without a value.
    pub value: Option<String>,
    pub place: Place,
}

/// Holds one `[name]` and its own entries, without the inherited ones.
#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    pub entries: Vec<Entry>,
    pub place: Place,
    /// This is 0 for the command line; files are counted from 1 in the order given.
    pub source: usize,
}

/// Entries of sections with this name are inherited by the sections after them.
pub const GLOBAL: &str = "global";

impl Section {
    pub fn is_global(&self) -> bool {
        self.name == GLOBAL
    }
}

/// Gives the parser access to the environment and the machine.
pub struct Surroundings<'a> {
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    pub machine: super::units::Machine,
}

const INCLUDES_MAX: usize = 16;
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Reads the sections of a file; `-` is stdin. Errors are added to `refusals`.
pub fn parse_file(
    path: &Path,
    source: usize,
    around: &Surroundings<'_>,
    refusals: &mut Refusals,
) -> Vec<Section> {
    let text = refusals.take(read(path)).unwrap_or_default();
    parse_text(&text, path, source, around, refusals)
}

/// Reads the sections of a text that comes from `path`. Errors are added to `refusals`, and the
/// lines in question are left out.
pub fn parse_text(
    text: &str,
    path: &Path,
    source: usize,
    around: &Surroundings<'_>,
    refusals: &mut Refusals,
) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut is_headless = false;
    for (line, place) in lines(text, path) {
        if line.starts_with('[') {
            let name = refusals.take(section_name(line, &place)).unwrap_or_else(|| "?".to_owned());
            sections.push(Section { name, entries: Vec::new(), place, source });
            continue;
        }
        if let Some(section) = sections.last_mut() {
            let mut reader = Reader { path, around, depth: 0, refusals, entries: &mut section.entries };
            reader.add_line(line, place);
        } else if !is_headless {
            is_headless = true;
            let reason = "stands before the first section; begin one with [global] or [name of a job]";
            refusals.add(JobError::Grammar { place, text: line.to_owned(), reason: reason.to_owned() });
        }
    }
    sections
}

/// Iterates over the lines that are not empty, without comments, with their places.
fn lines<'a>(text: &'a str, path: &'a Path) -> impl Iterator<Item = (&'a str, Place)> {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.find([';', '#']).map_or(line, |at| &line[..at]).trim();
        (!line.is_empty()).then(|| (line, Place::line(path, index + 1)))
    })
}

fn section_name(line: &str, place: &Place) -> Result<String, JobError> {
    let wrong = |reason: &str| JobError::Grammar {
        place: place.clone(),
        text: line.to_owned(),
        reason: reason.to_owned(),
    };
    let inner = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = inner.ok_or_else(|| wrong("a section is [name], alone on its line"))?.trim();
    if name.is_empty() {
        return Err(wrong("a section needs a name"));
    }
    Ok(name.to_owned())
}

/// Reads the lines of one file into a section.
struct Reader<'a> {
    path: &'a Path,
    around: &'a Surroundings<'a>,
    /// Counts how many files include each other at this point.
    depth: usize,
    refusals: &'a mut Refusals,
    entries: &'a mut Vec<Entry>,
}

impl Reader<'_> {
    fn add_line(&mut self, line: &str, place: Place) {
        if let Some(file) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            return self.include(Path::new(file.trim()), place);
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => {
                let Some(value) = self.refusals.take(expand(value.trim(), self.around, &place, key)) else {
                    return;
                };
                (key.trim(), Some(value))
            }
            None => (line, None),
        };
        self.entries.extend(self.refusals.take(entry(key, value, place)));
    }

    fn include(&mut self, file: &Path, place: Place) {
        let wrong = |place: Place, reason: String| JobError::Grammar {
            place,
            text: format!("include {}", file.display()),
            reason,
        };
        if self.depth == INCLUDES_MAX {
            let reason = format!("files include each other more than {INCLUDES_MAX} deep");
            return self.refusals.add(wrong(place, reason));
        }
        let beside = self.path.parent().map_or_else(|| file.to_owned(), |directory| directory.join(file));
        let found = if file.exists() { file.to_owned() } else { beside };
        let text = match read(&found) {
            Ok(text) => text,
            Err(error) => return self.refusals.add(wrong(place, error.to_string())),
        };
        for (line, place) in lines(&text, &found) {
            if line.starts_with('[') {
                let reason = format!("{line}: an included file has no sections of its own");
                return self.refusals.add(wrong(place, reason));
            }
            let (around, depth) = (self.around, self.depth + 1);
            let mut reader =
                Reader { path: &found, around, depth, refusals: self.refusals, entries: self.entries };
            reader.add_line(line, place);
        }
    }
}

fn read(path: &Path) -> Result<String, JobError> {
    let wrong = |reason: String| JobError::File { path: path.to_owned(), reason };
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.map_err(|error| wrong(format!("this job file can not be read: {error}")))?;
    Ok(text)
}

/// Replaces each `${NAME}` by the value of the environment variable.
fn expand(value: &str, around: &Surroundings<'_>, place: &Place, key: &str) -> Result<String, JobError> {
    let mut expanded = String::new();
    let mut unset = Vec::new();
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let Some(length) = rest[at..].find('}') else { break };
        let name = &rest[at + 2..at + length];
        expanded.push_str(&rest[..at]);
        match (around.environment)(name) {
            Some(text) => expanded.push_str(&text),
            None => unset.push(name),
        }
        rest = &rest[at + length + 1..];
    }
    expanded.push_str(rest);
    match unset.first() {
        Some(name) if expanded.trim().is_empty() => Err(JobError::Value {
            place: place.clone(),
            key: key.trim().to_owned(),
            value: value.to_owned(),
            reason: format!("the environment variable {name} is not set"),
        }),
        _ => Ok(expanded.trim().to_owned()),
    }
}

/// Makes an entry of a key and its value.
///
/// # Errors
/// Fails when the key is unknown, when only fio supports it, or when it needs a value.
pub fn entry(name: &str, value: Option<String>, place: Place) -> Result<Entry, JobError> {
    let key = match keys::find(name) {
        Found::Built(key) => key,
        Found::NotBuilt(hint) => {
            return Err(JobError::NotBuilt { place, key: name.to_owned(), hint: hint.to_owned() });
        }
        Found::Unknown(nearest) => {
            let nearest = nearest.map(str::to_owned);
            return Err(JobError::UnknownKey { place, key: name.to_owned(), nearest });
        }
    };
    // An empty file name or host is always a mistake.
    if value.as_deref().unwrap_or_default().is_empty() && !key.alone {
        return Err(JobError::NoValue { place, key: name.to_owned(), example: key.example.to_owned() });
    }
    Ok(Entry { key, value, place })
}
