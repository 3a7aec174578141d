//! These tests check the configuration file: what a server takes from it, what it takes over while it
//! runs, and what the commands say of it.

use crate::support::{BUCKET, get, make_bucket, put};
use ringbolt_tests::client::{MAIN, OTHER};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Content, Server, ServerOptions, binary, raw_http};
use ringbolt_tool_common::process::without_settings;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

fn ringbolt(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary::ringbolt());
    command.args(arguments).stdin(Stdio::null()).env_clear().envs(environment.iter().copied());
    command.output().expect("ringbolt runs")
}

fn text(output: &Output) -> String {
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Makes a file beside the data of a server.
fn written(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join(name);
    std::fs::write(&path, content).expect("write the file");
    (directory, path)
}

#[test]
fn a_configuration_is_checked_before_a_server_has_it() {
    let (_directory, path) = written("ringbolt.toml", "memory = \"256MiB\"\nlisten = \"127.0.0.1:0\"\n");
    let file = path.to_str().expect("UTF-8");
    let good = ringbolt(&["config", "check", file], &[]);
    assert!(good.status.success() && text(&good).contains("2 keys"), "{}", text(&good));
    for (content, part) in [
        ("memroy = \"1GiB\"\n", "line 1: there is no key memroy; did you mean memory?"),
        ("memory = \"1MiB\"\n", "too little"),
        ("tls-cert = \"/nowhere.crt\"\n", "give each certificate its key"),
        ("tls-cert = \"/nowhere.crt\"\ntls-key = \"/nowhere.key\"\n", "/nowhere"),
        ("proxy-protocol = \"on\"\n", "nobody is trusted"),
        ("log = \"loud=very\"\n", "is not understood"),
        ("cores = \"4000\"\n", "CPU 4000"),
    ] {
        std::fs::write(&path, content).expect("write the file");
        let wrong = ringbolt(&["config", "check", file], &[]);
        assert!(!wrong.status.success() && text(&wrong).contains(part), "{content}: {}", text(&wrong));
        let served = ringbolt(&["serve", "--config", file, "--data", "/proc/nowhere"], &[]);
        assert!(!served.status.success() && text(&served).contains(part), "{content}: {}", text(&served));
    }
    let shown = ringbolt(&["config", "show"], &[("RINGBOLT_REGION", "eu-west-1")]);
    let said = text(&shown);
    let region = said.lines().find(|line| line.starts_with("region = \"eu-west-1\"")).expect("the region");
    assert!(shown.status.success() && region.ends_with("# environment"), "{said}");
    let defaults = text(&ringbolt(&["config", "show", "--defaults"], &[]));
    std::fs::write(&path, &defaults).expect("write the file");
    assert!(ringbolt(&["config", "check", file], &[]).status.success(), "{defaults}");
}

/// Waits until the server's log has said `part` more than `before` times.
async fn wait_for_log(server: &Server, part: &str, before: usize) {
    let end = Instant::now() + PATIENCE;
    while server.log().matches(part).count() <= before {
        assert!(Instant::now() < end, "the log never says {part:?}:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes another configuration and has the server read it.
async fn read_again(server: &Server, path: &Path, content: &str, says: &str) {
    let before = server.log().matches(says).count();
    std::fs::write(path, content).expect("write the file");
    server.hang_up();
    wait_for_log(server, says, before).await;
}

#[tokio::test]
async fn a_server_takes_over_what_can_change_while_it_runs() {
    let (_directory, path) = written("ringbolt.toml", "region = \"us-east-1\"\nslow-request-ms = 1000\n");
    let flags: &'static [&'static str] =
        vec!["--config", path.to_str().expect("UTF-8").to_owned().leak()].leak();
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    let content = Content::new(1, 1000);
    put(&client, "key", content).await.expect("put");

    // One request in flight at most, and one a second, are too few for these: some wait.
    let limited = "region = \"us-east-1\"\nkey-requests = 1\n";
    read_again(&server, &path, limited, "the configuration was read again").await;
    let held = held_back(&server).await;
    let config = aws_sdk_s3::config::retry::RetryConfig::disabled();
    let impatient = aws_sdk_s3::Client::from_conf(client.config().to_builder().retry_config(config).build());
    let mut refused = 0;
    for _ in 0..10 {
        match impatient.get_object().bucket(BUCKET).key("key").send().await {
            Ok(_) => {}
            Err(error) => {
                let answer = error.raw_response().expect("an answer");
                assert_eq!(answer.status().as_u16(), 503);
                assert!(answer.headers().get("retry-after").is_some());
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "ten requests at one a second");
    assert_eq!(held_back(&server).await, held + refused);

    read_again(&server, &path, "region = \"us-east-1\"\n", "the configuration was read again").await;
    for _ in 0..10 {
        assert_eq!(get(&client, "key").await.expect("get"), content.bytes(), "nothing is limited any more");
    }

    // The log's level counts at once.
    assert!(!server.log().contains("DEBUG"), "{}", server.log());
    read_again(
        &server,
        &path,
        "region = \"us-east-1\"\nlog = \"debug\"\n",
        "the configuration was read again",
    )
    .await;
    get(&client, "key").await.expect("get");
    wait_for_log(&server, "DEBUG", 0).await;

    // What needs a restart is said, and what is wrong changes nothing.
    read_again(&server, &path, "region = \"eu-west-1\"\n", "these settings need a restart to count").await;
    assert!(server.log().contains("[\"region\"]"), "{}", server.log());
    read_again(&server, &path, "regoin = \"x\"\n", "did you mean region?").await;
    read_again(&server, &path, "regoin = \"x\"\n", "so the server goes on as it is").await;
    assert_eq!(get(&client, "key").await.expect("get"), content.bytes());
    read_again(&server, &path, "region = \"eu-west-1\"\n", "these settings need a restart to count").await;
}

/// Returns how many requests were held back so far.
async fn held_back(server: &Server) -> u64 {
    let url = format!("{}/ringbolt/metrics", server.admin_endpoint());
    let answer = raw_http::request("GET", &url, b"").await.expect("metrics");
    let metrics = String::from_utf8(answer.body).expect("text");
    let line = metrics.lines().find_map(|line| line.strip_prefix("ringbolt_requests_held_back_total "));
    line.expect("the count").trim().parse().expect("a number")
}

/// The keys come from a file, so that neither the command line nor the environment has them.
#[tokio::test]
async fn the_root_s_keys_may_be_in_a_file() {
    let lines = format!("RINGBOLT_ACCESS_KEY={}\nRINGBOLT_SECRET_KEY={}\n", MAIN.access_key, MAIN.secret_key);
    let (_directory, path) = written("secrets", &lines);
    let file: &'static str = path.to_str().expect("UTF-8").to_owned().leak();
    let flags: &'static [&'static str] = vec!["--secret-file", file].leak();
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    for place in ["environ", "cmdline"] {
        let seen = std::fs::read(format!("/proc/{}/{place}", server.pid())).expect("it can be read");
        assert!(!String::from_utf8_lossy(&seen).contains(MAIN.secret_key), "{place}");
    }
    let admin = server.admin_endpoint();
    let listed = ringbolt(&["bucket", "list", "--admin", &admin, "--secret-file", file], &[]);
    assert!(listed.status.success() && text(&listed).contains(BUCKET), "{}", text(&listed));
    let unsigned = ringbolt(&["bucket", "list", "--admin", &admin], &[]);
    assert!(text(&unsigned).contains("--secret-file"), "{}", text(&unsigned));
}

/// A bucket is charged only for those who may use it, whatever others ask of it.
#[tokio::test]
async fn a_stranger_can_not_use_up_a_bucket() {
    let flags = &["--bucket-requests", "1"];
    let server = Server::start(ServerOptions { flags, ..ServerOptions::default() });
    make_bucket(&server.client(&MAIN)).await;
    let signed = |account| Signer { endpoint: server.endpoint(), account };
    let list = b"<Delete><Object><Key>key</Key></Object></Delete>";
    for _ in 0..10 {
        let get = signed(&OTHER).send("GET", &format!("/{BUCKET}/key"), "", b"").await.expect("an answer");
        let delete =
            signed(&OTHER).send("POST", &format!("/{BUCKET}"), "delete", list).await.expect("an answer");
        assert_eq!((get.status, delete.status == 503), (403, false));
    }
    let own = async || {
        let answer = signed(&MAIN).send("GET", &format!("/{BUCKET}/key"), "", b"").await;
        answer.expect("an answer").status
    };
    let (mut found, mut held) = (0, 0);
    for _ in 0..200 {
        match own().await {
            404 => found += 1,
            503 => held += 1,
            other => panic!("{other}"),
        }
        if found > 0 && held > 0 {
            return;
        }
    }
    panic!("{found} were answered, {held} were held back");
}

#[tokio::test]
async fn readiness_and_life_are_told() {
    let server = Server::start(ServerOptions::default());
    for (path, word) in [("readyz", "ready"), ("livez", "alive")] {
        let url = format!("{}/{path}", server.admin_endpoint());
        let answer = raw_http::request("GET", &url, b"").await.expect("an answer");
        assert_eq!((answer.status, answer.body), (200, format!("{{\"status\":\"{word}\"}}").into_bytes()));
    }
}

/// A server that makes its drive has nothing to read again yet, and does it when it can.
#[test]
fn a_hangup_while_a_drive_is_made_ends_nothing() {
    let data = tempfile::tempdir_in(binary::scratch_dir()).expect("a directory");
    let mut command = Command::new(binary::ringbolt());
    without_settings(&mut command).args(["serve", "--size", "512MiB", "--memory", "256MiB", "--data"]);
    command.arg(data.path()).args(["--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    let mut server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let server = server.as_mut().expect("ringbolt runs");
    let pid = Pid::from_child(server);
    let mut log = BufReader::new(server.stderr.take().expect("its log")).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("Making the drive file")));
    kill_process(pid, Signal::HUP).expect("send SIGHUP");
    // One thread says that it is ready, and another one that it read the configuration.
    let (mut is_ready, mut was_read) = (false, false);
    for line in log {
        is_ready |= line.contains("ready address");
        was_read |= line.contains("SIGHUP: the configuration is as it was");
        if is_ready && was_read {
            break;
        }
    }
    assert!(is_ready && was_read, "ready: {is_ready}, read again: {was_read}");
    // Nobody reads its log any more. It goes on, and ends as ever.
    kill_process(pid, Signal::TERM).expect("send SIGTERM");
    assert!(server.wait().expect("its end").success());
}
