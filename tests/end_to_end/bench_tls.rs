//! These tests run the S3 engine of the bench tool through TLS: a proxy with a certificate of its
//! own is in front of a server.

use crate::bench::{OBJECTS, all, alone, job};
use ringbolt_bench::engine::objects::ObjectSet;
use ringbolt_bench::engine::s3::S3Engine;
use ringbolt_bench::engine::{Clock, IoEngine, Operation, Verb};
use ringbolt_bench::spec::{BlockSize, ByDirection, Engine, Https, Job, ObjectOp, Objects};
use ringbolt_tests::binary::{ringbolt, scratch_dir};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::tls_proxy::TlsProxy;
use ringbolt_tests::{Server, ServerOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

/// Events that come at once must come within this time.
const PATIENCE: Duration = Duration::from_secs(20);

fn backend(server: &Server) -> SocketAddr {
    server.endpoint().trim_start_matches("http://").parse().expect("an address")
}

#[test]
fn every_operation_goes_through_tls() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let proxy = TlsProxy::start(backend(&server), &["127.0.0.1"]);
    // The sizes are more than one record, more than what is sent in one piece, and more than one
    // part.
    for (length, count) in [(4096, OBJECTS), (100_000, 10), (9 << 20, 2)] {
        let mut job = job(&server, length, 2);
        (job.objects.host, job.objects.https) = (proxy.address().to_string(), Https::Insecure);
        job.objects.objects = count;
        let mut engine = S3Engine::new(&job, 0, Clock::start()).expect("an engine");
        engine.prepare(&mut |_| ()).expect("bucket and objects");
        let whole = vec![length as i64; count as usize];
        let mut expected = vec![0; length as usize];
        for number in 0..count {
            let mut done = Vec::new();
            engine.submit(0, &Operation { verb: Verb::Read, file: 0, offset: 0, length, number });
            engine.reap(1, None, &mut done).expect("reap");
            assert_eq!(done[0].result, length as i64, "{:?}", engine.notes());
            ObjectSet::fill(number, &mut expected);
            assert!(engine.buffer(0)[..length as usize] == expected, "object {number} is another");
        }
        for verb in [Verb::Write, Verb::Copy, Verb::Multipart, Verb::Read] {
            assert_eq!(all(&mut engine, verb, length, count), whole, "{verb:?} {:?}", engine.notes());
        }
        assert_eq!(all(&mut engine, Verb::Head, length, count), vec![0; count as usize]);
        assert!(all(&mut engine, Verb::List, length, 1)[0] > 100 * count as i64);
        assert_eq!(all(&mut engine, Verb::Trim, length, count), whole);
        assert_eq!(all(&mut engine, Verb::Read, length, 1), [-2]);
        engine.finish().expect("finish");
        for connection in 0..2 {
            proxy
                .farewells
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("connection {connection} broke off"));
        }
    }
}

/// Returns the exit status and the output of a short run against the proxy.
fn run(proxy: &TlsProxy, https: &str, trusted: Option<&str>) -> (i32, String) {
    let directory = tempfile::tempdir_in(scratch_dir()).expect("a directory");
    let host = format!("--http_host={}", proxy.address());
    let https = format!("--https={https}");
    let mut command = Command::new(ringbolt());
    command.args([
        "bench",
        "--name=tls",
        "--ioengine=s3",
        &host,
        &https,
        "--op=get",
        "--objects=20",
        "--bs=4k",
    ]);
    command.arg("--eta=never").current_dir(directory.path());
    command.env("RINGBOLT_ACCESS_KEY", MAIN.access_key).env("RINGBOLT_SECRET_KEY", MAIN.secret_key);
    command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
    if let Some(pem) = trusted {
        let path = directory.path().join("trusted.pem");
        std::fs::write(&path, pem).expect("certificates");
        command.env("SSL_CERT_FILE", path);
    }
    let output = command.output().expect("bench");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a status"), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_certificate_is_checked_unless_it_is_not_to_be() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let proxy = TlsProxy::start(backend(&server), &["127.0.0.1"]);
    let stranger = TlsProxy::start(backend(&server), &["elsewhere.example"]);
    let trusted = Some(proxy.authority_pem());
    for (https, trusted) in [("insecure", None), ("insecure", trusted), ("on", trusted)] {
        let (status, said) = run(&proxy, https, trusted);
        assert!(status == 0 && said.contains("issued rwts: total=20,0,0,0"), "{https}: {said}");
    }
    let (status, said) = run(&proxy, "on", Some(stranger.authority_pem()));
    assert!(status == 1 && said.contains("not trusted") && said.contains("https=insecure"), "{said}");
    assert!(said.contains("SSL_CERT_FILE"), "{said}");
    let (status, said) = run(&stranger, "on", Some(stranger.authority_pem()));
    assert!(status == 1 && said.contains("elsewhere.example") && said.contains("http_host="), "{said}");
}

/// Returns a job of PUTs against a server behind a proxy; `answer` handles each connection.
fn puts(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> (TlsProxy, S3Engine) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = TlsProxy::start(listener.local_addr().expect("its address"), &["127.0.0.1"]);
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    let objects = Objects {
        host: proxy.address().to_string(),
        https: Https::Insecure,
        access_key: "key".into(),
        secret_key: "secret".into(),
        ops: Some(vec![(ObjectOp::Put, 1)]),
        objects: 16,
        ..Objects::default()
    };
    let block = ByDirection::same(BlockSize::Fixed(4096));
    let job = Job { block, objects, depth: 2, ..Job::plain("test", Engine::S3) };
    let engine = S3Engine::new(&job, 0, Clock::start()).expect("an engine");
    (proxy, engine)
}

#[test]
fn a_tls_connection_that_was_closed_is_made_again() {
    let _alone = alone();
    let (_proxy, mut engine) = puts(|mut stream| {
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("\r\n\r\n") {
            let mut piece = [0; 1 << 10];
            match stream.read(&mut piece) {
                Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("answer");
    });
    assert_eq!(all(&mut engine, Verb::Trim, 4096, 5), [4096; 5], "{:?}", engine.notes());
}

#[test]
fn an_engine_goes_away_with_operations_in_flight_over_tls() {
    let _alone = alone();
    let (held, streams) = std::sync::mpsc::channel();
    let (_proxy, mut engine) = puts(move |stream| held.send(stream).expect("hold the connection"));
    engine.submit(1, &Operation { verb: Verb::Trim, file: 0, offset: 0, length: 4096, number: 1 });
    engine.reap(0, None, &mut Vec::new()).expect("reap");
    drop(engine);
    assert!(streams.recv_timeout(PATIENCE).is_ok());
}
