//! This module is an authority that signs certificates by ACME (RFC 8555), for tests: it checks what it is
//! sent as a real one does, looks at the proof by TLS-ALPN-01 (RFC 8737) on a port of this machine, and
//! refuses what is wrong.

use crate::tls_proxy::config;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    PublicKeyData,
};
use ringbolt_bench::engine::s3::Credulous;
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;
use time::OffsetDateTime;
use x509_parser::der_parser::asn1_rs::oid;
use x509_parser::prelude::{FromDer, X509Certificate};

const PROOF_PROTOCOL: &[u8] = b"acme-tls/1";
const TIME_OUT: Duration = Duration::from_secs(20);
/// No test sends a body that is longer, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// This is a running authority. It ends with the process of the test.
pub struct Authority {
    address: SocketAddr,
    directory: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes whoever waits for a port.
    changed: Condvar,
}

/// Says how an authority behaves.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The port where names are looked at. While it is 0, whoever asks for that waits.
    pub port: u16,
    /// How long ago certificates began, and how long they last from now.
    pub life: (Duration, Duration),
    /// Names that are not signed for, whatever is proven.
    pub refused: Vec<String>,
    /// What every answer says of when to ask again.
    pub retry_after: &'static str,
}

struct State {
    behaviour: Behaviour,
    key: KeyPair,
    root: CertificateParams,
    root_pem: String,
    nonces: HashSet<String>,
    /// The coordinates of the public key of each account.
    accounts: Vec<(String, String)>,
    orders: Vec<Order>,
    /// What was wrong with what was sent.
    faults: Vec<String>,
}

struct Order {
    status: &'static str,
    chain: String,
    names: Vec<Name>,
}

struct Name {
    host: String,
    status: &'static str,
    token: String,
    error: Option<String>,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

/// What the protected part of a request says.
struct Signed {
    payload: Value,
    account: Option<usize>,
    key: Option<(String, String)>,
}

type Checked<T> = Result<T, String>;

impl Authority {
    /// Starts an authority.
    pub fn start(behaviour: Behaviour) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let key = KeyPair::generate().expect("a key");
        let mut root = CertificateParams::new(Vec::new()).expect("no names");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_certificate = root.self_signed(&key).expect("a root");
        let root_pem = root_certificate.pem();
        std::fs::write(directory.path().join("root.pem"), &root_pem).expect("write the root");
        let own_key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let own = own.signed_by(&own_key, &Issuer::from_params(&root, &key)).expect("a certificate");
        let config = config(own.der().clone(), PrivateKeyDer::Pkcs8(own_key.serialize_der().into()));
        let state = State {
            behaviour,
            key,
            root,
            root_pem,
            nonces: HashSet::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            faults: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        let all = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, shared) = (config.clone(), all.clone());
                std::thread::spawn(move || drop(serve(stream, config, &shared, address.port())));
            }
        });
        Self { address, directory, shared }
    }

    /// Returns the URL of the directory.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/directory", self.address.port())
    }

    /// Returns the file with the certificate that all others are signed by.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    /// Returns the numbers of accounts, of orders and of certificates so far.
    pub fn counts(&self) -> (usize, usize, usize) {
        let state = lock(&self.shared);
        let signed = state.orders.iter().filter(|order| order.status == "valid").count();
        (state.accounts.iter().filter(|key| !key.0.is_empty()).count(), state.orders.len(), signed)
    }

    /// Returns what was wrong with what was sent.
    pub fn faults(&self) -> Vec<String> {
        lock(&self.shared).faults.clone()
    }

    /// Changes how the authority behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.shared).behaviour);
        self.shared.changed.notify_all();
    }

    /// Forgets all accounts, as an authority for tests does when it is started again.
    pub fn forget_accounts(&self) {
        lock(&self.shared).accounts.iter_mut().for_each(|account| *account = Default::default());
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().expect("no thread of the authority failed")
}

/// Answers one request.
fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    shared: &Arc<Shared>,
    port: u16,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(TIME_OUT))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse::<usize>().map_err(std::io::Error::other)?;
        }
    }
    let mut body = vec![0; length.min(BODY_BYTES_MAX)];
    stream.read_exact(&mut body)?;
    let base = format!("https://localhost:{port}");
    let answer = answer(shared, &base, &method, &path, &body).unwrap_or_else(|fault| {
        lock(shared).faults.push(format!("{method} {path}: {fault}"));
        let kind = format!("urn:ietf:params:acme:error:{}", fault.split(':').next().unwrap_or_default());
        Answer { status: 400, location: None, body: json!({"type": kind, "detail": fault}).to_string() }
    });
    let nonce = new_nonce(shared);
    let retry_after = lock(shared).behaviour.retry_after;
    let location = answer.location.map(|location| format!("Location: {location}\r\n")).unwrap_or_default();
    let text = format!(
        "HTTP/1.1 {} Said\r\nReplay-Nonce: {nonce}\r\nRetry-After: {retry_after}\r\n{location}Connection: close\r\nContent-Length: {}\r\n\r\n",
        answer.status,
        answer.body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(text.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(answer.body.as_bytes())?;
    }
    stream.conn.send_close_notify();
    stream.flush()
}

fn new_nonce(shared: &Shared) -> String {
    let nonce = format!("nonce-{:032x}", fastrand::u128(..));
    lock(shared).nonces.insert(nonce.clone());
    nonce
}

fn answer(shared: &Arc<Shared>, base: &str, method: &str, path: &str, body: &[u8]) -> Checked<Answer> {
    let said = |status, body: Value| Answer { status, location: None, body: body.to_string() };
    match (method, path) {
        ("GET", "/directory") => {
            let urls = json!({
                "newNonce": format!("{base}/nonce"),
                "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"),
            });
            return Ok(said(200, urls));
        }
        ("HEAD", "/nonce") => return Ok(Answer { status: 200, location: None, body: String::new() }),
        ("POST", _) => {}
        _ => return Err("malformed: no such method here".to_owned()),
    }
    let mut guard = lock(shared);
    let signed = verify(&mut guard, base, path, body)?;
    let mut parts = path.trim_start_matches('/').split('/');
    let (what, number) = (parts.next().unwrap_or_default(), parts.next());
    let number = number.map(str::parse::<usize>).transpose().map_err(|error| error.to_string())?;
    let number = number.unwrap_or_default();
    if what == "account" && signed.account.is_some() {
        let contact = signed.payload["contact"].as_array().ok_or("malformed: nothing is changed")?;
        let is_mail = |one: &Value| one.as_str().is_some_and(|one| one.starts_with("mailto:"));
        let is_good = !contact.is_empty() && contact.iter().all(is_mail);
        return if is_good {
            Ok(said(200, json!({"status": "valid"})))
        } else {
            Err("invalidContact: no mail".to_owned())
        };
    }
    if what == "account" {
        let key = signed.key.ok_or("malformed: a new account sends its key")?;
        if signed.payload["termsOfServiceAgreed"] != json!(true) {
            return Err("userActionRequired: the terms are not agreed to".to_owned());
        }
        // Who has an account with this key gets that.
        let known = guard.accounts.iter().position(|known| *known == key);
        let (status, number) = known.map_or((201, guard.accounts.len()), |number| (200, number));
        if known.is_none() {
            guard.accounts.push(key);
        }
        let location = Some(format!("{base}/account/{number}"));
        return Ok(Answer { location, ..said(status, json!({"status": "valid"})) });
    }
    let account = signed.account.ok_or("malformed: only an account may ask that")?;
    match what {
        "order" if signed.payload.is_object() => {
            let number = guard.new_order(&signed.payload)?;
            let location = Some(format!("{base}/order/{number}"));
            Ok(Answer { location, ..said(201, guard.order(base, number)?) })
        }
        "order" => Ok(said(200, guard.order(base, number)?)),
        "name" => Ok(said(200, guard.name(base, number)?)),
        "proof" => {
            let (host, token) = guard.begin_proof(number)?;
            let (x, y) = guard.accounts[account].clone();
            // The server that is looked at may take its time, so that the answer comes before.
            let looking = shared.clone();
            std::thread::spawn(move || {
                let authorization = format!("{token}.{}", thumbprint(&x, &y));
                let seen = port_of(&looking).and_then(|port| look_at(port, &host, &authorization));
                lock(&looking).end_proof(number, seen)
            });
            Ok(said(200, guard.proof(base, number)?))
        }
        "finalize" => {
            guard.sign(number, &signed.payload)?;
            Ok(said(200, guard.order(base, number)?))
        }
        "certificate" => {
            let order = guard.orders.get(number).ok_or("malformed: no such order")?;
            Ok(Answer { status: 200, location: None, body: order.chain.clone() })
        }
        _ => Err("malformed: no such place".to_owned()),
    }
}

/// Checks who signed a request, that it is for this URL, and that it was not sent before.
fn verify(state: &mut State, base: &str, path: &str, body: &[u8]) -> Checked<Signed> {
    let malformed = |what: &str| format!("malformed: {what}");
    let body: Value = serde_json::from_slice(body).map_err(|error| malformed(&error.to_string()))?;
    let text = |name: &str| body[name].as_str().ok_or_else(|| malformed(name));
    let decode =
        |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| malformed(&error.to_string()));
    let (protected, payload) = (text("protected")?, text("payload")?);
    let head: Value =
        serde_json::from_slice(&decode(protected)?).map_err(|error| malformed(&error.to_string()))?;
    if head["url"] != json!(format!("{base}{path}")) || head["alg"] != json!("ES256") {
        return Err(malformed("another url, or another algorithm"));
    }
    if !head["nonce"].as_str().is_some_and(|nonce| state.nonces.remove(nonce)) {
        return Err("badNonce: it was used, or never given".to_owned());
    }
    let coordinate = |name: &str| head["jwk"][name].as_str().map(str::to_owned);
    let key = coordinate("x").zip(coordinate("y"));
    let account = head["kid"].as_str().and_then(|kid| kid.rsplit('/').next()?.parse::<usize>().ok());
    let known = account.and_then(|account| state.accounts.get(account)).filter(|key| !key.0.is_empty());
    let (x, y) = key.as_ref().or(known).ok_or("accountDoesNotExist: there is no such account")?;
    let point = [vec![4], decode(x)?, decode(y)?].concat();
    let message = format!("{protected}.{payload}");
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(message.as_bytes(), &decode(text("signature")?)?)
        .map_err(|_| malformed("the signature is wrong"))?;
    let payload = match payload {
        "" => Value::Null,
        payload => {
            serde_json::from_slice(&decode(payload)?).map_err(|error| malformed(&error.to_string()))?
        }
    };
    Ok(Signed { payload, account, key })
}

fn thumbprint(x: &str, y: &str) -> String {
    let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The number of a name says its order and its place in it.
fn place(number: usize) -> (usize, usize) {
    (number / 100, number % 100)
}

impl State {
    fn new_order(&mut self, payload: &Value) -> Checked<usize> {
        let asked = payload["identifiers"].as_array().ok_or("malformed: no identifiers")?;
        let mut names = Vec::new();
        for one in asked {
            let host = one["value"].as_str().ok_or("malformed: no value")?.to_owned();
            if self.behaviour.refused.contains(&host) {
                return Err(format!("rejectedIdentifier: {host} is not signed for"));
            }
            let token = format!("{:032x}", fastrand::u128(..));
            names.push(Name { host, status: "pending", token, error: None });
        }
        self.orders.push(Order { status: "pending", chain: String::new(), names });
        Ok(self.orders.len() - 1)
    }

    fn order(&self, base: &str, number: usize) -> Checked<Value> {
        let order = self.orders.get(number).ok_or("malformed: no such order")?;
        let names = order.names.iter().enumerate();
        let urls: Vec<String> = names.map(|(at, _)| format!("{base}/name/{}", number * 100 + at)).collect();
        let hosts: Vec<Value> =
            order.names.iter().map(|name| json!({"type": "dns", "value": name.host})).collect();
        let mut said = json!({
            "status": order.status,
            "identifiers": hosts,
            "authorizations": urls,
            "finalize": format!("{base}/finalize/{number}"),
        });
        if order.status == "valid" {
            said["certificate"] = json!(format!("{base}/certificate/{number}"));
        }
        Ok(said)
    }

    fn name_at(&mut self, number: usize) -> Checked<&mut Name> {
        let (order, at) = place(number);
        self.orders
            .get_mut(order)
            .and_then(|order| order.names.get_mut(at))
            .ok_or_else(|| "malformed: no name".to_owned())
    }

    fn name(&mut self, base: &str, number: usize) -> Checked<Value> {
        let proof = self.proof(base, number)?;
        let name = self.name_at(number)?;
        let identifier = json!({"type": "dns", "value": name.host});
        // A name has no state between.
        let status = if name.status == "processing" { "pending" } else { name.status };
        Ok(json!({"status": status, "identifier": identifier, "challenges": [proof]}))
    }

    fn proof(&mut self, base: &str, number: usize) -> Checked<Value> {
        let name = self.name_at(number)?;
        let url = format!("{base}/proof/{number}");
        let mut said = json!({"type": "tls-alpn-01", "url": url, "token": name.token, "status": name.status});
        if let Some(error) = &name.error {
            said["error"] = json!({"type": "urn:ietf:params:acme:error:unauthorized", "detail": error});
        }
        Ok(said)
    }

    fn begin_proof(&mut self, number: usize) -> Checked<(String, String)> {
        let name = self.name_at(number)?;
        name.status = "processing";
        Ok((name.host.clone(), name.token.clone()))
    }

    fn end_proof(&mut self, number: usize, seen: Checked<()>) -> Checked<()> {
        let name = self.name_at(number)?;
        name.status = if seen.is_ok() { "valid" } else { "invalid" };
        name.error = seen.err();
        let (at, _) = place(number);
        let order = &mut self.orders[at];
        if order.names.iter().all(|name| name.status == "valid") {
            order.status = "ready";
        } else if order.names.iter().any(|name| name.status == "invalid") {
            order.status = "invalid";
        }
        Ok(())
    }

    fn sign(&mut self, number: usize, payload: &Value) -> Checked<()> {
        let order = self.orders.get_mut(number).ok_or("malformed: no such order")?;
        if order.status != "ready" {
            return Err(format!("orderNotReady: it is {}", order.status));
        }
        let request = payload["csr"].as_str().ok_or("badCSR: there is none")?;
        let request = BASE64_URL_SAFE_NO_PAD.decode(request).map_err(|error| format!("badCSR: {error}"))?;
        let mut request =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
                .map_err(|error| format!("badCSR: {error}"))?;
        let hosts: Vec<String> = order.names.iter().map(|name| name.host.clone()).collect();
        let wanted = CertificateParams::new(hosts).map_err(|error| error.to_string())?.subject_alt_names;
        if request.params.subject_alt_names != wanted {
            return Err("badCSR: it is for other names than the order".to_owned());
        }
        if request.public_key.der_bytes().is_empty() {
            return Err("badCSR: it has no key".to_owned());
        }
        let (ago, left) = self.behaviour.life;
        request.params.not_before = OffsetDateTime::now_utc() - ago;
        request.params.not_after = OffsetDateTime::now_utc() + left;
        let issuer = Issuer::from_params(&self.root, &self.key);
        let certificate = request.signed_by(&issuer).map_err(|error| error.to_string())?;
        order.chain = format!("{}{}", certificate.pem(), self.root_pem);
        order.status = "valid";
        Ok(())
    }
}

/// Returns where names are looked at, once that is known.
fn port_of(shared: &Shared) -> Checked<u16> {
    let waits = |state: &mut State| state.behaviour.port == 0;
    let (state, _) = shared
        .changed
        .wait_timeout_while(lock(shared), TIME_OUT, waits)
        .map_err(|error| error.to_string())?;
    match state.behaviour.port {
        0 => Err("serverInternal: nobody said where to look".to_owned()),
        port => Ok(port),
    }
}

/// Looks whether the server on `port` shows the proof of `host`.
fn look_at(port: u16, host: &str, authorization: &str) -> Checked<()> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| said(&error))?;
    // Whoever looks at a proof does not ask who signed it.
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous::default()));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![PROOF_PROTOCOL.to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(|error| said(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| said(&error))?;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| said(&error))?;
    stream.set_read_timeout(Some(TIME_OUT)).map_err(|error| said(&error))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| said(&error))?;
    }
    if connection.alpn_protocol() != Some(PROOF_PROTOCOL) {
        return Err("the server speaks no protocol of proofs".to_owned());
    }
    let shown = connection.peer_certificates().and_then(|chain| chain.first()).ok_or("no certificate")?;
    let (_, shown) = X509Certificate::from_der(shown).map_err(|error| said(&error))?;
    let names = shown.subject_alternative_name().map_err(|error| said(&error))?.ok_or("no names")?;
    let names: Vec<String> = names.value.general_names.iter().map(|name| format!("{name}")).collect();
    if names.len() != 1 || !names[0].contains(host) {
        return Err(format!("the proof is for {names:?}"));
    }
    let wanted = digest(&SHA256, authorization.as_bytes());
    let found = shown.extensions().iter().find(|one| one.oid == oid!(1.3.6.1.5.5.7.1.31));
    let found = found.ok_or("the certificate has no proof in it")?;
    // An octet string of 32 bytes.
    let is_right = found.critical && found.value.strip_prefix(&[4, 32]) == Some(wanted.as_ref());
    if is_right { Ok(()) } else { Err("the proof is another".to_owned()) }
}
