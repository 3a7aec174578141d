//! The configuration of buckets that can not be set here yet, and so nobody has set.
//!
//! Invariants:
//! - An answer says what is the case: S3's own default where it has one, and its own "not found"
//!   elsewhere.
//! - A bucket or object that does not exist, or is not the caller's, is reported first.
//! - Setting any of it stays 501, as the operations do not exist.

use super::Server;
use super::access::Caller;
use super::error::{EngineResult, coded};
use super::judge::OnKey;
use http::StatusCode;
use ringbolt_engine::types::{Bucket, ConfigKind};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

/// Makes a 404 with the code that S3 has for a configuration that is not set.
fn not_set(code: &'static str, message: &'static str) -> S3Error {
    coded(code, StatusCode::NOT_FOUND, message)
}

impl Server {
    /// Sets one kind of a bucket's configuration, or removes it. What it is already is not written again.
    pub async fn configure(&self, bucket: &Bucket, kind: ConfigKind, value: Option<Vec<u8>>) -> S3Result<()> {
        if value.as_deref() != bucket.value_of(kind) {
            self.core.set_bucket_config(bucket.id, kind, value).await.s3()?;
        }
        Ok(())
    }
}

/// One function for each operation on a bucket: it finds the bucket, then gives `$answer`.
macro_rules! of_buckets {
    ($($name:ident ( $input:ident ) -> $output:ident = $answer:expr;)*) => {
        $(
            pub async fn $name(
                server: &Server,
                mut request: S3Request<$input>,
            ) -> S3Result<S3Response<$output>> {
                let caller = Caller::take(&mut request);
                let input = request.input;
                server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
                let answer: S3Result<$output> = $answer;
                answer.map(S3Response::new)
            }
        )*
    };
}

pub const LIFECYCLE: (&str, &str) =
    ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist");
pub const CORS: (&str, &str) = ("NoSuchCORSConfiguration", "The CORS configuration does not exist");
const ENCRYPTION: (&str, &str) = (
    "ServerSideEncryptionConfigurationNotFoundError",
    "The server side encryption configuration was not found",
);
pub const POLICY: (&str, &str) = ("NoSuchBucketPolicy", "The bucket policy does not exist");
pub const TAGS: (&str, &str) = ("NoSuchTagSet", "The TagSet does not exist");
const REPLICATION: (&str, &str) =
    ("ReplicationConfigurationNotFoundError", "The replication configuration was not found");
pub const WEBSITE: (&str, &str) =
    ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration");
pub const ACCESS_BLOCK: (&str, &str) =
    ("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found");
pub const OWNERSHIP: (&str, &str) =
    ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found");
pub const OBJECT_LOCK: (&str, &str) =
    ("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket");
const BY_ID: (&str, &str) = ("NoSuchConfiguration", "The specified configuration does not exist.");

/// Answers with the 404 of a configuration that is not set.
pub fn missing<T>((code, message): (&'static str, &'static str)) -> S3Result<T> {
    Err(not_set(code, message))
}

of_buckets! {
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = missing(ENCRYPTION);
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = missing(REPLICATION);
    get_bucket_metrics_configuration(GetBucketMetricsConfigurationInput)
        -> GetBucketMetricsConfigurationOutput = missing(BY_ID);
    get_bucket_analytics_configuration(GetBucketAnalyticsConfigurationInput)
        -> GetBucketAnalyticsConfigurationOutput = missing(BY_ID);
    get_bucket_inventory_configuration(GetBucketInventoryConfigurationInput)
        -> GetBucketInventoryConfigurationOutput = missing(BY_ID);
    delete_bucket_metrics_configuration(DeleteBucketMetricsConfigurationInput)
        -> DeleteBucketMetricsConfigurationOutput = missing(BY_ID);
    delete_bucket_analytics_configuration(DeleteBucketAnalyticsConfigurationInput)
        -> DeleteBucketAnalyticsConfigurationOutput = missing(BY_ID);
    delete_bucket_inventory_configuration(DeleteBucketInventoryConfigurationInput)
        -> DeleteBucketInventoryConfigurationOutput = missing(BY_ID);

    list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput)
        -> ListBucketMetricsConfigurationsOutput = Ok(ListBucketMetricsConfigurationsOutput {
            is_truncated: Some(false), ..Default::default()
        });
    list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput)
        -> ListBucketAnalyticsConfigurationsOutput = Ok(ListBucketAnalyticsConfigurationsOutput {
            is_truncated: Some(false), ..Default::default()
        });
    list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput)
        -> ListBucketInventoryConfigurationsOutput = Ok(ListBucketInventoryConfigurationsOutput {
            is_truncated: Some(false), ..Default::default()
        });

    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput)
        -> GetBucketAccelerateConfigurationOutput = Ok(GetBucketAccelerateConfigurationOutput::default());
    get_bucket_logging(GetBucketLoggingInput)
        -> GetBucketLoggingOutput = Ok(GetBucketLoggingOutput::default());
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput = Ok(GetBucketNotificationConfigurationOutput::default());
    get_bucket_request_payment(GetBucketRequestPaymentInput)
        -> GetBucketRequestPaymentOutput = Ok(GetBucketRequestPaymentOutput {
            payer: Some(Payer::from_static(Payer::BUCKET_OWNER))
        });

    delete_bucket_encryption(DeleteBucketEncryptionInput)
        -> DeleteBucketEncryptionOutput = Ok(DeleteBucketEncryptionOutput::default());
    delete_bucket_replication(DeleteBucketReplicationInput)
        -> DeleteBucketReplicationOutput = Ok(DeleteBucketReplicationOutput::default());
}

/// As `of_buckets`, for the three operations whose requests can not name the owner they expect.
macro_rules! of_tiering {
    ($($name:ident ( $input:ident ) -> $output:ident = $answer:expr;)*) => {
        $(
            pub async fn $name(
                server: &Server,
                mut request: S3Request<$input>,
            ) -> S3Result<S3Response<$output>> {
                let caller = Caller::take(&mut request);
                server.bucket_of(&caller, &request.input.bucket, None)?;
                let answer: S3Result<$output> = $answer;
                answer.map(S3Response::new)
            }
        )*
    };
}

of_tiering! {
    get_bucket_intelligent_tiering_configuration(GetBucketIntelligentTieringConfigurationInput)
        -> GetBucketIntelligentTieringConfigurationOutput = missing(BY_ID);
    delete_bucket_intelligent_tiering_configuration(DeleteBucketIntelligentTieringConfigurationInput)
        -> DeleteBucketIntelligentTieringConfigurationOutput = missing(BY_ID);
    list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput)
        -> ListBucketIntelligentTieringConfigurationsOutput =
            Ok(ListBucketIntelligentTieringConfigurationsOutput {
                is_truncated: Some(false), ..Default::default()
            });
}

/// Fails unless the object exists and the caller may see it.
async fn find_object(
    server: &Server,
    caller: &Caller,
    (bucket, key): (&str, &str),
    version: Option<&str>,
    expected_owner: Option<&str>,
) -> S3Result<()> {
    let bucket = server.bucket_of_key(caller, (bucket, key, version), expected_owner).await?;
    let on = OnKey::new(key, version);
    server.find_object(caller, caller.action_on(on), &bucket, on).await.map(|_| ())
}

/// Answers GetObjectTorrent: there are no torrents, as there are none in S3 any more.
pub async fn get_object_torrent(
    server: &Server,
    mut request: S3Request<GetObjectTorrentInput>,
) -> S3Result<S3Response<GetObjectTorrentOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let names = (input.bucket.as_str(), input.key.as_str());
    find_object(server, &caller, names, None, input.expected_bucket_owner.as_deref()).await?;
    missing(("NoSuchKey", "The specified key has no torrent."))
}
