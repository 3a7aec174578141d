//! This module provides the S3 client of the tests.
//!
//! Invariant: no request is repeated without the test's knowledge. A retried request would hide an
//! error, and after a kill it would be unclear which write was acknowledged.

use aws_credential_types::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Region, StalledStreamProtectionConfig};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use std::time::Duration;

/// Holds the credentials of a user, which are those in users.toml of the test's data directory.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub access_key: &'static str,
    pub secret_key: &'static str,
    pub canonical_id: &'static str,
    pub display_name: &'static str,
    pub email: &'static str,
}

pub const MAIN: Account = Account {
    access_key: "MAINMAINMAINMAIN",
    secret_key: "main-secret-for-tests-only-0123456789",
    canonical_id: "main0000000000000000000000000000",
    display_name: "Main Tester",
    email: "main@example.com",
};

pub const OTHER: Account = Account {
    access_key: "OTHEROTHEROTHERO",
    secret_key: "other-secret-for-tests-only-012345678",
    canonical_id: "other000000000000000000000000000",
    display_name: "Other Tester",
    email: "other@example.com",
};

/// Returns a client of `account` for the server at `endpoint`, with path-style addresses and
/// without retries.
pub fn client(endpoint: &str, account: &Account) -> aws_sdk_s3::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(10))
        .operation_timeout(Duration::from_secs(120))
        .build();
    let config = aws_sdk_s3::Config::builder()
        .http_client(HttpClientBuilder::new().build_http())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::from_keys(account.access_key, account.secret_key, None))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .force_path_style(true)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
