//! These tests check Rust files.

use crate::tree::{TextFile, assert_none, rust_files};

const LINE_CHARACTERS_MAX: usize = 120;
const FILE_LINES_MAX: usize = 1200;
/// One table or one state machine may be longer; a line `// long: <reason>` above it says why.
const FUNCTION_LINES_MAX: usize = 100;

/// Lists what must not be left in the code, and why.
const BANNED: [(&str, &str); 6] = [
    ("todo!(", "finish it, or answer NotImplemented"),
    ("unimplemented!(", "finish it, or answer NotImplemented"),
    ("dbg!(", "use tracing"),
    ("FIXME", "mend it, or open an issue and say what holds today"),
    ("XXX", "say what is meant"),
    ("#[ignore", "a test that never runs shows nothing"),
];

#[test]
fn lines_are_short_and_without_tabs() {
    let mut offenders = Vec::new();
    for file in rust_files() {
        for (number, line) in file.lines() {
            let length = line.chars().count();
            if length > LINE_CHARACTERS_MAX && !is_message(line) {
                offenders.push(format!("{}:{number}: {length} characters", file.path));
            }
            if line.contains('\t') {
                offenders.push(format!("{}:{number}: a tab", file.path));
            }
            if line.ends_with(' ') {
                offenders.push(format!("{}:{number}: a blank at the end", file.path));
            }
        }
    }
    assert_none("lines of at most 120 characters, no tabs, no blanks at the end", &offenders);
}

/// Returns whether a line is one text, which stays whole so that a search for the message finds it.
fn is_message(line: &str) -> bool {
    line.trim_start().starts_with(['"']) || line.trim_start().starts_with("#[error(\"")
}

#[test]
fn files_are_short_or_say_why_not() {
    let mut offenders = Vec::new();
    for file in rust_files() {
        let count = file.lines().count();
        let reason = file.lines().take(20).any(|(_, line)| line.starts_with("// long: "));
        if count > FILE_LINES_MAX && !reason {
            offenders.push(format!("{}: {count} lines", file.path));
        }
    }
    assert_none("files of at most 1,200 lines, or a line `// long: <reason>` at the top", &offenders);
}

#[test]
fn files_begin_with_what_they_are() {
    let offenders: Vec<String> = rust_files()
        .iter()
        .filter(|file| !file.text.starts_with("//!") && !file.text.starts_with("// long: "))
        .filter(|file| !is_beside_code(&file.path))
        .map(|file| file.path.clone())
        .collect();
    assert_none("every file begins with a //! comment: what it is, and its invariants", &offenders);
}

/// Returns whether a file holds unit tests, because the file they test describes them.
fn is_beside_code(path: &str) -> bool {
    path.contains("/src/") && (path.contains("/tests/") || path.ends_with("tests.rs"))
}

#[test]
fn nothing_is_left_undone() {
    let mut offenders = Vec::new();
    for file in rust_files().iter().filter(|file| !file.states_the_rules()) {
        for (number, line) in file.lines() {
            for (word, instead) in BANNED {
                if line.contains(word) {
                    offenders.push(format!("{}:{number}: {word} ({instead})", file.path));
                }
            }
        }
    }
    assert_none("words that must not stay", &offenders);
}

#[test]
fn functions_are_short_or_say_why_not() {
    let mut long = Vec::new();
    for file in rust_files() {
        for (number, name, length) in functions(&file) {
            if length > FUNCTION_LINES_MAX && !says_why_it_is_long(&file, number) {
                long.push(format!("{}:{number}: {name} has {length} lines", file.path));
            }
        }
    }
    assert_none("functions of at most 100 lines, or a line `// long: <reason>` above", &long);
}

/// Returns whether the comments and attributes directly above line `number` give a reason.
fn says_why_it_is_long(file: &TextFile, number: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().take(number - 1).map(str::trim_start).collect();
    let mut above = lines.iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["));
    above.any(|line| line.starts_with("// long: "))
}

/// Returns first line, name and length of every function. It relies on rustfmt: the closing brace
/// is in the column of the first line.
fn functions(file: &TextFile) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", &line[..indent]);
        let end = lines[index..].iter().position(|line| *line == closing);
        let without_body = lines[index..].iter().position(|line| line.ends_with(';') || line.ends_with('{'));
        let one_line = line.ends_with('}') || without_body.is_some_and(|at| lines[index + at].ends_with(';'));
        if let (false, Some(end)) = (one_line, end) {
            found.push((index + 1, name, end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    const QUALIFIERS: [&str; 6] = ["async", "const", "unsafe", "extern", "\"C\"", "default"];
    let mut words =
        line.split_whitespace().skip_while(|word| word.starts_with("pub") || QUALIFIERS.contains(word));
    (words.next()? == "fn").then_some(())?;
    let name = words.next()?;
    Some(name.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect())
}

/// The last three are files: parity by instructions that not every processor has, the MD5, whose documentation
/// gives the reason, and the library of C that parity is compared with.
const UNSAFE_ROOMS: [&str; 5] = [
    "engine/src/ring/",
    "engine/src/device/",
    "engine/src/stripe/x86.rs",
    "server/src/auth/md5.rs",
    "benches/src/isal.rs",
];

#[test]
fn unsafe_stays_in_its_rooms_and_says_why_it_is_sound() {
    let mut offenders = Vec::new();
    for file in rust_files().iter().filter(|file| !file.states_the_rules()) {
        let allowed = UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room));
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if !has_word(code_of(line), "unsafe") {
                continue;
            }
            let before = &lines[index.saturating_sub(8)..=index];
            let reasoned = before.iter().any(|line| line.contains("SAFETY") || line.contains("# Safety"));
            if !allowed {
                offenders.push(format!(
                    "{}:{}: unsafe outside of {}",
                    file.path,
                    index + 1,
                    UNSAFE_ROOMS.join(", ")
                ));
            } else if !reasoned {
                offenders.push(format!("{}:{}: unsafe without SAFETY close above", file.path, index + 1));
            }
        }
    }
    assert_none("unsafe code", &offenders);
}

/// Returns the line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Returns whether `word` stands in `code` by itself.
pub fn has_word(code: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part))
}

#[test]
fn the_rules_see_what_they_should() {
    let text = "pub async fn long_one(\n    a: u8,\n) {\n    a;\n}\n\nfn declared();\n\nfn one_line() {}\n";
    let file = TextFile { path: "example.rs".to_owned(), text: text.to_owned() };
    assert_eq!(functions(&file), [(1, "long_one".to_owned(), 5)]);
    assert!(!says_why_it_is_long(&file, 1));
    let text = "// long: one table\n/// Does it.\n#[must_use]\nfn long() {\n}\n";
    assert!(says_why_it_is_long(&TextFile { path: "example.rs".to_owned(), text: text.to_owned() }, 4));
    assert!(has_word("let x = unsafe { y };", "unsafe"));
    assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    assert_eq!(code_of("let x = 1; // unsafe"), "let x = 1; ");
}
