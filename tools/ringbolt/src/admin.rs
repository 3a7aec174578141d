//! The client of a server's admin listeners, for the commands that operators give to a server that runs.
//!
//! Invariants:
//! - Over TCP every request is signed with the root key. The socket in the data directory needs none, because only the
//!   server's user and root reach it.
//! - A request is never repeated, and each has a connection of its own.

use crate::tls;
use ringbolt_server::auth::{AccountError, RootCredentials};
use ringbolt_tool_common::s3::answer::Answer;
use ringbolt_tool_common::s3::sign::{Canonical, Credentials, authorization, sha256_hex, timestamp_now};
use rustls::ClientConfig;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The name of the socket in the data directory.
const SOCKET: &str = "admin.sock";
/// The longest path that a socket's address holds, in bytes.
const PATH_BYTES_MAX: usize = 107;
/// The header that makes a signed request a command.
const MARK: &str = "x-amz-ringbolt-command";
/// How long an answer may take: one step of emptying a bucket waits for a thousand removals.
const ANSWER_TIME: Duration = Duration::from_secs(300);

/// The reason why a server did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(
        "no server answers at {}: {source}; start one with `ringbolt serve --data {}`, or say where it is: --data has \
         its data directory, --admin its admin address",
        path.display(),
        data.display()
    )]
    NoServer { path: PathBuf, data: PathBuf, source: io::Error },
    #[error(
        "--admin-ca says whom to trust over HTTPS, and {url} is plain HTTP; write https:// or leave it out"
    )]
    PlainWithAuthorities { url: String },
    #[error("{} is another user's: run this as the user that the server runs as, or as root", path.display())]
    NotAllowed { path: PathBuf },
    #[error(
        "no server answers at {authority}: {source}; --admin has the address that `ringbolt serve` prints"
    )]
    NoAddress { authority: String, source: io::Error },
    #[error("can not speak TLS with {authority}: {problem}")]
    Tls { authority: String, problem: String },
    #[error("--admin {url:?} is no address of a server; write for example http://127.0.0.1:9001")]
    Url { url: String },
    #[error(
        "--admin needs the root key: name a file with --secret-file, or set RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY"
    )]
    NoKeys,
    #[error(transparent)]
    Keys(#[from] AccountError),
    #[error(
        "the server's answer did not come: {0}; see its log, and look whether the command was carried out"
    )]
    NoAnswer(io::Error),
    #[error("the server answered {status} with something else than JSON: is it a Ringbolt of this version?")]
    Foreign { status: u16 },
    #[error("{error}; {what_to_do}")]
    Refused { error: String, what_to_do: String },
}

/// Where the server is.
enum Place {
    /// The data directory.
    Socket(PathBuf),
    Address {
        authority: String,
        /// How certificates are checked. None: the address speaks plain HTTP.
        tls: Option<Arc<ClientConfig>>,
        credentials: Credentials,
    },
}

/// Asks one server.
pub struct Client(Place);

impl Client {
    /// Makes the client of the server whose data directory is `data`, or, if `admin` is given, of the one at that
    /// address, whose certificate is checked by `authorities` if it speaks TLS, or by what the system trusts. The root
    /// key for it is in `secret_file`, or in the environment.
    ///
    /// # Errors
    /// Fails when the address is none, when there are no such authorities, or when there is no root key for it.
    pub fn new(
        data: &Path,
        admin: Option<&str>,
        authorities: Option<&Path>,
        secret_file: Option<&Path>,
        region: &str,
    ) -> Result<Self, AdminError> {
        let Some(url) = admin else { return Ok(Self(Place::Socket(data.to_owned()))) };
        let (authority, is_secure) =
            authority_of(url).ok_or_else(|| AdminError::Url { url: url.to_owned() })?;
        if !is_secure && authorities.is_some() {
            return Err(AdminError::PlainWithAuthorities { url: url.to_owned() });
        }
        let refused = |problem| AdminError::Tls { authority: authority.clone(), problem };
        let tls = is_secure.then(|| tls::trusting(authorities)).transpose().map_err(refused)?;
        let root = RootCredentials::find(secret_file)?.ok_or(AdminError::NoKeys)?;
        let credentials = Credentials {
            access_key: root.access_key,
            secret_key: root.secret_key.to_string(),
            region: region.to_owned(),
        };
        Ok(Self(Place::Address { authority, tls, credentials }))
    }

    /// Asks for `path` below `/ringbolt/v1/`, with a JSON body if there is one, and returns the JSON of the answer.
    ///
    /// # Errors
    /// Fails when no server answers, or with what the server says is wrong.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, AdminError> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let path = format!("/ringbolt/v1/{path}");
        let answer = match &self.0 {
            Place::Socket(data) => {
                let stream = connect(data)?;
                let head = head(method, &path, &[("host".to_owned(), "localhost".to_owned())], body.len());
                exchange(stream, &head, &body)
            }
            Place::Address { authority, tls, credentials } => {
                let refused = |source| AdminError::NoAddress { authority: authority.clone(), source };
                let stream = TcpStream::connect(authority).map_err(refused)?;
                stream.set_read_timeout(Some(ANSWER_TIME)).map_err(AdminError::NoAnswer)?;
                let headers = signed(method, &path, authority, credentials, &body);
                let head = head(method, &path, &headers, body.len());
                match tls {
                    None => exchange(stream, &head, &body),
                    Some(config) => {
                        let refused = |problem| AdminError::Tls { authority: authority.clone(), problem };
                        exchange(tls::shake_hands(stream, config, authority).map_err(refused)?, &head, &body)
                    }
                }
            }
        };
        understood(&answer.map_err(AdminError::NoAnswer)?)
    }
}

/// Returns host and port of a URL without a path, and whether it begins with `https://`.
fn authority_of(url: &str) -> Option<(String, bool)> {
    let secure = url.strip_prefix("https://");
    let authority = secure.or_else(|| url.strip_prefix("http://")).unwrap_or(url);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':')?;
    let good = !host.is_empty() && !authority.contains(['/', '@', '?', ' ']) && port.parse::<u16>().is_ok();
    good.then(|| (authority.to_owned(), secure.is_some()))
}

fn connect(data: &Path) -> Result<UnixStream, AdminError> {
    let path = data.join(SOCKET);
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => AdminError::NotAllowed { path: path.clone() },
        _ => AdminError::NoServer { path: path.clone(), data: data.to_owned(), source },
    };
    let stream = if path.as_os_str().len() <= PATH_BYTES_MAX {
        UnixStream::connect(&path)
    } else {
        // The kernel refuses long paths, which go by way of the open directory.
        File::open(data).and_then(|directory| {
            let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
            UnixStream::connect(short.join(SOCKET))
        })
    };
    let stream = stream.map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_TIME)).map_err(AdminError::NoAnswer)?;
    Ok(stream)
}

fn signed(
    method: &str,
    path: &str,
    authority: &str,
    credentials: &Credentials,
    body: &str,
) -> Vec<(String, String)> {
    let (payload, timestamp) = (sha256_hex(body.as_bytes()), timestamp_now());
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![
        header("host", authority),
        header("x-amz-content-sha256", &payload),
        header("x-amz-date", &timestamp),
        header(MARK, "1"),
    ];
    let mut canonical = Canonical { method, path, headers, payload: &payload, timestamp: &timestamp };
    let signature = authorization(credentials, &canonical);
    canonical.headers.push(header("authorization", &signature));
    canonical.headers
}

fn head(method: &str, path: &str, headers: &[(String, String)], length: usize) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + &format!("content-length: {length}\r\nconnection: close\r\n\r\n")
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &str) -> io::Result<Answer> {
    // A server that refuses early may close before it has read everything. Its answer counts nevertheless.
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let mut received = Vec::new();
    let read = stream.read_to_end(&mut received);
    match Answer::parse(&mut received).map_err(io::Error::other)? {
        Some(answer) => Ok(answer),
        None => Err(sent.and(read.map(|_| ())).err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn understood(answer: &Answer) -> Result<Value, AdminError> {
    let foreign = || AdminError::Foreign { status: answer.status };
    let value: Value = serde_json::from_slice(&answer.body).map_err(|_| foreign())?;
    if answer.is_success() {
        return Ok(value);
    }
    let text = |name: &str| value[name].as_str().map(str::to_owned).ok_or_else(foreign);
    Err(AdminError::Refused { error: text("error")?, what_to_do: text("what_to_do")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_a_port() {
        for (url, authority) in [
            ("http://127.0.0.1:9001", Some("127.0.0.1:9001")),
            ("http://127.0.0.1:9001/", Some("127.0.0.1:9001")),
            ("node-1:9001", Some("node-1:9001")),
            ("http://[::1]:9001", Some("[::1]:9001")),
            ("https://node-1", None),
            ("http://node-1", None),
            ("http://node-1:9001/ringbolt", None),
            ("http://:9001", None),
            ("", None),
        ] {
            assert_eq!(authority_of(url), authority.map(|authority| (authority.to_owned(), false)), "{url}");
        }
        assert_eq!(authority_of("https://node-1:9001/"), Some(("node-1:9001".to_owned(), true)));
    }

    #[test]
    fn whom_to_trust_is_said_of_https_alone() {
        let ask = |url| Client::new(Path::new("data"), Some(url), Some(Path::new("ca.pem")), None, "r").err();
        let error = ask("http://node-1:9001").expect("refused").to_string();
        assert!(error.contains("plain HTTP"), "{error}");
        let error = ask("https://node-1:9001").expect("there is no such file").to_string();
        assert!(error.contains("ca.pem"), "{error}");
    }

    #[test]
    fn what_a_server_refuses_says_what_to_do() {
        let answer = |status, body: &str| Answer { status, head: String::new(), body: body.into() };
        let refused =
            understood(&answer(404, r#"{"error": "no bucket", "what_to_do": "look"}"#)).unwrap_err();
        assert_eq!(refused.to_string(), "no bucket; look");
        let foreign = understood(&answer(200, "<html>")).unwrap_err().to_string();
        assert!(foreign.contains("200"), "{foreign}");
        assert_eq!(understood(&answer(200, "{}")).unwrap(), serde_json::json!({}));
    }

    #[test]
    fn a_data_directory_without_a_server_says_what_to_do() {
        let client = Client::new(Path::new("nowhere"), None, None, None, "us-east-1").unwrap();
        let error = client.ask("GET", "buckets", None).unwrap_err().to_string();
        assert!(
            error.contains("nowhere/admin.sock") && error.contains("ringbolt serve --data nowhere"),
            "{error}"
        );
    }
}
