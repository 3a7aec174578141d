use super::*;

#[test]
fn the_template_is_a_plan_as_it_is() {
    let Input { workload, hardware, notes } = with(&[]).unwrap();
    assert_eq!((workload.objects.count, hardware.drives.count), (100_000_000, 12));
    assert_eq!(notes, [] as [String; 0]);
    for text in [template().workload, template().hardware] {
        assert!(text.starts_with("# EXAMPLE"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120));
    }
}

/// Returns the comments before a key of a section, and whether the key is set.
fn entry(text: &str, section: &str, name: &str) -> Option<(String, bool)> {
    let mut inside = false;
    let mut comments = String::new();
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(header) = bare.strip_prefix('[').and_then(|header| header.strip_suffix(']')) {
            (inside, comments) = (header == section, String::new());
        } else if inside && bare.starts_with(&format!("{name} = ")) {
            return Some((comments, bare == line));
        } else if line.starts_with('#') {
            comments = comments + " " + bare;
        } else {
            comments.clear();
        }
    }
    None
}

#[test]
fn every_key_is_in_the_template_with_its_default() {
    for key in keys::all() {
        let text = match key.file() {
            File::Workload => template().workload,
            File::Hardware => template().hardware,
        };
        let (section, name) = key.path.rsplit_once('.').unwrap();
        let Some((comments, is_set)) = entry(text, section, name) else {
            panic!("{} is not in the template", key.path);
        };
        match key.fallback {
            Fallback::Is(default) => {
                let stated = format!("Default: {default}.");
                assert!(comments.contains(&stated), "{}: {stated} is not in {comments:?}", key.path);
            }
            Fallback::Required => {
                assert!(comments.contains("Required.") && is_set, "{}: {comments:?}", key.path);
            }
            Fallback::Absent => {
                assert!(comments.len() > 10 || section == "objects.distribution", "{}", key.path)
            }
        }
    }
}

#[test]
fn the_template_has_nothing_but_keys() {
    for text in [template().workload, template().hardware] {
        let mut section = "";
        for line in text.lines() {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            if let Some(header) = bare.strip_prefix('[').and_then(|header| header.strip_suffix(']')) {
                section = header;
            } else if let Some((name, _)) = bare.split_once(" = ").filter(|(name, _)| !name.contains(' ')) {
                assert!(keys::find(&format!("{section}.{name}")).is_some(), "{section}.{name}: {line}");
            }
        }
    }
}

/// An example after a # is valid when the # is removed.
#[test]
fn the_examples_of_keys_are_read() {
    for key in keys::all() {
        if matches!(key.kind, kind::Kind::File) {
            continue;
        }
        let fallbacks = match key.fallback {
            Fallback::Is(default) => vec![default, key.example],
            Fallback::Required | Fallback::Absent => vec![key.example],
        };
        for example in fallbacks {
            let set = if key.path.starts_with("objects.distribution") {
                let table = "objects.distribution={ kind = \"lognormal\", median = 70_000, sigma = 1, max = \"1GB\" }";
                let mut set = overrides(&[table]);
                if !matches!(key.name(), "distribution.alpha" | "distribution.size") {
                    set.push(Override { path: key.path.to_owned(), value: example.to_owned() });
                }
                set
            } else {
                vec![Override { path: key.path.to_owned(), value: example.to_owned() }]
            };
            let (workload, hardware) = documents();
            let read = parse(&workload, &hardware, &set, Path::new(""), NOW);
            assert!(read.is_ok(), "{} = {example}: {read:?}", key.path);
        }
    }
}

#[test]
fn the_example_files_are_hardware() {
    let (workload, _) = documents();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let document = Document::read(&entry.unwrap().path()).unwrap();
        assert!(document.text.starts_with("# EXAMPLE"), "{}", document.text);
        let input = parse(&workload, &document, &[], Path::new(""), NOW).unwrap();
        assert!(input.hardware.name.starts_with("example"));
        names.push(document.name.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["dense.toml", "fast.toml"]);
}
