//! These tests check browsers' upload forms, which are judged when the file begins, and then
//! streamed; the fields that are judged are those that are used.

use crate::support::{BUCKET, assert_holds, get, list_all, make_bucket, refusal};
use aws_sdk_s3::Client;
use ringbolt_tests::client::{Account, MAIN};
use ringbolt_tests::raw_http::{self, Answer};
use ringbolt_tests::version_2::{base64_of, signature};
use ringbolt_tests::{Content, Server, ServerOptions};
use tokio::io::AsyncReadExt;

const BOUNDARY: &str = "3f9c";
const TYPE: &str = "Content-Type: multipart/form-data; boundary=3f9c\r\n";

/// Describes a form: the policy `conditions` for all of `fields`, the file's name, and what follows
/// the file.
pub struct Form<'a> {
    pub fields: &'a [(&'a str, &'a str)],
    pub conditions: &'a str,
    pub file_name: &'a str,
    pub rest: &'a str,
}

pub const PLAIN: Form<'static> = Form {
    fields: &[("key", "k")],
    conditions: r#"["starts-with","$key",""]"#,
    file_name: "f.bin",
    rest: "--\r\n",
};

fn field(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

impl Form<'_> {
    /// Returns everything before the file's bytes, and everything after them.
    fn around(&self, account: &Account) -> (Vec<u8>, Vec<u8>) {
        let policy = format!(
            r#"{{"expiration":"2099-01-01T00:00:00Z","conditions":[{{"bucket":"{BUCKET}"}},{}]}}"#,
            self.conditions
        );
        let policy = base64_of(policy.as_bytes());
        let mut before: String = self.fields.iter().map(|(name, value)| field(name, value)).collect();
        before += &field("AWSAccessKeyId", account.access_key);
        before += &field("signature", &signature(account.secret_key, &policy));
        before += &field("policy", &policy);
        before += &format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
             Content-Type: text/html\r\n\r\n",
            self.file_name
        );
        (before.into_bytes(), format!("\r\n--{BOUNDARY}{}", self.rest).into_bytes())
    }

    pub async fn post(&self, server: &Server, file: &[u8]) -> Answer {
        self.post_as(server, &MAIN, file).await
    }

    pub async fn post_as(&self, server: &Server, account: &Account, file: &[u8]) -> Answer {
        let (before, after) = self.around(account);
        let url = format!("{}/{BUCKET}", server.endpoint());
        let body = [before.as_slice(), file, &after].concat();
        raw_http::request_with("POST", &url, TYPE, &body).await.expect("an answer")
    }
}

fn text(answer: &Answer) -> String {
    format!("{} {}", answer.head, String::from_utf8_lossy(&answer.body))
}

async fn started() -> (Server, Client) {
    let server = Server::start(ServerOptions::default());
    let client = server.client(&MAIN);
    make_bucket(&client).await;
    (server, client)
}

#[tokio::test]
async fn files_of_any_size_are_stored_whatever_follows_them() {
    let (server, client) = started().await;
    let rest =
        format!("\r\n{}--{BOUNDARY}--\r\n", field("submit", "Upload").split_once("\r\n").expect("a line").1);
    let rests = ["--\r\n", "--", rest.as_str()];
    for (number, length) in [0, 1, 3000, 200_000, 4 << 20, (4 << 20) + 1, 40_000_000].into_iter().enumerate()
    {
        let content = Content::new(number as u64, length);
        let form = Form { rest: rests[number % rests.len()], ..PLAIN };
        let answer = form.post(&server, &content.bytes()).await;
        assert_eq!(answer.status, 204, "{length} bytes: {}", text(&answer));
        let location = format!("location: {}/{BUCKET}/k\r\n", server.endpoint());
        assert!(answer.head.to_ascii_lowercase().contains(&location), "{}", answer.head);
        assert_holds(&client, "k", content).await;
    }
}

/// Holds conditions, fields, bytes of the file, status and code.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], usize, u16, &'a str);

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused_and_leaves_nothing() {
    let (server, client) = started().await;
    let any = r#"["starts-with","$key",""],["starts-with","$x-amz-meta-role","guest"]"#;
    let image = r#"["starts-with","$key",""],["starts-with","$Content-Type","image/"]"#;
    let range = r#"["starts-with","$key",""],["content-length-range",1000,5000000]"#;
    let cases: [Case; 7] = [
        (
            any,
            &[("key", "k"), ("x-amz-meta-role", "guest"), ("x-amz-meta-role", "admin")],
            10,
            400,
            "InvalidArgument",
        ),
        (
            any,
            &[("key", "k"), ("X-Amz-Meta-Role", "guest"), ("x-amz-meta-role", "admin")],
            10,
            400,
            "InvalidArgument",
        ),
        (any, &[("key", "a"), ("key", "k"), ("x-amz-meta-role", "guest")], 10, 400, "InvalidArgument"),
        (any, &[("key", "k"), ("x-amz-meta-role", "admin")], 10, 403, "AccessDenied"),
        (image, &[("key", "k"), ("Content-Type", "image/png,text/html")], 10, 403, "AccessDenied"),
        (range, &[("key", "k")], 6_000_000, 400, "EntityTooLarge"),
        (range, &[("key", "k")], 999, 400, "EntityTooSmall"),
    ];
    for (conditions, fields, length, status, code) in cases {
        let answer = Form { fields, conditions, ..PLAIN }.post(&server, &vec![b'x'; length]).await;
        assert!(answer.status == status && text(&answer).contains(code), "{fields:?}: {}", text(&answer));
    }
    let cut = Form { rest: "-", ..PLAIN }.post(&server, &vec![b'x'; 5_000_000]).await;
    assert!(cut.status == 400 && text(&cut).contains("MalformedPOSTRequest"), "{}", text(&cut));
    assert!(list_all(&client, 1000).await.is_empty());
    let good = Form { fields: &[("key", "k")], conditions: range, ..PLAIN };
    assert_eq!(good.post(&server, &[b'x'; 1000]).await.status, 204);
}

/// Hardly anything of the four gigabytes is sent here: the response comes nevertheless.
#[tokio::test]
async fn a_form_is_judged_before_its_file_is_taken() {
    let (server, client) = started().await;
    let url = format!("{}/{BUCKET}", server.endpoint());
    for (secret_key, conditions, code) in [
        ("another secret", PLAIN.conditions, "SignatureDoesNotMatch"),
        (MAIN.secret_key, r#"{"key":"other"}"#, "AccessDenied"),
    ] {
        let account = Account { secret_key, ..MAIN };
        let (mut before, _) = Form { conditions, ..PLAIN }.around(&account);
        before.resize(before.len() + 100_000, b'x');
        let mut stream =
            raw_http::half_request_with("POST", &url, TYPE, 4 << 30, &before).await.expect("sent");
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(code), "{answer}");
    }
    assert!(get(&client, "k").await.is_err());
}

#[tokio::test]
async fn the_file_s_name_goes_where_the_form_wants_it() {
    let (server, client) = started().await;
    let form = Form {
        fields: &[
            ("key", "up/${filename}"),
            ("x-amz-meta-name", "${filename}"),
            ("success_action_status", "201"),
        ],
        conditions: r#"["eq","$key","up/a b.txt"],["starts-with","$x-amz-meta-name",""],
            {"success_action_status":"201"}"#,
        file_name: "C:\\docs\\a b.txt",
        ..PLAIN
    };
    let answer = form.post(&server, b"text").await;
    assert_eq!(answer.status, 201, "{}", text(&answer));
    let location = format!("<Location>{}/{BUCKET}/up/a%20b.txt</Location>", server.endpoint());
    assert!(text(&answer).contains(&location), "{}", text(&answer));
    let head = client.head_object().bucket(BUCKET).key("up/a b.txt").send().await.expect("stored");
    assert_eq!(head.metadata().and_then(|all| all.get("name")).map(String::as_str), Some("a b.txt"));
    // As in S3, the type of the file's part is ignored.
    assert_eq!(head.content_type(), Some("binary/octet-stream"));
}

#[tokio::test]
async fn forms_of_version_2_can_be_switched_off() {
    let options = ServerOptions { flags: &["--signature-v2", "off"], ..ServerOptions::default() };
    let server = Server::start(options);
    make_bucket(&server.client(&MAIN)).await;
    let answer = PLAIN.post(&server, b"text").await;
    assert!(answer.status == 400 && text(&answer).contains("signature-v2"), "{}", text(&answer));
}

/// An object may have any type, and so may its upload.
#[tokio::test]
async fn an_object_whose_type_is_a_form_s_is_no_form() {
    let (_server, client) = started().await;
    for form_type in
        ["multipart/form-data; boundary=x", "multipart/form-data", "application/x-www-form-urlencoded"]
    {
        let begun =
            client.create_multipart_upload().bucket(BUCKET).key("k").content_type(form_type).send().await;
        let upload = begun.map_err(refusal).expect("begun").upload_id.expect("an id");
        let part = client.upload_part().bucket(BUCKET).key("k").upload_id(&upload).part_number(1);
        let part = part.body(b"part".to_vec().into()).send().await.map_err(refusal).expect("a part");
        let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
        let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
        let done = client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(upload);
        done.multipart_upload(parts).send().await.map_err(refusal).expect("completed");
        let head = client.head_object().bucket(BUCKET).key("k").send().await.expect("stored");
        assert_eq!(head.content_type(), Some(form_type));
    }
}
