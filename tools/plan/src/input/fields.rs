//! This module holds the values of both files and of the command line, and returns them by key.
//!
//! Invariants: every value belongs to a key of the table. A value of the command line replaces that
//! of a file, and other ways to state the same.

use super::Document;
use super::error::{InputError, Place};
use super::keys::{self, DISTRIBUTION, Fallback, File, Key};
use super::kind::{Kind, Quantity};
use super::overrides::Override;
use super::tree::{self, Node, Value};
use crate::month::Month;
use ringbolt_tool_common::units::shortened;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Holds the values of an input by key.
#[derive(Clone, Debug)]
pub struct Fields {
    values: BTreeMap<String, Node>,
    workload: PathBuf,
    hardware: PathBuf,
    /// Paths of the command line are relative to this directory.
    base: PathBuf,
}

impl Fields {
    /// Collects the values of both files and the overrides.
    ///
    /// # Errors
    /// Fails when a file is not TOML or has an unknown key, or when an override names no key.
    pub fn of(
        workload: &Document,
        hardware: &Document,
        overrides: &[Override],
        base: &Path,
    ) -> Result<Self, InputError> {
        let mut fields = Self {
            values: BTreeMap::new(),
            workload: workload.name.clone(),
            hardware: hardware.name.clone(),
            base: base.to_owned(),
        };
        for (document, file) in [(workload, File::Workload), (hardware, File::Hardware)] {
            for (section, node) in tree::document(document)? {
                fields.add_section(section, node, file)?;
            }
        }
        for set in overrides {
            fields.set(set)?;
        }
        Ok(fields)
    }

    fn add_section(&mut self, section: String, node: Node, file: File) -> Result<(), InputError> {
        let place = node.place.clone();
        let Node { value: Value::Table(entries), .. } = node else {
            let hint = "; keys stand in a section such as [drives], and a section stands once".to_owned();
            return Err(InputError::UnknownKey { place, key: section, hint });
        };
        match keys::file_of(&section) {
            Some(belongs) if belongs == file => {}
            Some(belongs) => {
                return Err(InputError::WrongFile { place, section, belongs: belongs.title() });
            }
            None => {
                let names = keys::SECTIONS.iter().filter(|(_, belongs)| *belongs == file);
                let names: Vec<String> = names.map(|(name, _)| format!("[{name}]")).collect();
                let hint = format!("; the sections of a {} file are {}", file.title(), names.join(", "));
                return Err(InputError::UnknownKey { place, key: shortened(&section), hint });
            }
        }
        entries.into_iter().try_for_each(|(name, node)| self.add(format!("{section}.{name}"), node))
    }

    fn add(&mut self, path: String, node: Node) -> Result<(), InputError> {
        if path == DISTRIBUTION {
            let Node { value: Value::Table(entries), .. } = node else {
                let reason = "write a table, as in { kind = \"fixed\", size = \"1MiB\" }".to_owned();
                return Err(wrong(&path, &node, reason));
            };
            return entries.into_iter().try_for_each(|(name, node)| self.add(format!("{path}.{name}"), node));
        }
        if keys::find(&path).is_none() {
            return Err(unknown(node.place, &path));
        }
        self.values.insert(path, node);
        Ok(())
    }

    /// Replaces a value by an override.
    ///
    /// # Errors
    /// Fails when the override names no key.
    fn set(&mut self, set: &Override) -> Result<(), InputError> {
        let node = tree::from_command_line(&set.value)
            .map_err(|reason| InputError::Override { text: shortened(&set.to_string()), reason })?;
        let path = set.path.as_str();
        if path != DISTRIBUTION && keys::find(path).is_none() {
            return self.set_in_list(path, node);
        }
        self.remove_others(path);
        self.add(path.to_owned(), node)
    }

    /// Removes values that state the same as `path` in another way.
    fn remove_others(&mut self, path: &str) {
        let is_in = |path: &str, key: &str| {
            path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        for group in keys::ALTERNATIVES {
            if let Some(own) = group.iter().find(|key| is_in(path, key)) {
                let others = |of: &str| group.iter().any(|key| key != own && is_in(of, key));
                self.values.retain(|of, _| !others(of));
            }
        }
        if path == DISTRIBUTION {
            self.values.retain(|of, _| !is_in(of, DISTRIBUTION));
        }
        if path == "drives.profile" {
            let by_hand = keys::SPEEDS.iter().chain(&["drives.speed_source"]);
            by_hand.for_each(|key| drop(self.values.remove(*key)));
        }
    }

    /// Replaces an element of a list, such as `day.shape.5` or `objects.sizes.0.share`; the element
    /// must exist.
    fn set_in_list(&mut self, path: &str, node: Node) -> Result<(), InputError> {
        let lists = ["day.shape.", "objects.sizes."];
        let Some((list, rest)) = lists.iter().find_map(|list| Some((*list, path.strip_prefix(list)?))) else {
            return Err(unknown(Place::CommandLine, path));
        };
        let key = list.trim_end_matches('.');
        let refuse = |reason: String| InputError::Override { text: shortened(path), reason };
        let Some(Node { value: Value::List(items), .. }) = self.values.get_mut(key) else {
            return Err(refuse(format!("{key} is not there: set all of it")));
        };
        let (index, field) = rest.split_once('.').map_or((rest, None), |(index, field)| (index, Some(field)));
        let count = items.len();
        let Some(item) = index.parse::<usize>().ok().and_then(|index| items.get_mut(index)) else {
            return Err(refuse(format!("{key} has {count} entries, from 0: {} is none", shortened(index))));
        };
        match (field, &mut item.value) {
            (None, _) => *item = node,
            (Some(field), Value::Table(entries)) => {
                entries.retain(|(name, _)| name != field);
                entries.push((field.to_owned(), node));
            }
            (Some(field), _) => return Err(refuse(format!("{field} of what is no table"))),
        }
        Ok(())
    }

    /// Returns whether the key has a value.
    pub fn has(&self, path: &str) -> bool {
        self.values.contains_key(path)
    }

    /// Returns whether the value comes from the command line.
    pub fn is_set(&self, path: &str) -> bool {
        self.values.get(path).is_some_and(|node| node.place == Place::CommandLine)
    }

    /// Returns whether a parameter of a distribution of sizes is given.
    pub fn has_distribution(&self) -> bool {
        self.values.keys().any(|path| path.starts_with("objects.distribution."))
    }

    /// Returns the value as it was written, for keys whose value is a list.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.values.get(path)
    }

    /// Creates an error about the value of `path`, or about its default.
    pub fn refuse(&self, path: &str, reason: String) -> InputError {
        match self.values.get(path) {
            Some(node) => wrong(path, node, reason),
            None => {
                let value = keys::find(path).map_or("nothing", |key| match key.fallback {
                    Fallback::Is(default) => default,
                    Fallback::Required | Fallback::Absent => "nothing",
                });
                InputError::Value {
                    place: Place::Default,
                    key: path.to_owned(),
                    value: value.to_owned(),
                    reason,
                }
            }
        }
    }

    /// Creates an error about a key that is required here.
    pub fn missing(&self, path: &str) -> InputError {
        let key = known(path);
        let file = match key.file() {
            File::Workload => self.workload.clone(),
            File::Hardware => self.hardware.clone(),
        };
        let example = format!("{} = {}", key.name(), key.example);
        InputError::Missing { file, key: path.to_owned(), what: key.what.to_owned(), example }
    }

    fn quantity(&self, path: &str) -> Result<Option<Quantity>, InputError> {
        let key = known(path);
        match (self.values.get(path), key.fallback) {
            (Some(node), _) => read(path, key.kind, node).map(Some),
            (None, Fallback::Absent) => Ok(None),
            (None, Fallback::Required) => Err(self.missing(path)),
            (None, Fallback::Is(default)) => match tree::from_command_line(default) {
                Ok(node) => read(path, key.kind, &node).map(Some),
                Err(reason) => unreachable!("the default of {path} is read: {reason}"),
            },
        }
    }

    /// Returns a real number, if the key has a value.
    ///
    /// # Errors
    /// Fails when the value is beyond its limits.
    pub fn real_if(&self, path: &str) -> Result<Option<f64>, InputError> {
        Ok(self.quantity(path)?.map(|quantity| match quantity {
            Quantity::Real(value) => value,
            other => unreachable!("{path} is {other:?}, asked for as a real number"),
        }))
    }

    /// Returns a real number.
    ///
    /// # Errors
    /// Fails when the value is missing or beyond its limits.
    pub fn real(&self, path: &str) -> Result<f64, InputError> {
        self.real_if(path)?.ok_or_else(|| self.missing(path))
    }

    /// Returns a whole number, if the key has a value.
    ///
    /// # Errors
    /// Fails when the value is beyond its limits.
    pub fn whole_if(&self, path: &str) -> Result<Option<u64>, InputError> {
        Ok(self.quantity(path)?.map(|quantity| match quantity {
            Quantity::Whole(value) => value,
            other => unreachable!("{path} is {other:?}, asked for as a whole number"),
        }))
    }

    /// Returns a whole number.
    ///
    /// # Errors
    /// Fails when the value is missing or beyond its limits.
    pub fn whole(&self, path: &str) -> Result<u64, InputError> {
        self.whole_if(path)?.ok_or_else(|| self.missing(path))
    }

    /// Returns a whole number of 32 bits.
    ///
    /// # Errors
    /// Fails when the value is missing or beyond its limits.
    pub fn small(&self, path: &str) -> Result<u32, InputError> {
        let value = self.whole(path)?;
        u32::try_from(value).map_err(|_| self.refuse(path, format!("must be at most {}", u32::MAX)))
    }

    /// Returns a text, if the key has a value.
    ///
    /// # Errors
    /// Fails when the value is not a text.
    pub fn text_if(&self, path: &str) -> Result<Option<String>, InputError> {
        Ok(self.quantity(path)?.map(|quantity| match quantity {
            Quantity::Text(text) => text,
            other => unreachable!("{path} is {other:?}, asked for as a text"),
        }))
    }

    /// Returns a text.
    ///
    /// # Errors
    /// Fails when the value is missing or not a text.
    pub fn text(&self, path: &str) -> Result<String, InputError> {
        self.text_if(path)?.ok_or_else(|| self.missing(path))
    }

    /// Returns a month, if the key has a value.
    ///
    /// # Errors
    /// Fails when the value is not a month.
    pub fn month_if(&self, path: &str) -> Result<Option<Month>, InputError> {
        Ok(self.quantity(path)?.map(|quantity| match quantity {
            Quantity::Month(month) => month,
            other => unreachable!("{path} is {other:?}, asked for as a month"),
        }))
    }

    /// Returns a path, which is relative to the directory of the file that names it.
    ///
    /// # Errors
    /// Fails when the value is not a text.
    pub fn file_if(&self, path: &str) -> Result<Option<PathBuf>, InputError> {
        let Some(name) = self.text_if(path)? else { return Ok(None) };
        let folder = match self.values.get(path).map(|node| &node.place) {
            Some(Place::Line { file, .. }) => file.parent().unwrap_or(Path::new("")),
            _ => &self.base,
        };
        Ok(Some(folder.join(name)))
    }
}

/// Reads one value of a kind that is not a list.
///
/// # Errors
/// Fails when the value has another shape or is beyond the limits.
pub fn read(path: &str, kind: Kind, node: &Node) -> Result<Quantity, InputError> {
    match &node.value {
        Value::Scalar(text) => kind.read(text).map_err(|reason| wrong(path, node, reason)),
        Value::List(_) | Value::Table(_) => Err(wrong(path, node, format!("write {}", kind.wanted()))),
    }
}

/// Creates an error about a value.
pub fn wrong(path: &str, node: &Node, reason: String) -> InputError {
    InputError::Value { place: node.place.clone(), key: shortened(path), value: node.shown(), reason }
}

fn unknown(place: Place, path: &str) -> InputError {
    InputError::UnknownKey { place, key: shortened(path), hint: keys::hint(path) }
}

fn known(path: &str) -> &'static Key {
    match keys::find(path) {
        Some(key) => key,
        None => unreachable!("{path} is in no table of keys"),
    }
}
