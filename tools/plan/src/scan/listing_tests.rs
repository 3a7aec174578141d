use super::super::page::PageObject;
use super::*;
use crate::http::testing::{answer, serve};
use crate::scan::file::ScannedSizes;

fn page(keys: &[&str], next: Option<&str>) -> Page {
    let object =
        |key: &&str| PageObject { key: key.as_bytes().to_vec(), size_bytes: 5, ..PageObject::default() };
    Page { objects: keys.iter().map(object).collect(), next_token: next.map(str::to_owned) }
}

fn walked(fetch: impl FnMut(Option<&str>) -> Result<Page, ScanError>) -> Result<Collector, ScanError> {
    let mut collector = Collector::default();
    walk(fetch, &mut collector, &mut |_| {})?;
    Ok(collector)
}

#[test]
fn every_page_is_asked_for_with_the_token_of_the_one_before() {
    let mut asked = Vec::new();
    let collector = walked(|token| {
        asked.push(token.map(str::to_owned));
        Ok(match token {
            None => page(&["a", "b"], Some("1")),
            Some("1") => page(&[], Some("2")),
            _ => page(&["c"], None),
        })
    });
    assert_eq!(collector.unwrap().objects(), 3);
    assert_eq!(asked, [None, Some("1".to_owned()), Some("2".to_owned())]);
}

#[test]
fn a_listing_without_end_is_an_error() {
    let same = walked(|_| Ok(page(&[], Some("t")))).unwrap_err();
    assert!(matches!(same, ScanError::SameToken(ref token) if token == "t"), "{same}");
    let mut number = 0;
    let empty = walked(|_| {
        number += 1;
        Ok(page(&[], Some(&number.to_string())))
    });
    assert!(matches!(empty.unwrap_err(), ScanError::EmptyPages(EMPTY_PAGES_MAX)));
    // The tokens are new, but the same 37 pages repeat after 20 others.
    for (before, length) in [(20_u64, 37_u64), (0, 1), (0, 2), (5, 1000)] {
        let mut number = 0_u64;
        let circle = walked(|_| {
            number += 1;
            assert!(number < 20_000, "it goes on");
            let key = if number < before { number } else { before + (number - before) % length };
            Ok(page(&[&format!("{key:09}")], Some(&number.to_string())))
        });
        assert!(matches!(circle.unwrap_err(), ScanError::Circle { .. }), "{before}, {length}");
    }
}

#[test]
fn what_may_pass_is_tried_again_with_growing_waits_and_not_for_ever() {
    let busy = |status| ScanError::Server {
        url: String::new(),
        status,
        code: "SlowDown".into(),
        message: String::new(),
        advice: "",
    };
    let tried = |status, succeed_at: usize| {
        let (mut waits, mut attempts) = (Vec::new(), 0);
        let told = std::cell::Cell::new(0);
        let outcome = with_retries(
            |_| told.set(told.get() + 1),
            |time| waits.push(time),
            || {
                attempts += 1;
                if attempts == succeed_at { Ok(()) } else { Err(busy(status)) }
            },
        );
        assert_eq!(told.get(), usize::from(!waits.is_empty()), "it is said once that it takes longer");
        (outcome.is_ok(), attempts, waits)
    };
    let (well, attempts, waits) = tried(503, 4);
    assert!(well && attempts == 4 && waits.len() == 3);
    for (wait, least) in waits.iter().zip([200, 400, 800]) {
        assert!((least..=least * 3 / 2).contains(&wait.as_millis()), "{waits:?}");
    }
    let (well, attempts, waits) = tried(500, usize::MAX);
    assert!(!well && attempts == ATTEMPTS_MAX as usize && waits.len() + 1 == attempts);
    for status in [403, 404, 301, 501] {
        assert_eq!(tried(status, usize::MAX).1, 1, "{status}");
    }
}

fn scanned(url: &str) -> Result<ScannedSizes, ScanError> {
    let source = S3Source::new(url, "photos", None).unwrap();
    let mut collector = Collector::default();
    scan(&source, &mut collector, &mut |_| {})?;
    Ok(collector.finish(source.in_words())?)
}

fn listing(inside: &str) -> Vec<u8> {
    answer("200 OK", &format!("<ListBucketResult>{inside}</ListBucketResult>"))
}

#[test]
fn a_server_that_stumbles_is_asked_again() {
    let one = "<Contents><Key>a</Key><Size>7</Size></Contents>";
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t+/</NextContinuationToken>";
    let (url, serving) = serve(vec![
        answer("503 Slow Down", "<Error><Code>SlowDown</Code></Error>"),
        listing(&format!("{one}{more}")),
        // The response is empty: the connection is lost.
        Vec::new(),
        listing("<Contents><Key>b</Key><Size>9</Size></Contents>"),
    ]);
    let sizes = scanned(&url).unwrap();
    assert_eq!((sizes.objects, sizes.total_bytes), (2, 16));
    let heads = serving.join().unwrap();
    assert!(!heads[1].contains("continuation-token") && heads[3].contains("continuation-token=t%2B%2F&"));
    assert_eq!(heads[2].lines().next(), heads[3].lines().next(), "the same page again");
}

#[test]
fn what_the_server_refuses_is_shown_once_and_in_its_words() {
    let denied = "<Error><Code>AccessDenied</Code><Message>Go away</Message></Error>";
    for status in ["403 Forbidden", "200 OK"] {
        let (url, serving) = serve(vec![answer(status, denied)]);
        let error = scanned(&url).unwrap_err().to_string();
        assert!(
            error.contains(&format!("{url}/photos answered {} AccessDenied: Go away", &status[..3])),
            "{error}"
        );
        assert_eq!(serving.join().unwrap().len(), 1);
    }
    let (url, serving) = serve(vec![listing("")]);
    let error = scanned(&url).unwrap_err().to_string();
    assert!(error.contains(&format!("no objects in bucket photos at {url}")), "{error}");
    serving.join().unwrap();
    let (url, serving) = serve(vec![answer("200 OK", "<ListBucketResult><Contents>")]);
    let error = scanned(&url).unwrap_err().to_string();
    assert!(error.contains("page 1") && error.contains("cut off"), "{error}");
    serving.join().unwrap();
}
