use super::*;

fn file(text: &str) -> Result<ConfigFile, String> {
    let settings = parse(text).map_err(|problems| problems.join("\n"))?;
    Ok(ConfigFile { path: PathBuf::from("x.toml"), settings })
}

/// Returns what `serve` has with this file and these flags, or what is wrong.
fn served(text: &str, flags: &[&str]) -> Result<ServeArgs, String> {
    let without_environment = |command: clap::Command| command.mut_args(|arg| arg.env(None::<&'static str>));
    let command = file(text)?.apply(Cli::command()).map_err(|error| error.to_string())?;
    let command = without_environment(command).mut_subcommand("serve", without_environment);
    let line = ["ringbolt", "serve"].iter().chain(flags);
    let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
    match Cli::from_arg_matches(&matches).map_err(|error| error.to_string())?.command {
        Command::Serve(args) => Ok(*args),
        _ => panic!("not serve"),
    }
}

#[test]
fn a_file_takes_the_place_of_defaults_and_flags_of_the_file() {
    let text = "memory = \"8GiB\"\nslow-request-ms = 250\nlisten = '0.0.0.0:9000'\nno-registered-buffers = true\n\
                drive = [\"/a\", \"/b\"]\ndomain = \"s3.example.com\"\nkey-requests = 100\nproxy-protocol = \"on\"\n\
                core-dumps = false\nlog = \"debug\"\nredundancy = \"mirror\"\n";
    let args = served(text, &[]).unwrap();
    assert_eq!((args.memory, args.slow_request_ms, args.listen.port()), (8 << 30, 250, 9000));
    assert_eq!(args.redundancy, Some(ringbolt_engine::node::Redundancy::copies(1)));
    assert_eq!(args.drive, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!((args.domain, args.key_requests), (vec!["s3.example.com".to_owned()], Some(100)));
    assert!(args.no_registered_buffers && !args.core_dumps);
    let args = served(text, &["--memory=1GiB", "--drive", "/c", "--key-requests=7"]).unwrap();
    assert_eq!((args.memory, args.key_requests, args.slow_request_ms), (1 << 30, Some(7), 250));
    assert_eq!(args.drive, [PathBuf::from("/c")], "a list of the command line is all there is");
    let nothing = served("# nothing\n", &[]).unwrap();
    assert_eq!((nothing.memory, nothing.key_requests), (1 << 30, None));
}

#[test]
fn all_that_is_wrong_in_a_file_is_told_with_its_line() {
    let text = "memroy = \"1GiB\"\nmemory = \"much\"\n\nproxy-protocol = \"maybe\"\nlisten = [\"a\", \"b\"]\n\
                no-registered-buffers = \"yes\"\nconfig = \"other.toml\"\nnew-node-key = true\nadmin_listen = \"off\"\n\
                wholly-unknown-word = 1\nkey-requests = 0\nslow-request-ms = -1\nredundancy = \"4x2\"\n\
                without-drive = \"7d444840-9dc0-41d1-b245-5ffdce74fad2\"\n";
    let told = served(text, &[]).map(|_| ()).unwrap_err();
    for part in [
        "line 1: there is no key memroy; did you mean memory?",
        "line 2: memory = \"much\": ",
        "line 4: proxy-protocol = \"maybe\": write one of: on, off",
        "line 5: listen has one value, and not a list",
        "line 6: no-registered-buffers: write true or false",
        "line 7: config is for the command line alone",
        "line 8: new-node-key is for the command line alone",
        "line 9: there is no key admin_listen; did you mean admin-listen?",
        "line 10: there is no key wholly-unknown-word; `ringbolt config show --defaults`",
        "line 11: key-requests = \"0\": ",
        "line 12: slow-request-ms = \"-1\": ",
        "line 13: redundancy = \"4x2\": \"4x2\" is no redundancy; write none",
        "line 14: without-drive is for the command line alone",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert_eq!(told.lines().count(), 14, "{told}");
    let told = served("[server]\nmemory = \"1GiB\"\n", &[]).map(|_| ()).unwrap_err();
    assert!(told.contains("line 1: server: keys stand at the top of the file"), "{told}");
    for (text, part) in
        [("memory = \n", "line 1: "), ("a = 1\na = 2\n", "line 2: "), ("size = 0x10\n", "line 1: size")]
    {
        let told = served(text, &[]).map(|_| ()).unwrap_err();
        assert!(told.contains(part), "{told}");
    }
}

/// Each line of the documented file that shows a default may be written, and changes nothing.
#[test]
fn the_documented_file_documents_every_flag_and_its_defaults_are_true() {
    let text = documented(&Cli::command());
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    let command = Cli::command();
    let mut set = String::new();
    for arg in settable(&command) {
        let key = arg.get_long().unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("# {key} = ")));
        let line = line.unwrap_or_else(|| panic!("{key} is not documented"));
        if !arg.get_default_values().is_empty() {
            set.push_str(&line[2..]);
            set.push('\n');
        }
    }
    assert!(set.lines().count() > 20, "{set}");
    assert_eq!(parse(&text).unwrap().len(), 0, "all of it is commented out");
    let values_of = |text: &str| {
        let command = file(text).unwrap().apply(Cli::command()).unwrap();
        values(&command.try_get_matches_from(["ringbolt", "serve"]).unwrap())
    };
    assert_eq!(values_of(&set), values_of(""));
    assert!(served("# x\n", &[]).is_ok());
}

#[test]
fn what_holds_is_shown_as_a_file_that_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringbolt.toml");
    std::fs::write(&path, "memory = \"2GiB\"\ndrive = [\"/a\", \"/b\"]\ncore-dumps = true\n").unwrap();
    let shown = effective(Some(&path)).unwrap();
    let line =
        |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(line("memory = \"2GiB\" ").ends_with("# file"), "{shown}");
    assert!(line("drive = [\"/a\", \"/b\"] ").ends_with("# file"), "{shown}");
    assert!(line("core-dumps = true ").ends_with("# file"), "{shown}");
    assert!(line("region = \"us-east-1\" ").ends_with("# default"), "{shown}");
    std::fs::write(&path, &shown).unwrap();
    let again = effective(Some(&path)).unwrap();
    let values = |text: &str| {
        text.lines().map(|line| line.split("  #").next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(&shown));
}

/// A setting that counts at once is one that there is, and part of what changes.
#[test]
fn live_settings_are_flags() {
    let command = Cli::command();
    let known: Vec<&str> = settable(&command).into_iter().filter_map(Arg::get_long).collect();
    for name in super::super::LIVE {
        assert!(known.contains(&name), "{name}");
    }
    let live = |text: &str| super::super::live_options(&served(text, &[]).unwrap());
    let before = live("");
    let values = [
        ("slow-request-ms", "7"),
        ("wrong-keys-free", "7"),
        ("head-timeout", "\"7s\""),
        ("body-timeout", "\"7s\""),
        ("connections", "7"),
        ("connections-per-address", "7"),
        ("handshakes-per-address", "7"),
        ("key-requests", "7"),
        ("key-bytes", "\"7KiB\""),
        ("key-in-flight", "7"),
        ("bucket-requests", "7"),
        ("bucket-bytes", "\"7KiB\""),
        ("scrub-rate", "\"7KiB\""),
        ("scrub-every", "\"7d\""),
        ("heal-within", "\"7h\""),
        ("lifecycle-day", "\"7d\""),
        ("lifecycle-rate", "7"),
    ];
    for (name, value) in values {
        assert_ne!(live(&format!("{name} = {value}\n")), before, "{name}");
    }
    assert_eq!(values.len() + 1, super::super::LIVE.len(), "all but the log are here");
}

#[test]
fn what_was_read_again_names_what_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringbolt.toml");
    std::fs::write(&path, "slow-request-ms = 100\n").unwrap();
    let line: Vec<OsString> = ["ringbolt", "serve", "--config"]
        .map(OsString::from)
        .into_iter()
        .chain([path.clone().into()])
        .collect();
    let (matches, _) = again(&line).unwrap();
    let mut settings = Settings::of(line, &matches);
    let mut read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let again = settings.read_again()?;
        let seen = (again.changed.clone(), again.since_start.clone());
        settings.keep(again);
        Ok::<_, ConfigError>(seen)
    };
    let one = "slow-request-ms = 100\n";
    assert_eq!(read(one).unwrap(), (vec![], vec![]));
    let other = "slow-request-ms = 200\nregion = \"eu-west-1\"\n";
    let both = vec!["region".to_owned(), "slow-request-ms".to_owned()];
    assert_eq!(read(other).unwrap(), (both.clone(), both.clone()));
    // What needs a restart needs it for as long as it differs from what runs.
    assert_eq!(read(other).unwrap(), (vec![], both.clone()));
    assert!(read("slow-request-ms = 300\nregion = 5.5\n").is_err());
    assert_eq!(read(other).unwrap(), (vec![], both.clone()), "what can not be used is not kept");
    assert_eq!(read(one).unwrap(), (both, vec![]));
}

/// The variable that `serve` takes its keys by may be set for commands that ask through the socket too.
#[test]
fn a_file_of_keys_needs_no_address() {
    let line = ["ringbolt", "bucket", "list", "--secret-file", "/run/secrets/x"];
    assert!(Cli::command().try_get_matches_from(line).is_ok());
}
