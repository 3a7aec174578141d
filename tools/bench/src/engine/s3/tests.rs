use super::*;
use crate::engine::Verb;
use crate::engine::testing::{BLOCK, job, operation};
use crate::spec::{ClientWait, Https};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// Starts a server that answers every request with the next of `answers`, in a cycle; it closes the
/// connection where an answer is `None`.
fn server(answers: Vec<Option<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let next = std::sync::Arc::new(std::sync::Mutex::new(0));
        for stream in listener.incoming().map_while(Result::ok) {
            let (answers, next) = (answers.clone(), next.clone());
            std::thread::spawn(move || {
                let mut stream = stream;
                while read_request(&mut stream).is_some() {
                    let mut next = next.lock().unwrap();
                    let answer = &answers[*next % answers.len()];
                    *next += 1;
                    match answer {
                        Some(bytes) => stream.write_all(bytes).unwrap(),
                        None => return,
                    }
                }
            });
        }
    });
    host
}

/// Reads the head and body of a request.
pub fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = head.len() + 4 + length.map_or(0, |length| length.parse::<usize>().unwrap());
            if bytes.len() >= whole {
                return Some(bytes);
            }
        }
        match stream.read(&mut piece).ok()? {
            0 => return None,
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn answer(head: &str, body: &[u8]) -> Option<Vec<u8>> {
    Some([format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat())
}

/// Returns the results of these operations, run one after the other on slot 0.
fn results(engine: &mut S3Engine, verbs: &[Verb]) -> Vec<i64> {
    let one = |(number, verb): (u64, &Verb)| {
        let mut done = Vec::new();
        engine.submit(0, &operation(*verb, number));
        engine.reap(1, None, &mut done).unwrap();
        assert_eq!(done.len(), 1);
        done[0].result
    };
    (0..).zip(verbs).map(one).collect()
}

fn engine(host: &str, depth: u32) -> S3Engine {
    S3Engine::new(&job(host, depth), 0, Clock::start()).unwrap()
}

#[test]
fn bodies_arrive_however_they_are_framed() {
    let body: Vec<u8> = (0..BLOCK).map(|index| (index % 251) as u8).collect();
    let chunked = [&b"3E8\r\n"[..], &body[..1000], b"\r\nc18\r\n", &body[1000..], b"\r\n0\r\n\r\n"];
    let host = server(vec![
        answer("200 OK\r\nContent-Length: 4096", &body),
        answer("200 OK\r\nTransfer-Encoding: chunked", &chunked.concat()),
        answer("100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4096", &body),
    ]);
    let mut engine = engine(&host, 1);
    for _ in 0..6 {
        engine.buffer(0).fill(0);
        assert_eq!(results(&mut engine, &[Verb::Read]), [BLOCK as i64]);
        assert_eq!(engine.buffer(0), body);
    }
    engine.finish().unwrap();
}

/// A thread that polled kept its own tasks from running: answers were seen when the polling ended.
#[test]
fn an_answer_ends_a_wait_that_polls_before_its_deadline() {
    for wait in [ClientWait::Poll, ClientWait::Sleep] {
        let host = server(vec![answer("200 OK\r\nContent-Length: 0", b"")]);
        let mut job = job(&host, 2);
        job.objects.client_wait = wait;
        let clock = Clock::start();
        let mut engine = S3Engine::new(&job, 0, clock).unwrap();
        results(&mut engine, &[Verb::Write]);
        // The deadline is so near that either way polls until then.
        let is_early = (0..100).any(|number| {
            let (mut done, deadline_ns) = (Vec::new(), clock.now_ns() + 1_900_000);
            engine.submit(0, &operation(Verb::Write, number));
            while done.is_empty() {
                engine.reap(1, Some(deadline_ns.max(clock.now_ns() + 1_000_000)), &mut done).unwrap();
            }
            clock.now_ns() < deadline_ns
        });
        assert!(is_early, "{wait:?}: none of a hundred answers was seen before the deadline");
        engine.finish().unwrap();
    }
}

#[test]
fn refusals_are_completions_with_an_errno_and_are_told() {
    let slow = b"<Error><Code>SlowDown</Code><Message>Less, please.</Message></Error>";
    let slow_head = format!("503 Slow\r\nContent-Length: {}", slow.len());
    let host = server(vec![answer(&slow_head, slow), answer("404 Not Found\r\nContent-Length: 0", b"")]);
    let mut engine = engine(&host, 1);
    assert_eq!(results(&mut engine, &[Verb::Write, Verb::Head, Verb::Write]), [-16, -2, -16]);
    let key = |number| format!("/bench/4096/{number:035}");
    let slow = format!("2 × PUT {}: 503 SlowDown: Less, please.", key(0));
    assert_eq!(engine.notes(), [slow, format!("1 × HEAD {}: 404 without an error code: ", key(1))]);
    let failures = engine.account().failures.unwrap();
    let first = &failures.kinds[0].first;
    assert_eq!((first.status, first.code.as_deref(), first.errno), (Some(503), Some("SlowDown"), 16));
}

#[test]
fn a_kept_connection_that_was_closed_is_made_again() {
    let host = server(vec![answer("200 OK\r\nContent-Length: 0", b""), None]);
    let mut engine = engine(&host, 1);
    assert_eq!(results(&mut engine, &[Verb::Write; 3]), [BLOCK as i64; 3]);
    assert!(engine.account().reconnections.is_some_and(|again| again >= 2));
    // The connection is closed on the first request too: that is a failure, not a stale connection.
    let mut broken = self::engine(&server(vec![None]), 1);
    assert_eq!(results(&mut broken, &[Verb::Multipart]), [-104]);
}

#[test]
fn a_server_that_speaks_no_tls_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        stream
    });
    let mut job = job(&host, 1);
    job.objects.https = Https::Insecure;
    let mut engine = S3Engine::new(&job, 0, Clock::start()).unwrap();
    let error = engine.prepare(&mut |_| ()).unwrap_err().to_string();
    assert!(error.contains(&host) && error.contains("is it https"), "{error}");
    drop(answering.join());
}

#[test]
fn a_deadline_ends_a_wait_and_the_answer_comes_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let answering = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        read_request(&mut stream).unwrap();
        gate.recv().unwrap();
        stream.write_all(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
        stream
    });
    let clock = Clock::start();
    let mut engine = S3Engine::new(&job(&host, 1), 0, clock).unwrap();
    let mut done = Vec::new();
    engine.submit(0, &operation(Verb::Trim, 3));
    for wait_ms in [1, 30] {
        let deadline = clock.now_ns() + wait_ms * 1_000_000;
        engine.reap(1, Some(deadline), &mut done).unwrap();
        assert!(done.is_empty() && clock.now_ns() >= deadline);
    }
    engine.reap(0, None, &mut done).unwrap();
    assert!(done.is_empty());
    go.send(()).unwrap();
    let before = Instant::now();
    engine.reap(5, None, &mut done).unwrap();
    assert_eq!((done.len(), done[0].slot, done[0].result), (1, 0, BLOCK as i64));
    assert!(before.elapsed() < Duration::from_secs(5));
    drop(answering.join());
}

/// Starts a server that answers the first request after `delay`.
fn slow_server(delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        read_request(&mut stream).unwrap();
        // For the client, this is the server's work.
        std::sync::mpsc::channel::<()>().1.recv_timeout(delay).ok();
        stream.write_all(b"HTTP/1.1 204 x\r\n\r\n").unwrap();
        read_request(&mut stream);
    });
    host
}

#[test]
fn a_client_that_waits_for_long_sleeps() {
    let usage = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD).unwrap();
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let delay = Duration::from_millis(1500);
    for (wait, deadline_ns) in [
        (ClientWait::Poll, None),
        (ClientWait::Poll, Some(60_000_000_000)),
        (ClientWait::Sleep, None),
        (ClientWait::Sleep, Some(60_000_000_000)),
    ] {
        let mut job = job(&slow_server(delay), 1);
        job.objects.client_wait = wait;
        let mut engine = S3Engine::new(&job, 0, Clock::start()).unwrap();
        let mut done = Vec::new();
        engine.submit(0, &operation(Verb::Trim, 0));
        let (began, before) = (Instant::now(), usage());
        engine.reap(1, deadline_ns, &mut done).unwrap();
        let used = usage() - before;
        assert_eq!(done.len(), 1);
        assert!(began.elapsed() >= delay && used < 0.3, "{used} s of CPU in {:?}", began.elapsed());
        let idle = Duration::from_nanos(engine.idle_ns());
        assert!(idle >= delay * 9 / 10 && idle <= began.elapsed(), "{idle:?} idle");
    }
}

#[test]
fn an_engine_goes_away_with_operations_in_flight() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut engine = engine(&listener.local_addr().unwrap().to_string(), 4);
    engine.submit(2, &operation(Verb::Read, 1));
    engine.reap(0, None, &mut Vec::new()).unwrap();
    drop(engine);
}

#[test]
fn what_is_not_there_is_refused_in_words() {
    let refused = |change: &dyn Fn(&mut Job)| {
        let mut job = job("127.0.0.1:1", 1);
        change(&mut job);
        let outcome = S3Engine::new(&job, 0, Clock::start());
        outcome.and_then(|mut engine| engine.prepare(&mut |_| ())).unwrap_err().to_string()
    };
    assert!(refused(&|job| job.objects.bucket = "A/b".into()).contains("bucket="));
    assert!(refused(&|job| job.objects.objects = 0).contains("objects="));
    assert!(refused(&|job| job.objects.part_bytes = 0).contains("part_size="));
    assert!(refused(&|_| ()).contains("127.0.0.1:1"));
}
