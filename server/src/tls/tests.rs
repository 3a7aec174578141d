use super::testing::client;
use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConnection};
use std::path::Path;

fn pair(directory: &Path, name: &str, hosts: &[&str]) -> CertificateFiles {
    let key = KeyPair::generate().unwrap();
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let certificate = CertificateParams::new(hosts).unwrap().self_signed(&key).unwrap();
    let files = CertificateFiles {
        chain: directory.join(format!("{name}.crt")),
        key: directory.join(format!("{name}.key")),
    };
    std::fs::write(&files.chain, certificate.pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

fn of_files(files: Vec<CertificateFiles>) -> TlsOptions {
    TlsOptions { source: CertificateSource::Files(files), clients: None }
}

fn trusting(chains: &[&Path]) -> ClientConfig {
    client(chains, rustls::DEFAULT_VERSIONS).with_no_client_auth()
}

/// Lets a client and a server speak until both are done, and returns the first certificate that the client
/// saw. The error is the client's or the server's.
fn shake(
    client: &Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    host: &str,
) -> Result<(Vec<u8>, rustls::HandshakeKind), rustls::Error> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let (mut client, mut server) =
        (ClientConnection::new(client.clone(), name).unwrap(), ServerConnection::new(server).unwrap());
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let kind = client.handshake_kind().unwrap();
    Ok((client.peer_certificates().unwrap()[0].to_vec(), kind))
}

fn der(files: &CertificateFiles) -> Vec<u8> {
    CertificateDer::from_pem_file(&files.chain).unwrap().to_vec()
}

#[test]
fn each_name_gets_its_certificate_and_all_others_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let first = pair(directory.path(), "first", &["first.example", "127.0.0.1"]);
    let wild = pair(directory.path(), "wild", &["*.s3.example", "s3.example"]);
    let exact = pair(directory.path(), "exact", &["a.s3.example"]);
    let tls = Tls::load(of_files(vec![first.clone(), wild.clone(), exact.clone()])).unwrap();
    let core = CoreTls::new(tls.clone());
    let client = Arc::new(trusting(&[&first.chain, &wild.chain, &exact.chain]));
    for (host, expected) in [
        ("first.example", &first),
        ("127.0.0.1", &first),
        ("s3.example", &wild),
        ("b.s3.example", &wild),
        ("B.S3.EXAMPLE", &wild),
        ("a.s3.example", &exact),
    ] {
        assert_eq!(shake(&client, core.config(), host).unwrap().0, der(expected), "{host}");
    }
    for host in ["other.example", "b.c.s3.example"] {
        let error = shake(&client, core.config(), host).unwrap_err();
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{host}: {error}");
    }
    let hosts: Vec<Vec<String>> = tls.certificates().into_iter().map(|info| info.hosts).collect();
    assert_eq!(hosts[0], ["first.example", "127.0.0.1"]);
    assert_eq!(hosts[1], ["*.s3.example", "s3.example"]);
}

#[test]
fn a_reload_reaches_every_core_and_one_that_fails_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let old = pair(directory.path(), "s", &["localhost"]);
    let old_der = der(&old);
    let tls = Tls::load(of_files(vec![old.clone()])).unwrap();
    let cores = [CoreTls::new(tls.clone()), CoreTls::new(tls.clone())];
    let before = Arc::new(trusting(&[&old.chain]));
    assert_eq!(shake(&before, cores[0].config(), "localhost").unwrap().0, old_der);
    let new = pair(directory.path(), "s", &["localhost", "new.example"]);
    let after = Arc::new(trusting(&[&new.chain]));
    assert_eq!(shake(&before, cores[1].config(), "localhost").unwrap().0, old_der, "nobody said so");
    tls.reload().unwrap();
    for core in &cores {
        assert_eq!(shake(&after, core.config(), "new.example").unwrap().0, der(&new));
    }
    // A key of another certificate, as when only one of two files was replaced.
    let other = pair(directory.path(), "other", &["localhost"]);
    std::fs::copy(&other.key, &new.key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsSetupError::Pair(PairError::NoPair { .. }))));
    assert_eq!(shake(&after, cores[0].config(), "new.example").unwrap().0, der(&new));
}

#[test]
fn sessions_are_resumed_on_every_core_and_after_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let files = pair(directory.path(), "s", &["localhost"]);
    let tls = Tls::load(of_files(vec![files.clone()])).unwrap();
    let (one, other) = (CoreTls::new(tls.clone()), CoreTls::new(tls.clone()));
    let client = Arc::new(trusting(&[&files.chain]));
    let kind = |core: &CoreTls| shake(&client, core.config(), "localhost").unwrap().1;
    assert_eq!(kind(&one), rustls::HandshakeKind::Full);
    assert_eq!(kind(&other), rustls::HandshakeKind::Resumed);
    tls.reload().unwrap();
    assert_eq!(kind(&one), rustls::HandshakeKind::Resumed);
}

#[test]
fn certificates_of_clients_are_asked_for_with_each_connection() {
    let directory = tempfile::tempdir().unwrap();
    let files = pair(directory.path(), "s", &["localhost"]);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authorities = directory.path().join("ca.crt");
    std::fs::write(&authorities, authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let stranger_key = KeyPair::generate().unwrap();
    let stranger =
        CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&stranger_key).unwrap();
    let with = |der: CertificateDer<'static>, key: &KeyPair| {
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let builder = client(&[&files.chain], rustls::DEFAULT_VERSIONS);
        Arc::new(builder.with_client_auth_cert(vec![der], key).unwrap())
    };
    let known = with(certificate.der().clone(), &key);
    let unknown = with(stranger.der().clone(), &stranger_key);
    let without = Arc::new(trusting(&[&files.chain]));
    for required in [true, false] {
        let clients = Some(ClientCertificates { authorities: authorities.clone(), required });
        let options = TlsOptions { clients, ..of_files(vec![files.clone()]) };
        let tls = Tls::load(options).unwrap();
        let core = CoreTls::new(tls);
        let try_with = |client: &Arc<ClientConfig>| shake(client, core.config(), "localhost");
        for _ in 0..2 {
            assert_eq!(try_with(&known).unwrap().1, rustls::HandshakeKind::Full, "nothing is resumed");
        }
        assert!(try_with(&unknown).is_err());
        assert_eq!(try_with(&without).is_ok(), !required);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let good = pair(directory.path(), "good", &["localhost"]);
    let other = pair(directory.path(), "other", &["localhost"]);
    let put = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let empty = put("empty", "");
    let broken = put("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let sealed =
        put("sealed", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    for (chain, key, expected) in [
        (&directory.path().join("none"), &good.key, "can not read"),
        (&empty, &good.key, "no certificate is in"),
        (&good.key, &good.key, "no certificate is in"),
        (&broken, &good.key, "can not be read"),
        (&good.chain, &empty, "no private key is in"),
        (&good.chain, &good.chain, "no private key is in"),
        (&good.chain, &sealed, "is encrypted; decrypt it"),
        (&good.chain, &other.key, "does not belong"),
    ] {
        let files = CertificateFiles { chain: chain.clone(), key: key.clone() };
        let error = Tls::load(of_files(vec![files])).err().unwrap().to_string();
        assert!(error.contains(expected), "{error} has no {expected:?}");
    }
    for (authorities, expected) in [(empty, "no certificate is in it"), (broken, "no authority's")] {
        let clients = Some(ClientCertificates { authorities, required: true });
        let error =
            Tls::load(TlsOptions { clients, ..of_files(vec![good.clone()]) }).err().unwrap().to_string();
        assert!(error.contains(expected), "{error} has no {expected:?}");
    }
}

#[test]
fn a_certificate_that_signs_itself_is_kept_and_made_anew_for_other_hosts() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let of = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let source = CertificateSource::SelfSigned { directory: directory.path().to_owned(), hosts };
        Tls::load(TlsOptions { source, clients: None }).unwrap()
    };
    let chain = directory.path().join("tls-self-signed.crt");
    let first = of(&["localhost", "127.0.0.1", "::1"]);
    assert_eq!(first.certificates()[0].hosts, ["localhost", "127.0.0.1", "::1"]);
    let key = directory.path().join("tls-self-signed.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let client = Arc::new(trusting(&[&chain]));
    let again = of(&["localhost", "127.0.0.1", "::1"]);
    for host in ["localhost", "127.0.0.1", "::1"] {
        assert!(shake(&client, CoreTls::new(again.clone()).config(), host).is_ok(), "{host}");
    }
    let other = of(&["localhost", "example.com"]);
    assert!(shake(&client, CoreTls::new(other).config(), "localhost").is_err(), "it is another one");
    // A start that ended between the two files left no pair.
    std::fs::remove_file(&key).unwrap();
    let mended = of(&["localhost", "example.com"]);
    let client = Arc::new(trusting(&[&chain]));
    assert!(shake(&client, CoreTls::new(mended).config(), "example.com").is_ok());
    // One that is damaged, and what a start left that ended while it wrote: with a mode for everybody.
    std::fs::write(&key, "damaged").unwrap();
    let left = directory.path().join("tls-self-signed.key.unfinished");
    std::fs::write(&left, "").unwrap();
    std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mended = of(&["localhost", "example.com"]);
    let client = Arc::new(trusting(&[&chain]));
    assert!(shake(&client, CoreTls::new(mended).config(), "example.com").is_ok());
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_proof_is_shown_to_whoever_asks_for_proofs_alone_while_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let files = pair(directory.path(), "s", &["s3.example", "other.example"]);
    let tls = Tls::load(of_files(vec![files.clone()])).unwrap();
    let core = CoreTls::new(tls.clone());
    let speaking = |protocols: &[&[u8]]| {
        let mut config = trusting(&[&files.chain]);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    };
    let authority = speaking(&[PROOF_PROTOCOL]);
    let try_with = |client: &Arc<ClientConfig>, host: &str| shake(client, core.config(), host);
    // What a client does not trust it has seen.
    let sees = |host: &str| match try_with(&authority, host).unwrap_err() {
        rustls::Error::InvalidCertificate(_) => true,
        rustls::Error::General(_) | rustls::Error::NoApplicationProtocol => false,
        other => panic!("{other}"),
    };
    assert!(!sees("s3.example"));
    tls.set_proofs(vec![Proof::new("s3.example", &[7; 32]).unwrap()]).unwrap();
    assert!(sees("s3.example"));
    assert!(!sees("other.example"));
    for client in [speaking(&[]), speaking(&[b"http/1.1"]), speaking(&[b"http/1.1", PROOF_PROTOCOL])] {
        assert_eq!(try_with(&client, "s3.example").unwrap().0, der(&files));
    }
    tls.set_proofs(Vec::new()).unwrap();
    assert!(!sees("s3.example"));
    assert_eq!(try_with(&speaking(&[]), "s3.example").unwrap().0, der(&files));
}

#[test]
fn an_ordered_certificate_counts_if_it_is_whole_and_for_these_names() {
    let directory = tempfile::tempdir().unwrap();
    let load = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let source = CertificateSource::Ordered { directory: directory.path().to_owned(), hosts };
        Tls::load(TlsOptions { source, clients: None }).unwrap().certificates()[0].path.clone()
    };
    let own = directory.path().join("tls-self-signed.crt");
    assert_eq!(load(&["a.example"]), own, "none is there");
    let signed = pair(directory.path(), "signed", &["a.example", "b.example"]);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    ordered::write(directory.path(), &text(&signed.chain), &text(&signed.key)).unwrap();
    let path = ordered::path_in(directory.path());
    assert_eq!(load(&["b.example", "A.example"]), path);
    assert_eq!(load(&["a.example"]), own, "it is for more names");
    assert_eq!(load(&["a.example", "b.example", "c.example"]), own, "it is for fewer names");
    std::fs::write(&path, "damaged").unwrap();
    assert_eq!(load(&["a.example", "b.example"]), own, "a start goes on");
}

#[test]
fn a_certificate_in_use_is_not_replaced_by_one_that_nobody_trusts() {
    let directory = tempfile::tempdir().unwrap();
    let signed = pair(directory.path(), "signed", &["a.example"]);
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    ordered::write(directory.path(), &text(&signed.chain), &text(&signed.key)).unwrap();
    let source = CertificateSource::Ordered {
        directory: directory.path().to_owned(),
        hosts: vec!["a.example".to_owned()],
    };
    let tls = Tls::load(TlsOptions { source, clients: None }).unwrap();
    let core = CoreTls::new(tls.clone());
    let client = Arc::new(trusting(&[&signed.chain]));
    let path = ordered::path_in(directory.path());
    std::fs::write(&path, "damaged").unwrap();
    assert!(tls.reload().is_err());
    assert_eq!(shake(&client, core.config(), "a.example").unwrap().0, der(&signed));
    std::fs::remove_file(&path).unwrap();
    tls.reload().unwrap();
    assert_eq!(shake(&client, core.config(), "a.example").unwrap().0, der(&signed));
}

#[test]
fn a_signed_certificate_is_looked_at_before_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = ["a.example".to_owned()];
    let (one, other) =
        (pair(directory.path(), "one", &["a.example"]), pair(directory.path(), "other", &["b.example"]));
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let check = |chain: &Path, key: &Path| ordered::check(directory.path(), &text(chain), &text(key), &hosts);
    assert_eq!(check(&one.chain, &one.key), Ok(()));
    let error = check(&one.chain, &other.key).unwrap_err();
    assert!(error.contains("does not belong"), "{error}");
    let error = check(&other.chain, &other.key).unwrap_err();
    assert!(error.contains("b.example"), "{error}");
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(hosts.to_vec()).unwrap();
    params.not_after = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    let ended = params.self_signed(&key).unwrap().pem();
    let error = ordered::check(directory.path(), &ended, &key.serialize_pem(), &hosts).unwrap_err();
    assert!(error.contains("not valid today"), "{error}");
}

#[test]
fn a_certificate_is_due_when_a_third_of_its_life_is_left() {
    let hosts = Vec::new();
    let certificate = CertificateInfo { path: PathBuf::new(), hosts, begins_s: 1000, ends_s: 1900 };
    assert_eq!(ordered::renewal_s(&certificate), 1600);
}
