//! These tests take every example of every `--help` from the help itself and run it in a shell,
//! with small substitutes for what it names: files for drives, servers of the test, seconds for
//! minutes.

use aws_sdk_s3::primitives::ByteStream;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions, binary};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// This is the size of every drive, and of every file that an example creates.
const DRIVE: &str = "64MiB";

/// Holds the lifecycle rules of the bucket, and those of an example.
const RULES: &str = "<LifecycleConfiguration><Rule><ID>tmp</ID><Filter><Prefix>tmp/</Prefix></Filter>\
                     <Status>Enabled</Status><Expiration><Days>7</Days></Expiration></Rule>\
                     </LifecycleConfiguration>";

/// Holds a policy of a user.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement":
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::photos/*"}}"#;

/// Lists texts in examples and their substitutes. The first that matches a place counts.
const SUBSTITUTES: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… ", ""),
    ("RINGBOLT_ACCESS_KEY=… RINGBOLT_SECRET_KEY=… ", "{keys} "),
    ("--admin http://127.0.0.1:9001", "--admin {admin}"),
    ("bucket list --data /srv/ringbolt", "bucket list --data {data}"),
    ("RBEXAMPLEKEY", "{access_key}"),
    ("7d444840-9dc0-41d1-b245-5ffdce74fad2", "{gone_drive}"),
    ("https://s3.example.org", "{endpoint}"),
    ("http://127.0.0.1:9000", "{endpoint}"),
    ("--seconds 60 ", ""),
    ("http://127.0.0.1:9001", "{admin} --seconds 1"),
    ("127.0.0.1:9000", "{host}"),
    ("10.0.0.7:9000", "{host}"),
    ("0.0.0.0:9000", "127.0.0.1:0"),
    ("0b1d5a52-8f0c-4a58-9c63-0f6c2a9f3f10", "{lost_drive}"),
    ("drive identify 1", "drive identify 0 --seconds 1"),
    ("--path /dev/nvme1n1 --seconds 10", "--path dev/nvme1n1 --seconds 1"),
    // The server of all examples has one drive, which it needs.
    // Of old stripes, which a set of two has not.
    (
        "ringbolt drive add /dev/nvme3n1 --spread",
        "{ ringbolt  format --size 256MiB --shards 4 --drive i1 --drive i2 --drive i3 --drive i4 && { ringbolt  serve \
         --data eight --listen 127.0.0.1:0 --admin-listen off --drive i1 --drive i2 --drive i3 --drive i4 \
         >eight.log 2>&1 & for turn in $(seq 300); do ringbolt  drive list --data eight >/dev/null 2>&1 && break; \
         sleep 0.1; done; ringbolt  drive add i5 --spread --data eight && ringbolt  drive spread 4 --data eight && \
         ringbolt  drive spread 4 --no-wait --data eight && { ringbolt  drive spread 4 --stop --data eight || \
         ringbolt  drive list --json --data eight | grep -q '\"spreads\": *false'; }; \
         outcome=$?; kill $!; wait $!; exit $outcome; }; }",
    ),
    // These were run there.
    ("ringbolt drive spread 6 --no-wait", "true"),
    ("ringbolt drive spread 6 --stop", "true"),
    ("ringbolt drive spread 6", "true"),
    (
        "ringbolt drive add /dev/nvme3n1",
        "{ ringbolt  format --size 160MiB --shards 2 --drive e1 --drive e2 && { ringbolt  serve --data four \
         --listen 127.0.0.1:0 --admin-listen off --drive e1 --drive e2 >four.log 2>&1 & \
         for turn in $(seq 300); do ringbolt  drive list --data four >/dev/null 2>&1 && break; sleep 0.1; done; \
         ringbolt  drive add e3 --data four; \
         outcome=$?; kill $!; wait $!; exit $outcome; }; }",
    ),
    (
        "ringbolt drive drain 1 --no-wait",
        "{ ringbolt  format --size 224MiB --shards 3 --drive f1 --drive f2 --drive f3 && { ringbolt  serve --data five \
         --listen 127.0.0.1:0 --admin-listen off --drive f1 --drive f2 --drive f3 >five.log 2>&1 & \
         for turn in $(seq 300); do ringbolt  drive list --data five >/dev/null 2>&1 && break; sleep 0.1; done; \
         ringbolt  drive drain 1 --no-wait --data five; \
         outcome=$?; kill $!; wait $!; exit $outcome; }; }",
    ),
    (
        "ringbolt drive drain 1 --stop",
        "{ ringbolt  format --size 224MiB --shards 3 --drive g1 --drive g2 --drive g3 && { ringbolt  serve --data six \
         --listen 127.0.0.1:0 --admin-listen off --drive g1 --drive g2 --drive g3 >six.log 2>&1 & \
         for turn in $(seq 300); do ringbolt  drive list --data six >/dev/null 2>&1 && break; sleep 0.1; done; \
         ringbolt  drive drain 1 --no-wait --data six && { ringbolt  drive drain 1 --stop --data six || \
         ringbolt  drive list --data six | grep -q emptied; }; \
         outcome=$?; kill $!; wait $!; exit $outcome; }; }",
    ),
    (
        "ringbolt drive drain 1",
        "{ ringbolt  format --size 224MiB --shards 3 --drive h1 --drive h2 --drive h3 && { ringbolt  serve --data seven \
         --listen 127.0.0.1:0 --admin-listen off --drive h1 --drive h2 --drive h3 >seven.log 2>&1 & \
         for turn in $(seq 300); do ringbolt  drive list --data seven >/dev/null 2>&1 && break; sleep 0.1; done; \
         ringbolt  drive drain 1 --data seven; \
         outcome=$?; kill $!; wait $!; exit $outcome; }; }",
    ),
    (
        "ringbolt drive online /dev/nvme2n1",
        "{ ringbolt  serve --data two --listen 127.0.0.1:0 --admin-listen off --drive dev/nvme1n1 --drive dev/nvme2n1 \
         >two.log 2>&1 & for turn in $(seq 300); do ringbolt  drive list --data two >/dev/null 2>&1 && break; \
         sleep 0.1; done; ringbolt  drive offline 1 --data two && ringbolt  drive online dev/nvme2n1 --data two; \
         outcome=$?; kill $!; wait $!; exit $outcome; }",
    ),
    (
        "ringbolt drive replace 1 --new /dev/nvme3n1",
        "{ ringbolt  format --size 160MiB --shards 2 --drive one --drive other && { ringbolt  serve --data three \
         --listen 127.0.0.1:0 --admin-listen off --drive one --drive other >three.log 2>&1 & \
         for turn in $(seq 300); do ringbolt  drive list --data three >/dev/null 2>&1 && break; sleep 0.1; done; \
         ringbolt  drive offline 1 --data three && ringbolt  drive replace 1 --new third --data three; \
         outcome=$?; kill $!; wait $!; exit $outcome; }; }",
    ),
    (
        "ringbolt drive offline 1",
        "{ ringbolt  serve --data two --listen 127.0.0.1:0 --admin-listen off --drive dev/nvme1n1 --drive dev/nvme2n1 \
         >two.log 2>&1 & for turn in $(seq 300); do ringbolt drive list --data two >/dev/null 2>&1 && break; \
         sleep 0.1; done; ringbolt drive offline 1 --data two; outcome=$?; kill $!; wait $!; exit $outcome; }",
    ),
    ("/dev/sd", "dev/sd"),
    ("/dev/nvme1n1", "dev/nvme1n1"),
    ("/dev/nvme2n1", "dev/nvme2n1"),
    ("/dev/nvme3n1", "dev/nvme3n1"),
    ("/dev/nvme*n1", "dev/nvme*n1"),
    ("/dev/nvme0", "/dev/null"),
    ("/srv/ringbolt", "srv"),
    ("/mnt/nvme", "mnt"),
    ("--size 100GiB", "--size 64MiB"),
    ("--size 8GiB", "--size 64MiB"),
    ("--size 4GiB", "--size 128MiB"),
    ("--memory 16GiB", "--memory 256MiB"),
    ("torture --drive dev/nvme1n1 --minutes 60", "torture --size 128MiB --drive dev/nvme1n1 --cycles 2"),
    ("--drive dev/nvme3n1 --minutes 60", "--drive dev/nvme3n1 --size 384MiB --cycles 2"),
    ("--cycles 200", "--cycles 2"),
    ("--drive ./probe", "--drive ./probe --size 64MiB"),
    ("--runtime=30s", "--runtime=1s"),
    ("--runtime=60s", "--runtime=1s"),
    ("--objects=100000", "--objects=200"),
    ("--objects=1000", "--objects=50"),
    ("--ioengine=s3 --op=get", "--ioengine=s3 --http_host={host} --op=get"),
    ("--server-core 2 --client-core 3", "--server-core 0 --client-core 1"),
];

/// This is one example of a help text.
#[derive(Debug)]
struct Example {
    /// Holds the words of the help's command after `ringbolt`.
    command: Vec<String>,
    line: String,
}

/// This is a directory with what examples name, and programs that they call.
struct Bench {
    directory: TempDir,
    server: Server,
    /// Is an access key of the user alice.
    access_key: String,
    /// Is the UUID of the second drive of the set.
    gone_drive: String,
    /// The same of the set that was served.
    lost_drive: String,
}

fn ringbolt(directory: &Path, line: &str) {
    let output = shell(directory, line).output().expect("run a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns a command that runs `line` in a shell, with settings that make servers small and ports
/// free.
fn shell(directory: &Path, line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).current_dir(directory).stdin(Stdio::null());
    command.env("PATH", format!("{}/programs:/usr/bin:/bin", bench_root(directory).display()));
    command.env("AWS_ACCESS_KEY_ID", MAIN.access_key).env("AWS_SECRET_ACCESS_KEY", MAIN.secret_key);
    command.env("RINGBOLT_LISTEN", "127.0.0.1:0").env("RINGBOLT_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

/// Returns the root directory, within which examples run.
fn bench_root(directory: &Path) -> &Path {
    directory.parent().filter(|parent| parent.join("programs").is_dir()).unwrap_or(directory)
}

impl Bench {
    async fn new() -> Self {
        let server = Server::start(ServerOptions::default());
        let client = server.client(&MAIN);
        for bucket in ["photos", "bench", "scratch", "old-photos"] {
            client.create_bucket().bucket(bucket).send().await.expect("a bucket");
        }
        let body = ByteStream::from_static(b"a picture");
        client.put_object().bucket("photos").key("1.jpg").body(body).send().await.expect("an object");
        let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
        let set = signer.send("PUT", "/photos?lifecycle", "", RULES.as_bytes()).await.expect("an answer");
        assert_eq!(set.status, 200, "{set:?}");
        let directory = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
        let mut bench = Self {
            directory,
            server,
            access_key: String::new(),
            gone_drive: String::new(),
            lost_drive: String::new(),
        };
        let programs = bench.directory.path().join("programs");
        std::fs::create_dir(&programs).expect("a directory");
        symlink(binary::ringbolt(), programs.join("ringbolt")).expect("a link");
        let listing = "2026-11-21 10:00:00 1000 photos/1.jpg";
        let wear = r#"{"percentage_used": 40, "power_on_hours": 9000, "data_units_written": 5}"#;
        for (name, says) in [
            ("aws", format!("echo '{listing}'")),
            ("jq", "cat".to_owned()),
            ("nvme", format!("echo '{wear}'")),
            ("smartctl", format!("echo '{{\"nvme_smart_health_information_log\": {wear}}}'")),
        ] {
            let path = programs.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{says}\n")).expect("a program");
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("to be run");
        }
        bench.make_templates();
        let asks = |line: &str| {
            let mut command = shell(bench.directory.path(), &format!("ringbolt {line}"));
            let output = command.env("RINGBOLT_DATA", bench.server.data_dir()).output().expect("run a shell");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        for line in ["user add alice", "user add bob", "account add old-tenant"] {
            asks(line);
        }
        let key: serde_json::Value =
            serde_json::from_slice(&asks("key create --user alice --json")).expect("JSON");
        let uuid_of = |drive: &str| {
            let said = asks(&format!("inspect --drive templates/dev/{drive} --json"));
            let drive: serde_json::Value = serde_json::from_slice(&said).expect("JSON");
            drive["superblock"]["drive_uuid"].as_str().expect("a UUID").to_owned()
        };
        let (gone_drive, lost_drive) = (uuid_of("nvme2n1"), uuid_of("sdc"));
        bench.access_key = key["access_key"].as_str().expect("an access key").to_owned();
        (bench.gone_drive, bench.lost_drive) = (gone_drive, lost_drive);
        bench
    }

    /// Creates what examples use; it is copied for each of them.
    fn make_templates(&self) {
        let place = self.directory.path().join("templates");
        std::fs::create_dir_all(place.join("dev")).expect("a directory");
        std::fs::create_dir_all(place.join("ringbolt-data")).expect("a directory");
        std::fs::create_dir_all(place.join("mnt")).expect("a directory");
        let format = |drives: &str| format!("ringbolt format {drives} --size {DRIVE} --shards 1");
        ringbolt(&place, &format("--drive dev/nvme1n1 --drive dev/nvme2n1"));
        // Only in a set that was served can a drive take the place of another one.
        ringbolt(&place, &format("--drive dev/sdb --drive dev/sdc"));
        let serve = "ringbolt serve --data served --drive dev/sdb --drive dev/sdc";
        until(&place, &shell(&place, serve), serve, "is ready at", Signal::TERM).expect("it serves");
        std::fs::remove_dir_all(place.join("served")).expect("remove what it made");
        ringbolt(&place, &format("--drive ringbolt-data/drive0"));
        ringbolt(&place, "ringbolt plan init");
        for (from, to) in [("workload.toml", "photos.toml"), ("hardware.toml", "dense.toml")] {
            std::fs::copy(place.join(from), place.join(to)).expect("a copy");
        }
        ringbolt(&place, "ringbolt plan run --json --output plan.json");
        let keys = ["directory=.", "size=4m", "direct=1", "rw=randread", "bs=64k", "iodepth=2", "runtime=1s"];
        let layers = format!("[layers]\n{}\ntime_based\n", keys.join("\n"));
        std::fs::write(place.join("layers.fio"), &layers).expect("a job");
        std::fs::write(place.join("reads.fio"), layers.replace("layers", "reads")).expect("a job");
        ringbolt(&place, "ringbolt bench reads.fio --output-format=json+ --output=before.json");
        for name in ["after", "a1", "a2", "a3", "b1", "b2", "b3"] {
            std::fs::copy(place.join("before.json"), place.join(format!("{name}.json"))).expect("a copy");
        }
        let manifest =
            r#"{"fileFormat": "CSV", "fileSchema": "Bucket, Key, Size", "files": [{"key": "part-1.csv"}]}"#;
        std::fs::write(place.join("manifest.json"), manifest).expect("a manifest");
        std::fs::write(place.join("rules.xml"), RULES).expect("rules");
        std::fs::write(place.join("ringbolt.toml"), "slow-request-ms = 500\n").expect("a configuration");
        std::fs::write(place.join("photos.json"), POLICY).expect("a policy");
        for name in ["part-1.csv", "part-1.csv.gz", "part-2.csv.gz"] {
            std::fs::write(place.join(name), "\"photos\",\"1.jpg\",\"1000\"\n").expect("an inventory");
        }
        for name in ["part-1.parquet", "part-2.parquet"] {
            write_parquet(&place.join(name));
        }
    }

    /// Creates a directory for `example`, with copies of what it uses.
    fn place(&self, example: &Example, number: usize) -> PathBuf {
        let place = self.directory.path().join(format!("example-{number}"));
        std::fs::create_dir_all(place.join("dev")).expect("a directory");
        std::fs::create_dir_all(place.join("mnt")).expect("a directory");
        let templates = self.directory.path().join("templates");
        let makes = ["ringbolt format", "ringbolt torture", "ringbolt plan init"];
        if makes.iter().any(|makes| example.line.contains(makes)) {
            return place;
        }
        let copied = Command::new("cp").arg("-r").arg(templates.join(".")).arg(&place).status();
        assert!(copied.expect("copy what is to be found").success());
        if example.line.contains("ringbolt serve") && !example.line.contains("--drive") {
            std::fs::remove_dir_all(place.join("ringbolt-data")).expect("the server makes its own");
        }
        place
    }

    fn substituted(&self, line: &str) -> String {
        let endpoint = self.server.endpoint();
        let host = endpoint.trim_start_matches("http://").to_owned();
        let keys = format!("RINGBOLT_ACCESS_KEY={} RINGBOLT_SECRET_KEY={}", MAIN.access_key, MAIN.secret_key);
        let mut line = line.to_owned();
        for (from, to) in SUBSTITUTES {
            let to = to.replace("{endpoint}", endpoint).replace("{host}", &host);
            let to = to.replace("{admin}", &self.server.admin_endpoint());
            let to = to.replace("{data}", &self.server.data_dir().display().to_string());
            let to = to.replace("{access_key}", &self.access_key);
            let to = to.replace("{gone_drive}", &self.gone_drive).replace("{lost_drive}", &self.lost_drive);
            line = line.replace(from, &to.replace("{keys}", &keys));
        }
        line
    }

    /// Runs `example`; returns why it fails.
    fn run(&self, example: &Example, number: usize) -> Result<(), String> {
        let place = self.place(example, number);
        let line = self.substituted(&example.line);
        println!("{line}");
        let mut command = shell(&place, &line);
        if ["ringbolt serve", "ringbolt format"].iter().any(|makes| line.contains(makes)) {
            command.env("RINGBOLT_SHARDS", "1");
            if !line.contains("--size") {
                command.env("RINGBOLT_SIZE", DRIVE);
            }
        }
        const ASKS: [&str; 9] =
            ["bucket", "clock", "drive", "lifecycle", "account", "user", "group", "key", "policy"];
        if ASKS.iter().any(|asks| line.contains(&format!("ringbolt {asks} "))) {
            command.env("RINGBOLT_DATA", self.server.data_dir());
        }
        let ended = if line.contains("ringbolt serve") {
            until(&place, &command, &line, "is ready at", Signal::TERM)
        } else if line.contains("ringbolt bench profile") {
            // It takes at least a minute.
            until(&place, &command, &line, " left] ", Signal::KILL)
        } else if line.contains("ringbolt plan calibrate") {
            let ended = until(&place, &command, &line, "calibrate: index", Signal::TERM);
            // If the disk has less space than needed, that is a problem of the machine.
            let is_full =
                ended.as_ref().is_err_and(|said| said.contains(" are free, and the drive files take "));
            if is_full { Ok(()) } else { ended.and_then(|()| nothing_is_left(&place)) }
        } else {
            let output = command.output().expect("run a shell");
            // Status 3 means that `bench compare` found a regression.
            let done = output.status.success() || line.contains("compare") && output.status.code() == Some(3);
            let said = [output.stdout, output.stderr].concat();
            if done { Ok(()) } else { Err(format!("{}: {}", output.status, String::from_utf8_lossy(&said))) }
        };
        std::fs::remove_dir_all(&place).expect("remove what the example made");
        ended
    }
}

/// Runs a command until it prints `text`, and ends it by `signal`.
fn until(place: &Path, settings: &Command, line: &str, text: &str, signal: Signal) -> Result<(), String> {
    let line = line.replacen("ringbolt", "exec ringbolt", 1);
    let mut command = shell(place, &format!("{line} 2>&1"));
    for (name, value) in settings.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut child = Running(command.stdout(Stdio::piped()).spawn().expect("run a shell"));
    let mut lines = BufReader::new(child.0.stdout.take().expect("its output"));
    let mut said = String::new();
    while lines.read_line(&mut said).expect("a line") > 0 {
        if said.contains(text) {
            let pid = Pid::from_raw(child.0.id().try_into().expect("a process id")).expect("not 0");
            kill_process(pid, signal).expect("send a signal");
            lines.read_to_string(&mut said).expect("its last words");
            child.0.wait().expect("its end");
            return Ok(());
        }
    }
    Err(format!("it ended without {text:?}: {said}"))
}

/// Checks that a calibration that was ended leaves neither drives nor a part of its result.
fn nothing_is_left(place: &Path) -> Result<(), String> {
    let names = |place: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(place).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let all = [names(place), names(&place.join("mnt"))].concat();
    match all.iter().find(|name| name.starts_with("plan-calibrate-") || name.starts_with(".tmp")) {
        Some(left) => Err(format!("it left {left} behind")),
        None => Ok(()),
    }
}

/// This is killed when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn write_parquet(path: &Path) {
    let schema = "message s3.inventory { required binary key (UTF8); optional int64 size; }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = File::create(path).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a row group");
    let mut key = group.next_column().expect("a column").expect("of keys");
    key.typed::<ByteArrayType>().write_batch(&[ByteArray::from("1.jpg")], None, None).expect("a key");
    key.close().expect("a column");
    let mut size = group.next_column().expect("a column").expect("of sizes");
    size.typed::<Int64Type>().write_batch(&[1000], Some(&[1]), None).expect("a size");
    size.close().expect("a column");
    group.close().expect("a row group");
    writer.close().expect("a file");
}

fn help(command: &[String]) -> String {
    let output = Command::new(binary::ringbolt()).args(command).arg("--help").output().expect("run ringbolt");
    assert!(output.status.success(), "{command:?} --help");
    String::from_utf8(output.stdout).expect("text")
}

/// Finds the help of a command and of all its subcommands.
fn all_helps(command: Vec<String>, found: &mut Vec<(Vec<String>, String)>) {
    let text = help(&command);
    for name in subcommands(&text) {
        let below = [command.clone(), vec![name]].concat();
        all_helps(below, found);
    }
    found.push((command, text));
}

/// Returns the subcommands in clap's list, or in the synopsis of `bench`: words after its name that
/// are neither options nor arguments.
fn subcommands(help: &str) -> Vec<String> {
    let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase()) && *word != "help";
    let mut found: Vec<String> = Vec::new();
    let mut inside = "";
    for line in help.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            inside = line;
        } else if inside == "Commands:" || inside == "SYNOPSIS" {
            let line = line.trim_start().trim_start_matches("ringbolt bench ");
            let names = line.split_whitespace().next().filter(is_name);
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

/// Returns the lines below "Examples" that begin with a command, including continuations after a
/// backslash, and without explanations, which follow two blanks.
fn examples(command: &[String], help: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for line in help.lines() {
        if !line.starts_with(' ') {
            inside = line.eq_ignore_ascii_case("examples:") || line == "EXAMPLES";
            continue;
        }
        let text = line.trim_start();
        let begins = text.starts_with("ringbolt ")
            || text.split(' ').next().is_some_and(|word| word.contains('=') || word == "aws");
        if !inside || !(goes_on || begins && text.contains("ringbolt ")) {
            continue;
        }
        let text = text.split("  ").next().unwrap_or_default();
        let (text, more) = text.strip_suffix('\\').map_or((text, false), |text| (text.trim_end(), true));
        match found.last_mut().filter(|_| goes_on) {
            Some(example) => example.line += &format!(" {text}"),
            None => found.push(Example { command: command.to_vec(), line: text.to_owned() }),
        }
        goes_on = more;
    }
    found
}

#[test]
fn examples_are_found_in_a_help() {
    let text = [
        "Do",
        "",
        "Examples:",
        "  ringbolt do --it           what it does",
        "  A=… B=c ringbolt do",
        "                             more, as `ringbolt other` has",
        "  aws s3 ls | ringbolt do -",
        "",
        "Then: ringbolt more",
        "",
        "Commands:",
        "  do    Do it",
        "  help  Help",
        "",
        "Options:",
        "  -h",
    ];
    let text = &text.join("\n");
    let lines: Vec<String> = examples(&[], text).into_iter().map(|example| example.line).collect();
    assert_eq!(lines, ["ringbolt do --it", "A=… B=c ringbolt do", "aws s3 ls | ringbolt do -"]);
    assert_eq!(subcommands(text), ["do"]);
    let manual = [
        "SYNOPSIS",
        "  ringbolt bench [OPTION]",
        "  ringbolt bench layers JOB",
        "",
        "EXAMPLES",
        "  Words about it:",
        "    ringbolt bench --a \\",
        "        --b",
        "    ringbolt bench c    # and d",
        "",
        "EXIT STATUS",
        "  0  ringbolt ran",
    ];
    let manual = &manual.join("\n");
    let lines: Vec<String> = examples(&[], manual).into_iter().map(|example| example.line).collect();
    assert_eq!(lines, ["ringbolt bench --a --b", "ringbolt bench c"]);
    assert_eq!(subcommands(manual), ["layers"]);
}

#[tokio::test]
async fn every_example_of_every_help_runs() {
    let mut helps = Vec::new();
    all_helps(Vec::new(), &mut helps);
    let found: Vec<Example> = helps.iter().flat_map(|(command, text)| examples(command, text)).collect();
    for name in
        ["serve", "format", "inspect", "check", "torture", "bench", "plan", "bucket", "clock", "lifecycle"]
            .into_iter()
            .chain(["account", "user", "group", "key", "policy", "drive"])
    {
        assert!(found.iter().any(|example| example.command.first().is_some_and(|of| of == name)), "{name}");
    }
    assert!(found.len() >= 40, "{found:?}");
    let bench = Bench::new().await;
    let ran = tokio::task::spawn_blocking(move || {
        let run = |(number, example): (usize, &Example)| {
            let failed = bench.run(example, number).err()?;
            Some(format!("ringbolt {}: {}\n{failed}", example.command.join(" "), example.line))
        };
        found.iter().enumerate().filter_map(run).collect::<Vec<String>>()
    });
    let failed = ran.await.expect("no panic");
    assert!(failed.is_empty(), "{} examples do not run:\n{}", failed.len(), failed.join("\n\n"));
}
