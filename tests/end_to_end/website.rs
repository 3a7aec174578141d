//! These tests check buckets as websites: pages of directories and of errors, redirections, and that
//! visitors are anybody, whatever they bring.

use crate::support::{BUCKET, make_bucket, refusal};
use aws_sdk_s3::primitives::ByteStream;
use ringbolt_tests::client::MAIN;
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::signed_http::Signer;
use ringbolt_tests::{Server, ServerOptions};

const FLAGS: &[&str] = &[
    "--website-domain",
    "s3-website.localhost",
    "--website-host",
    "*.example.com",
    "--domain",
    "s3.localhost",
];
const SITE: &str = "bucket.s3-website.localhost";
const PAGES: &str = "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument>\
    <ErrorDocument><Key>error.html</Key></ErrorDocument><RoutingRules>\
    <RoutingRule><Condition><KeyPrefixEquals>old/</KeyPrefixEquals></Condition>\
    <Redirect><ReplaceKeyPrefixWith>docs/</ReplaceKeyPrefixWith></Redirect></RoutingRule>\
    <RoutingRule><Condition><KeyPrefixEquals>gone/</KeyPrefixEquals>\
    <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition>\
    <Redirect><Protocol>https</Protocol><HostName>archive.example.net</HostName>\
    <HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule></RoutingRules></WebsiteConfiguration>";

/// A bucket that anybody may read but for what is under `secret/`, with a few pages.
async fn server_with_pages() -> Server {
    let server = Server::start(ServerOptions { flags: FLAGS, ..ServerOptions::default() });
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    for (key, kind) in [
        ("index.html", "text/html"),
        ("docs/index.html", "text/html"),
        ("docs/a b.txt", "text/plain"),
        ("error.html", "text/html"),
        ("secret/index.html", "text/html"),
    ] {
        let body = ByteStream::from(format!("this is {key}").into_bytes());
        client.put_object().bucket(BUCKET).key(key).content_type(kind).body(body).send().await.expect("put");
    }
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],
              "Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/*"]}},
            {{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
              "Resource":"arn:aws:s3:::{BUCKET}/secret/*"}}]}}"#
    );
    client.put_bucket_policy().bucket(BUCKET).policy(policy).send().await.expect("let anybody read");
    configure(&server, PAGES).await;
    server
}

async fn configure(server: &Server, document: &str) {
    let answer = signed(server, "PUT", &format!("/{BUCKET}?website"), "", document).await;
    assert_eq!(answer.status, 200, "{}", text(&answer));
}

async fn signed(server: &Server, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    signer.send(method, target, headers, body.as_bytes()).await.expect("an answer")
}

async fn visit_host(server: &Server, host: &str, method: &str, path: &str, headers: &str) -> Answer {
    let url = format!("{}{path}", server.endpoint());
    raw_http::request_to_host(method, &url, host, headers, b"").await.expect("an answer")
}

async fn visit(server: &Server, path: &str) -> Answer {
    visit_host(server, SITE, "GET", path, "").await
}

fn text(answer: &Answer) -> String {
    format!("{}\r\n\r\n{}", answer.head, String::from_utf8_lossy(&answer.body))
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut lines = answer.head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// Checks the status of an answer and what its body begins with.
fn assert_page(answer: &Answer, status: u16, begin: &str) {
    let body = String::from_utf8_lossy(&answer.body);
    assert!(answer.status == status && body.starts_with(begin), "not {status} {begin:?}: {}", text(answer));
}

fn assert_sent(answer: &Answer, status: u16, location: &str) {
    assert_eq!((answer.status, header(answer, "location")), (status, Some(location)), "{}", text(answer));
    assert!(answer.body.is_empty(), "{}", text(answer));
}

#[tokio::test]
async fn a_website_is_put_shown_and_removed() {
    let mut server = Server::start(ServerOptions::default());
    make_bucket(&server.client(&MAIN)).await;
    configure(&server, PAGES).await;
    server.kill();
    server.start_again();
    let shown = text(&signed(&server, "GET", &format!("/{BUCKET}?website"), "", "").await);
    let inner = PAGES.trim_start_matches("<WebsiteConfiguration>");
    let same = inner.replace(
        "<KeyPrefixEquals>gone/</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>",
        "<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals><KeyPrefixEquals>gone/</KeyPrefixEquals>",
    );
    assert!(shown.ends_with(&same), "{shown}");
    let bad = signed(&server, "PUT", &format!("/{BUCKET}?website"), "", "<WebsiteConfiguration/>").await;
    assert!(bad.status == 400 && text(&bad).contains("<Code>InvalidArgument</Code>"), "{}", text(&bad));
    let client = server.client(&MAIN);
    client.delete_bucket_website().bucket(BUCKET).send().await.expect("delete the website");
    let gone = client.get_bucket_website().bucket(BUCKET).send().await.map_err(refusal);
    assert!(gone.is_err_and(|refusal| refusal.is(404, "NoSuchWebsiteConfiguration")));
}

#[tokio::test]
async fn a_directory_has_its_page_and_an_error_its_own() {
    let server = server_with_pages().await;
    assert_page(&visit(&server, "/").await, 200, "this is index.html");
    assert_page(&visit(&server, "/?page=2").await, 200, "this is index.html");
    assert_page(&visit(&server, "/docs/").await, 200, "this is docs/index.html");
    let plain = visit(&server, "/docs/a%20b.txt").await;
    assert_page(&plain, 200, "this is docs/a b.txt");
    assert_eq!(header(&plain, "content-type"), Some("text/plain"));
    assert_sent(&visit(&server, "/docs").await, 302, &format!("http://{SITE}/docs/"));
    // A page of an error has the status of the error, and says which it is.
    let missing = visit(&server, "/none").await;
    assert_page(&missing, 404, "this is error.html");
    assert_eq!(header(&missing, "x-amz-error-code"), Some("NoSuchKey"));
    assert_eq!((header(&missing, "etag"), header(&missing, "content-type")), (None, Some("text/html")));
    assert_page(&visit(&server, "/none/").await, 404, "this is error.html");
    // A directory whose page nobody may read is none.
    let denied = visit(&server, "/secret/index.html").await;
    assert_page(&denied, 403, "this is error.html");
    assert_eq!(header(&denied, "x-amz-error-code"), Some("AccessDenied"));
    assert_page(&visit(&server, "/secret").await, 404, "this is error.html");
    // Conditions and ranges count, but not for pages of errors.
    let etag = header(&plain, "etag").expect("an ETag");
    let same =
        visit_host(&server, SITE, "GET", "/docs/a%20b.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_page(&same, 304, "");
    let part = visit_host(&server, SITE, "GET", "/docs/a%20b.txt", "Range: bytes=8-\r\n").await;
    assert_page(&part, 206, "docs/a b.txt");
    let error = visit_host(&server, SITE, "GET", "/none", "Range: bytes=8-\r\n").await;
    assert_page(&error, 404, "this is error.html");
    let head = visit_host(&server, SITE, "HEAD", "/docs/", "").await;
    assert_page(&head, 200, "");
    assert_eq!(header(&head, "content-length"), Some("23"));
    let head = visit_host(&server, SITE, "HEAD", "/none", "").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    // Without a page for it, an error is told in HTML.
    configure(&server, &PAGES.replace("error.html", "no-such.html")).await;
    let told = visit(&server, "/%3Cb%3Enone").await;
    assert_page(&told, 404, "<html>");
    let said = text(&told);
    assert!(said.contains("<li>Code: NoSuchKey</li>") && said.contains("Key: &lt;b&gt;none</li>"), "{said}");
    assert!(
        said.contains("An Error Occurred While Attempting to Retrieve a Custom Error Document"),
        "{said}"
    );
}

#[tokio::test]
async fn rules_and_objects_send_visitors_elsewhere() {
    let server = server_with_pages().await;
    assert_sent(&visit(&server, "/old/a%20b?x=1").await, 301, &format!("http://{SITE}/docs/a%20b"));
    assert_sent(&visit(&server, "/gone/x%3Fy").await, 307, "https://archive.example.net/gone/x%3Fy");
    // Nothing that a path says leads to another host.
    let client = server.client(&MAIN);
    let put = |key: &str| client.put_object().bucket(BUCKET).key(key);
    put("/evil.example.org/index.html").send().await.expect("put");
    let twice = visit(&server, "//evil.example.org").await;
    assert_sent(&twice, 302, &format!("http://{SITE}//evil.example.org/"));
    // What an object says counts for visitors; S3 shows it.
    put("moved").website_redirect_location("https://example.net/new").send().await.expect("put");
    assert_sent(&visit(&server, "/moved").await, 301, "https://example.net/new");
    let shown = client.get_object().bucket(BUCKET).key("moved").send().await.expect("get");
    assert_eq!(shown.website_redirect_location(), Some("https://example.net/new"));
    let source = format!("{BUCKET}/moved");
    let copy = |key: &str| client.copy_object().bucket(BUCKET).key(key).copy_source(&source);
    copy("copy").send().await.expect("copy");
    assert_page(&visit(&server, "/copy").await, 200, "");
    copy("copy").website_redirect_location("/docs/").send().await.expect("copy");
    assert_sent(&visit(&server, "/copy").await, 301, "/docs/");
    let upload = client.create_multipart_upload().bucket(BUCKET).key("parts").website_redirect_location("/p");
    let upload = upload.send().await.expect("begin an upload").upload_id.expect("an id");
    let part = client.upload_part().bucket(BUCKET).key("parts").upload_id(&upload).part_number(1);
    let part = part.body(ByteStream::from_static(b"part")).send().await.expect("a part");
    let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(&upload);
    complete.multipart_upload(parts).send().await.expect("complete");
    assert_sent(&visit(&server, "/parts").await, 301, "/p");
    let bad = put("bad").website_redirect_location("javascript:alert(1)").send().await.map_err(refusal);
    assert!(bad.is_err_and(|refusal| refusal.is(400, "InvalidRedirectLocation")));
    // A website that is elsewhere as a whole.
    configure(
        &server,
        "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>example.net</HostName><Protocol>https</Protocol>\
         </RedirectAllRequestsTo></WebsiteConfiguration>",
    )
    .await;
    assert_sent(&visit(&server, "/a%20b?c=d").await, 301, "https://example.net/a%20b?c=d");
}

#[tokio::test]
async fn visitors_are_anybody_and_can_only_read() {
    let server = server_with_pages().await;
    // A signature is not looked at, neither a good one nor a bad one.
    let signer = Signer { endpoint: server.endpoint(), account: &MAIN };
    let owner = signer.send_to_host(SITE, "GET", "/secret/index.html", "", b"").await.expect("an answer");
    assert_page(&owner, 403, "this is error.html");
    let forged = visit_host(&server, SITE, "GET", "/?X-Amz-Signature=1", "Authorization: AWS a:b\r\n").await;
    assert_page(&forged, 200, "this is index.html");
    for method in ["PUT", "POST", "DELETE"] {
        let refused = signer.send_to_host(SITE, method, "/index.html", "", b"").await.expect("an answer");
        assert_page(&refused, 405, "<html>");
        assert_eq!(header(&refused, "allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_page(&visit(&server, "/").await, 200, "this is index.html");
    // Subresources are none of a website's.
    assert_page(&visit(&server, "/?website").await, 200, "this is index.html");
    for (host, code) in [
        ("none.s3-website.localhost", "NoSuchBucket"),
        ("s3-website.localhost", "NoSuchBucket"),
        ("www.example.com", "NoSuchBucket"),
    ] {
        let none = visit_host(&server, host, "GET", "/", "").await;
        assert_page(&none, 404, "<html>");
        assert!(text(&none).contains(&format!("<li>Code: {code}</li>")), "{}", text(&none));
    }
    // S3 is at all other hosts, where the same is XML and needs a policy.
    let listed = visit_host(&server, "bucket.s3.localhost", "GET", "/", "").await;
    assert!(text(&listed).contains("<ListBucketResult"), "{}", text(&listed));
    // A bucket whose name is the whole host.
    let client = server.client(&MAIN);
    let host = "www.example.com";
    client.create_bucket().bucket(host).send().await.expect("make the bucket");
    let unset = visit_host(&server, host, "GET", "/", "").await;
    assert!(text(&unset).contains("<li>Code: NoSuchWebsiteConfiguration</li>"), "{}", text(&unset));
    assert_eq!(signed(&server, "PUT", &format!("/{host}?website"), "", PAGES).await.status, 200);
    let closed = visit_host(&server, host, "GET", "/", "").await;
    assert_page(&closed, 403, "<html>");
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::{host}/*"}}]}}"#
    );
    client.put_bucket_policy().bucket(host).policy(policy).send().await.expect("let anybody read");
    let body = ByteStream::from_static(b"a whole host");
    client.put_object().bucket(host).key("index.html").body(body).send().await.expect("put");
    assert_page(&visit_host(&server, host, "GET", "/", "").await, 200, "a whole host");
    // Without the right to list, what is missing is denied; a directory is still found.
    client.put_object().bucket(host).key("docs/index.html").send().await.expect("put");
    assert_page(&visit_host(&server, host, "GET", "/none", "").await, 403, "<html>");
    assert_sent(&visit_host(&server, host, "GET", "/docs", "").await, 302, "http://www.example.com/docs/");
    // Rules for other origins count for websites too.
    let rules = "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin>\
                 </CORSRule></CORSConfiguration>";
    assert_eq!(signed(&server, "PUT", &format!("/{host}?cors"), "", rules).await.status, 200);
    let page = "Origin: https://app.example.net\r\n";
    for path in ["/", "/none"] {
        let answer = visit_host(&server, host, "GET", path, page).await;
        assert_eq!(header(&answer, "access-control-allow-origin"), Some("*"), "{}", text(&answer));
    }
    let asks = format!("{page}Access-Control-Request-Method: GET\r\n");
    let allowed = visit_host(&server, host, "OPTIONS", "/", &asks).await;
    assert_eq!((allowed.status, header(&allowed, "access-control-allow-origin")), (200, Some("*")));
}
