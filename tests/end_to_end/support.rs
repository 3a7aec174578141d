//! This module provides short forms of what nearly every test does.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use ringbolt_tests::Content;
use std::error::Error;

pub const BUCKET: &str = "bucket";

/// The SDK's description continues with all headers and the whole response.
const DETAILS_CHARACTERS_MAX: usize = 400;

/// Holds the HTTP status and error code that S3 sent instead of a result. A broken connection has
/// status 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    /// This is shown in the message of a failing test.
    pub details: String,
}

impl Refusal {
    pub fn is(&self, status: u16, code: &str) -> bool {
        self.status == status && self.code == code
    }
}

pub fn refusal<E>(error: SdkError<E, HttpResponse>) -> Refusal
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    let details = DisplayErrorContext(error).to_string().chars().take(DETAILS_CHARACTERS_MAX).collect();
    Refusal { status, code, details }
}

pub async fn make_bucket(client: &Client) {
    client.create_bucket().bucket(BUCKET).send().await.expect("create the bucket");
}

/// Puts an object and returns the ETag.
pub async fn put(client: &Client, key: &str, content: Content) -> Result<String, Refusal> {
    let body = ByteStream::from(content.bytes());
    let answer = client.put_object().bucket(BUCKET).key(key).body(body).send().await.map_err(refusal)?;
    Ok(answer.e_tag.unwrap_or_default())
}

/// Returns the whole object; a body that breaks off is a refusal too.
pub async fn get(client: &Client, key: &str) -> Result<Vec<u8>, Refusal> {
    collect(client.get_object().bucket(BUCKET).key(key)).await
}

pub async fn get_range(client: &Client, key: &str, range: &str) -> Result<Vec<u8>, Refusal> {
    collect(client.get_object().bucket(BUCKET).key(key).range(range)).await
}

async fn collect(request: GetObjectFluentBuilder) -> Result<Vec<u8>, Refusal> {
    let answer = request.send().await.map_err(refusal)?;
    let body = answer.body.collect().await.map_err(|error| Refusal {
        status: 0,
        code: "BodyBrokeOff".to_owned(),
        details: error.to_string(),
    })?;
    Ok(body.to_vec())
}

pub async fn delete(client: &Client, key: &str) -> Result<(), Refusal> {
    client.delete_object().bucket(BUCKET).key(key).send().await.map_err(refusal)?;
    Ok(())
}

/// Fails the test unless `key` holds exactly `content`.
pub async fn assert_holds(client: &Client, key: &str, content: Content) {
    let got = get(client, key).await.unwrap_or_else(|refusal| panic!("get {key} ({content:?}): {refusal:?}"));
    if let Some(difference) = content.difference(&got) {
        panic!("{key} does not hold {content:?}: {difference}");
    }
}

/// Returns every key of the bucket with its size, over all pages of `page` keys.
pub async fn list_all(client: &Client, page: i32) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let request = client.list_objects_v2().bucket(BUCKET).max_keys(page).set_continuation_token(token);
        let answer = request.send().await.map_err(refusal).expect("list the bucket");
        for object in answer.contents() {
            let size = usize::try_from(object.size().unwrap_or(-1)).expect("a size");
            found.push((object.key().unwrap_or_default().to_owned(), size));
        }
        token = answer.next_continuation_token;
        if token.is_none() {
            return found;
        }
    }
}

/// Returns flags that live as long as the tests.
pub fn flags(flags: &[&str]) -> &'static [&'static str] {
    let flags: Vec<&'static str> = flags.iter().map(|flag| &*flag.to_string().leak()).collect();
    flags.leak()
}
