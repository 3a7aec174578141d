//! The layers of the engine: an arrow between rooms points down, and no files use each other in a circle.
//!
//! What a file uses is read from its paths that begin with `crate`, `super` or `self`, in `use` lines and in the code;
//! what is compiled for tests alone is left out. A re-export is followed to the file that defines the item, and is no
//! arrow of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use syn::visit::{self, Visit};

use crate::tree::{TextFile, assert_none, rust_files};

/// The rooms from the bottom to the top. Those of one line may use each other.
const LAYERS: [&[&str]; 11] = [
    &["types", "lifecycle", "error", "env", "sync", "hook", "view", "stripe"],
    &["format"],
    &["ring"],
    &["device", "executor"],
    &["extent"],
    &["log"],
    &["index"],
    &["shard"],
    &["node"],
    &["check"],
    &["sim", "fuzz"],
];

const ENGINE: &str = "engine/src/";
/// Re-exports of re-exports that are followed.
const REEXPORTS_MAX: usize = 8;

/// The modules of a crate by their paths, as `shard::put`; the root is the empty path.
struct Modules {
    files: BTreeMap<Vec<String>, Module>,
}

struct Module {
    path: String,
    syntax: syn::File,
    /// Names that the module re-exports, and where each comes from.
    exports: HashMap<String, Vec<String>>,
}

impl Modules {
    fn read(files: &[TextFile]) -> Self {
        let mut modules = BTreeMap::new();
        for file in files {
            let Some(name) = file.path.strip_prefix(ENGINE).and_then(|path| path.strip_suffix(".rs")) else {
                continue;
            };
            let mut module: Vec<String> = name.split('/').map(str::to_owned).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            let syntax = syn::parse_file(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
            let exports = exports_of(&syntax, &module);
            modules.insert(module, Module { path: file.path.clone(), syntax, exports });
        }
        Self { files: modules }
    }

    /// The module that defines what an absolute path names.
    fn defining(&self, path: &[String]) -> Option<Vec<String>> {
        self.defining_within(path, REEXPORTS_MAX)
    }

    fn defining_within(&self, path: &[String], reexports: usize) -> Option<Vec<String>> {
        let mut module: Vec<String> = Vec::new();
        let mut rest = path;
        while let Some((next, behind)) = rest.split_first() {
            let deeper = [module.as_slice(), std::slice::from_ref(next)].concat();
            if self.files.contains_key(&deeper) {
                (module, rest) = (deeper, behind);
                continue;
            }
            match self.files.get(&module).and_then(|known| known.exports.get(next)) {
                Some(source) if reexports > 0 => {
                    return self.defining_within(source, reexports - 1).or(Some(module));
                }
                _ => break,
            }
        }
        self.files.contains_key(&module).then_some(module)
    }

    /// Every file with the files that it uses.
    fn arrows(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut arrows = BTreeMap::new();
        for (name, module) in &self.files {
            let mut used = Used { here: name.clone(), paths: BTreeSet::new() };
            used.visit_file(&module.syntax);
            let targets = used.paths.iter().filter_map(|path| self.defining(path));
            let targets = targets.filter(|target| target != name && !target.is_empty());
            let targets: BTreeSet<&str> = targets.map(|target| self.files[&target].path.as_str()).collect();
            arrows.insert(module.path.as_str(), targets);
        }
        arrows
    }
}

/// Collects the absolute paths that a module uses.
struct Used {
    /// The module that is visited, with the modules written in its file.
    here: Vec<String>,
    paths: BTreeSet<Vec<String>>,
}

impl Used {
    fn add(&mut self, segments: &[String]) {
        self.paths.extend(absolute(&self.here, segments));
    }
}

impl<'ast> Visit<'ast> for Used {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let exported = !matches!(item.vis, syn::Visibility::Inherited);
        for (path, _) in names_of(&item.tree) {
            // What a module shows of its own children is not used by it.
            if !exported || !is_own_child(&path) {
                self.add(&path);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if matches!(segments[0].as_str(), "crate" | "super" | "self") && segments.len() > 1 {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}

fn is_own_child(path: &[String]) -> bool {
    path.first().is_some_and(|first| first != "crate" && first != "super")
}

fn attributes_of(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    let is_test = |attribute: &syn::Attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    };
    attributes.iter().any(is_test)
}

/// The paths of a `use` tree, each with the name that it gets.
fn names_of(tree: &syn::UseTree) -> Vec<(Vec<String>, String)> {
    match tree {
        syn::UseTree::Path(path) => {
            let prefix = path.ident.to_string();
            let below = names_of(&path.tree).into_iter();
            below.map(|(rest, name)| ([vec![prefix.clone()], rest].concat(), name)).collect()
        }
        syn::UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        syn::UseTree::Rename(rename) => vec![(vec![rename.ident.to_string()], rename.rename.to_string())],
        syn::UseTree::Glob(_) => vec![(Vec::new(), "*".to_owned())],
        syn::UseTree::Group(group) => group.items.iter().flat_map(names_of).collect(),
    }
}

/// The path from the crate's root. None: it leads to another crate.
fn absolute(here: &[String], segments: &[String]) -> Option<Vec<String>> {
    let mut base = here.to_vec();
    let mut rest = segments;
    match segments.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &segments[1..];
        }
        "self" => rest = &segments[1..],
        "super" => {
            while rest.first().is_some_and(|segment| segment == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        // A child of the module, or another crate: only the first is found among the modules.
        _ => {}
    }
    // `use super::thing::{self}` names the module.
    let rest = rest.iter().filter(|segment| *segment != "self").cloned();
    base.extend(rest);
    Some(base)
}

fn exports_of(syntax: &syn::File, module: &[String]) -> HashMap<String, Vec<String>> {
    let mut exports = HashMap::new();
    for item in &syntax.items {
        if let syn::Item::Use(item) = item
            && !matches!(item.vis, syn::Visibility::Inherited)
        {
            for (path, name) in names_of(&item.tree) {
                exports.extend(absolute(module, &path).map(|path| (name, path)));
            }
        }
    }
    exports
}

/// The room of a file, and its layer. None: the root of the crate.
fn layer_of(path: &str) -> Option<(&str, usize)> {
    let room = path.strip_prefix(ENGINE)?.split('/').next()?;
    let room = room.strip_suffix(".rs").unwrap_or(room);
    if room == "lib" {
        return None;
    }
    let layer = LAYERS.iter().position(|rooms| rooms.contains(&room));
    Some((room, layer.unwrap_or_else(|| panic!("{path}: the room `{room}` is not in tests/tidy/layers.rs"))))
}

/// The arrows that run up.
fn upward(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let mut offenders = Vec::new();
    for (from, targets) in arrows {
        let Some((_, layer)) = layer_of(from) else { continue };
        for to in targets {
            if layer_of(to).is_some_and(|(_, above)| above > layer) {
                offenders.push(format!("{from} uses {to}, which is above it"));
            }
        }
    }
    offenders
}

/// Groups of files that use each other: in each, every file reaches every other.
fn circles(arrows: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<String> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|from| (*from, reachable(arrows, from))).collect();
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for (from, targets) in &reached {
        if !targets.contains(from) || seen.contains(from) {
            continue;
        }
        let both = |to: &&&str| reached.get(**to).is_some_and(|back| back.contains(from));
        let members: Vec<&str> = targets.iter().filter(both).copied().collect();
        seen.extend(members.iter().copied());
        circles.push(members.join(", "));
    }
    circles
}

fn reachable<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        for to in arrows.get(file).into_iter().flatten() {
            if reached.insert(*to) {
                next.push(to);
            }
        }
    }
    reached
}

#[test]
fn arrows_of_the_engine_point_down() {
    let files = rust_files();
    let modules = Modules::read(&files);
    let arrows = modules.arrows();
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 300, "hardly any arrow was found");
    assert_none("a file of the engine uses only its own layer and those below", &upward(&arrows));
}

#[test]
fn no_files_of_the_engine_use_each_other_in_a_circle() {
    let files = rust_files();
    let modules = Modules::read(&files);
    assert_none("files of the engine that use each other in a circle", &circles(&modules.arrows()));
}

/// A crate of a few files, with what each says.
fn planted(files: &[(&str, &str)]) -> Vec<TextFile> {
    let file =
        |(path, text): &(&str, &str)| TextFile { path: format!("{ENGINE}{path}"), text: (*text).to_owned() };
    files.iter().map(file).collect()
}

#[test]
fn a_planted_arrow_upwards_is_found() {
    let files = planted(&[
        ("lib.rs", "mod log; mod shard;"),
        ("log/mod.rs", "mod writer;"),
        ("log/writer.rs", "fn run(shard: &crate::shard::Shard) {}"),
        ("shard/mod.rs", "mod put; pub use self::put::Shard;"),
        ("shard/put.rs", "pub struct Shard; #[cfg(test)] mod tests { use crate::node::Core; }"),
        ("node/mod.rs", "pub struct Core;"),
    ]);
    let modules = Modules::read(&files);
    let found = upward(&modules.arrows());
    assert_eq!(found, ["engine/src/log/writer.rs uses engine/src/shard/put.rs, which is above it"]);
}

#[test]
fn a_planted_circle_is_found() {
    let files = planted(&[
        ("shard/mod.rs", "mod get; mod list; mod put; pub use self::get::{Found, Pins};"),
        ("shard/get.rs", "use super::put; pub struct Found; pub struct Pins;"),
        ("shard/put.rs", "use super::list::Page;"),
        ("shard/list.rs", "pub struct Page; impl Page { fn pins(&self) -> super::Pins { super::Pins } }"),
        ("node/mod.rs", "use crate::shard::{Found, Pins};"),
    ]);
    let modules = Modules::read(&files);
    let found = circles(&modules.arrows());
    assert_eq!(found, ["engine/src/shard/get.rs, engine/src/shard/list.rs, engine/src/shard/put.rs"]);
}
