//! Rules for words in Rust files: the comment of a public item is a sentence.
//!
//! Invariants: a comment is a run of `///` lines; the item is what follows it behind its attributes, as rustfmt writes
//! it. Help texts of clap are fragments by convention, so types that derive its traits are left out, with their fields.

use crate::tree::{TextFile, assert_none, rust_files};

/// How many comments of public items are no sentences yet, by top directory. Lower a number when there are fewer;
/// never raise one. An empty list asks for whole sentences everywhere.
const FRAGMENTS_MAX: &[(&str, usize)] = &[];

/// The same for comments that only send the reader elsewhere.
const EMPTY_COMMENTS_MAX: &[(&str, usize)] = &[];

/// Words that begin a fragment, such as "Of this life" or "None: there is none", and hardly ever a sentence.
const FRAGMENT_STARTS: [&str; 6] = ["Of ", "By ", "Whether ", "Why ", "None: ", "0: "];

/// Says nothing.
const EMPTY_COMMENT: &str = "See the module.";

/// Derives of clap: their comments are what `--help` prints.
const HELP_DERIVES: [&str; 4] = ["Args", "Parser", "Subcommand", "ValueEnum"];

#[test]
fn comments_of_public_items_are_sentences() {
    hold("comments that begin with a capital letter and end with a full stop", FRAGMENTS_MAX, fragments);
}

#[test]
fn comments_say_something() {
    hold("comments that say more than where to look", EMPTY_COMMENTS_MAX, empty_comments);
}

/// Fails with all offenders of the directories that have more of them than they may.
fn hold(rule: &str, allowed: &[(&str, usize)], offenders_of: impl Fn(&TextFile) -> Vec<String>) {
    let mut by_directory: Vec<(String, Vec<String>)> = Vec::new();
    for file in rust_files().iter().filter(|file| !file.states_the_rules()) {
        let directory = file.path.split('/').next().unwrap_or_default();
        match by_directory.last_mut().filter(|(last, _)| last == directory) {
            Some((_, offenders)) => offenders.extend(offenders_of(file)),
            None => by_directory.push((directory.to_owned(), offenders_of(file))),
        }
    }
    let mut too_many = Vec::new();
    for (directory, offenders) in by_directory {
        let allowed = allowed.iter().find(|(name, _)| *name == directory).map_or(0, |(_, count)| *count);
        if offenders.len() > allowed {
            too_many.push(format!("{directory}/ has {}, allowed are {allowed}", offenders.len()));
            too_many.extend(offenders);
        }
    }
    assert_none(rule, &too_many);
}

/// A comment with the item that it stands above.
struct Comment<'a> {
    /// Line of the file where it begins, from 1.
    number: usize,
    lines: Vec<&'a str>,
    item: &'a str,
    is_help: bool,
}

impl Comment<'_> {
    /// Of what begins with a capital letter, which is a variant, the visibility is its type's: it is taken for public.
    fn is_of_a_public_item(&self) -> bool {
        let is_variant = self.item.starts_with(|first: char| first.is_ascii_uppercase());
        is_variant || self.item.starts_with("pub ") || self.item.starts_with("pub(")
    }
}

/// What is wrong with the words of a public item, if anything.
fn fragments(file: &TextFile) -> Vec<String> {
    let public =
        comments(file).into_iter().filter(|comment| comment.is_of_a_public_item() && !comment.is_help);
    public
        .filter_map(|comment| {
            let wrong = wrong_with(&comment.lines)?;
            Some(format!("{}:{}: {wrong}: {}", file.path, comment.number, comment.lines[0]))
        })
        .collect()
}

fn empty_comments(file: &TextFile) -> Vec<String> {
    let empty = comments(file).into_iter().filter(|comment| comment.lines.contains(&EMPTY_COMMENT));
    empty.map(|comment| format!("{}:{}: {EMPTY_COMMENT}", file.path, comment.number)).collect()
}

/// The first paragraph and the last one are looked at: what stands between may be a list, a table or code.
fn wrong_with(lines: &[&str]) -> Option<&'static str> {
    if lines[0].starts_with(|first: char| first.is_lowercase()) {
        return Some("begins with a small letter");
    }
    if FRAGMENT_STARTS.iter().any(|start| lines[0].starts_with(start)) {
        return Some("begins as a fragment");
    }
    let summary_end = lines.iter().take_while(|line| !line.is_empty()).last();
    let last = lines.iter().rev().find(|line| !line.is_empty());
    [summary_end, last]
        .into_iter()
        .flatten()
        .find(|line| !ends_a_sentence(line))
        .map(|_| "does not end as a sentence")
}

/// Code and tables end as they do; a quotation or parenthesis may close behind the full stop.
fn ends_a_sentence(line: &str) -> bool {
    let line = line.trim_end_matches([')', '"', '”']);
    line.ends_with(['.', ':', '?']) || line.ends_with("```") || line.ends_with('|')
}

fn comments(file: &TextFile) -> Vec<Comment<'_>> {
    let lines: Vec<&str> = file.text.lines().collect();
    let helps = help_ranges(&lines);
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let begin = at;
        let mut words = Vec::new();
        while let Some(text) = lines.get(at).and_then(|line| doc_text(line)) {
            words.push(text);
            at += 1;
        }
        if words.is_empty() {
            at += 1;
            continue;
        }
        at = behind_attributes(&lines, at);
        let item = lines.get(at).map_or("", |line| line.trim_start());
        let is_help = helps.iter().any(|range| range.contains(&begin));
        found.push(Comment { number: begin + 1, lines: words, item, is_help });
    }
    found
}

/// The text of a `///` line. Four slashes are no documentation.
fn doc_text(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("///").filter(|rest| !rest.starts_with('/')).map(str::trim)
}

/// The first line from `at` on that belongs to no attribute. An attribute of several lines ends with a line that
/// closes it.
fn behind_attributes(lines: &[&str], mut at: usize) -> usize {
    while lines.get(at).is_some_and(|line| line.trim_start().starts_with("#[")) {
        while lines.get(at).is_some_and(|line| !line.trim_end().ends_with(']')) {
            at += 1;
        }
        at += 1;
    }
    at
}

/// Lines of the types whose comments are help texts, from the first line of the type's own comment to its end.
fn help_ranges(lines: &[&str]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(derives) = line.trim_start().strip_prefix("#[derive(") else { continue };
        let names = derives.split([',', ')', ' ', ':']);
        if !names.into_iter().any(|name| HELP_DERIVES.contains(&name)) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", &line[..indent]);
        let length =
            lines[index..].iter().position(|line| *line == closing || line.ends_with(';')).unwrap_or(0);
        let above = lines[..index].iter().rev();
        let comment =
            above.take_while(|line| doc_text(line).is_some() || line.trim_start().starts_with("#[")).count();
        found.push(index - comment..index + length + 1);
    }
    found
}

#[test]
fn the_rules_see_what_they_should() {
    let of = |text: &str| {
        let file = TextFile { path: "x/y.rs".to_owned(), text: text.to_owned() };
        (fragments(&file).len(), empty_comments(&file).len())
    };
    assert_eq!(of("/// Returns the extent to its allocator.\npub fn good() {}\n"), (0, 0));
    assert_eq!(
        of("/// `lsn` of the batch: what was durable.\n#[must_use]\npub(crate) fn good() {}\n"),
        (0, 0)
    );
    assert_eq!(of("/// See (RFC 9110.)\n///\n/// ```\n/// code\n/// ```\npub struct Good;\n"), (0, 0));
    assert_eq!(of("/// Gives back\npub fn unfinished() {}\n"), (1, 0));
    assert_eq!(of("/// Of this life.\npub fn riddle() {}\n"), (1, 0));
    assert_eq!(of("/// gives it back.\n#[expect(\n    dead_code\n)]\npub fn small() {}\n"), (1, 0));
    assert_eq!(of("/// One line.\n///\n/// And no end\n    pub field: u8,\n"), (1, 0));
    assert_eq!(of("    /// of all cores\n    Global(u8),\n"), (1, 0));
    assert_eq!(of("/// of one's own\nfn private() {}\n//// no docs\npub fn bare() {}\n"), (0, 0));
    assert_eq!(of("/// See the module.\nstruct Empty;\n"), (0, 1));
    let help = "/// manages drives\n#[derive(Debug, Args)]\npub struct Options {\n    /// Size of the file\n    \
        pub size: u8,\n}\n\npub struct Other {\n    /// Size of the file\n    pub size: u8,\n}\n";
    assert_eq!(of(help), (1, 0), "help texts are fragments, other fields are not");
}
