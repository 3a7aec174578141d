//! Placeholder with the interface of the S3 room.

use crate::auth::Accounts;
use std::sync::Arc;

pub struct S3Settings {
    pub region: String,
    pub virtual_host_domains: Vec<String>,
}

pub struct S3Service;

pub fn service(
    _core: ringbolt_engine::node::Core,
    _accounts: Arc<Accounts>,
    _settings: S3Settings,
) -> S3Service {
    S3Service
}

impl S3Service {
    pub async fn call(&self, _request: http::Request<s3s::Body>) -> http::Response<s3s::Body> {
        http::Response::new(s3s::Body::empty())
    }
}
