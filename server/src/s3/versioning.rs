//! The versioning of buckets: PutBucketVersioning and GetBucketVersioning.

use super::Server;
use super::access::Caller;
use super::error::{EngineResult, not_implemented};
use super::xml_reader::{XmlReader, malformed, unknown};
use ringbolt_engine::types::Versioning;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

const ENABLED: &str = "Enabled";
const SUSPENDED: &str = "Suspended";

/// The document of a PutBucketVersioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersioningDocument {
    versioning: Versioning,
}

impl VersioningDocument {
    /// Reads the document. Fails if it is malformed, sets no status, or asks for what is not built.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("VersioningConfiguration")?;
        let mut status = None;
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "Status" => {
                    let versioning = match reader.text()?.trim() {
                        ENABLED => Versioning::Enabled,
                        SUSPENDED => Versioning::Suspended,
                        _ => return Err(malformed("Status is neither Enabled nor Suspended")),
                    };
                    if status.replace(versioning).is_some() {
                        return Err(malformed("there is more than one Status"));
                    }
                }
                "MfaDelete" => match reader.text()?.trim() {
                    "Disabled" => {}
                    "Enabled" => return Err(not_implemented("Deleting with a second factor (MfaDelete)")),
                    _ => return Err(malformed("MfaDelete is neither Enabled nor Disabled")),
                },
                "ExcludeFolders" | "ExcludedPrefixes" => {
                    return Err(not_implemented("Keeping no versions of a part of a bucket"));
                }
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        let Some(versioning) = status else {
            let code = S3ErrorCode::IllegalVersioningConfigurationException;
            return Err(S3Error::with_message(code, "The Status of the versioning must be specified"));
        };
        Ok(Self { versioning })
    }
}

/// Answers PutBucketVersioning.
pub async fn put_bucket_versioning(
    server: &Server,
    mut request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(document) = request.extensions.remove::<VersioningDocument>() else {
        return Err(malformed("the document is missing"));
    };
    if input.mfa.is_some() {
        return Err(not_implemented("Deleting with a second factor (MfaDelete)"));
    }
    server.core.set_versioning(bucket.id, document.versioning).await.s3()?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

/// Answers GetBucketVersioning.
pub async fn get_bucket_versioning(
    server: &Server,
    mut request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let status = match bucket.versioning {
        // Where versioning was never enabled, S3 says so by no status at all.
        Versioning::Off => None,
        Versioning::Enabled => Some(BucketVersioningStatus::from_static(ENABLED)),
        Versioning::Suspended => Some(BucketVersioningStatus::from_static(SUSPENDED)),
    };
    Ok(S3Response::new(GetBucketVersioningOutput { status, ..GetBucketVersioningOutput::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str) -> Result<Versioning, String> {
        let text = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
        let reader =
            XmlReader::new(text.as_bytes(), 100).map_err(|error| error.code().as_str().to_owned())?;
        let document = VersioningDocument::read(reader);
        document.map(|document| document.versioning).map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn a_status_is_what_counts() {
        assert_eq!(read("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(
            read("<MfaDelete>Disabled</MfaDelete><Status>Suspended</Status>"),
            Ok(Versioning::Suspended)
        );
        for (inner, code) in [
            ("", "IllegalVersioningConfigurationException"),
            ("<Status/>", "MalformedXML"),
            ("<Status>enabled</Status>", "MalformedXML"),
            ("<Status>Enabled</Status><Status>Suspended</Status>", "MalformedXML"),
            ("<Status>Enabled</Status><Other/>", "MalformedXML"),
            ("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>", "NotImplemented"),
            ("<Status>Enabled</Status><ExcludeFolders>true</ExcludeFolders>", "NotImplemented"),
        ] {
            assert_eq!(read(inner), Err(code.to_owned()), "{inner}");
        }
    }
}
