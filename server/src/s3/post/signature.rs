//! Who signed an upload form: its policy's signature, version 4 or the older form that browsers' forms
//! still use (HMAC-SHA-1 of the policy).
//!
//! Invariant: the signature covers the policy as it stands in the form; that the policy covers the form
//! is for [`super::policy`] to see to.

use super::form::Form;
use crate::auth::hash::{HmacKey, equal_in_constant_time};
use crate::auth::{Account, Accounts};
use crate::s3::error::{invalid_argument, not_implemented};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::{S3Error, S3Result, s3_error};
use std::sync::Arc;

fn mismatch() -> S3Error {
    s3_error!(
        SignatureDoesNotMatch,
        "The signature of the form's policy does not match; check key and signing method"
    )
}

fn account<'a>(accounts: &'a Accounts, access_key: &str) -> S3Result<&'a Arc<Account>> {
    accounts.by_access_key(access_key).ok_or_else(|| {
        s3_error!(InvalidAccessKeyId, "The access key of the form does not exist in our records.")
    })
}

/// The account that signed `policy`, the form's own field.
pub fn signer(form: &Form, policy: &str, accounts: &Accounts) -> S3Result<Arc<Account>> {
    if let Some(signature) = form.get("x-amz-signature") {
        return version_4(form, policy, signature, accounts);
    }
    let (Some(access_key), Some(signature)) = (form.get("awsaccesskeyid"), form.get("signature")) else {
        return Err(invalid_argument("Bucket POST with a policy must contain its signature and access key"));
    };
    let account = account(accounts, access_key)?;
    let given = BASE64.decode(signature.trim()).map_err(|_| mismatch())?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, account.secret_key.as_bytes());
    hmac::verify(&key, policy.as_bytes(), &given).map_err(|_| mismatch())?;
    Ok(account.clone())
}

fn version_4(form: &Form, policy: &str, signature: &str, accounts: &Accounts) -> S3Result<Arc<Account>> {
    if form.get("x-amz-algorithm") != Some("AWS4-HMAC-SHA256") {
        return Err(not_implemented("A form signature other than AWS4-HMAC-SHA256"));
    }
    let credential = form.get("x-amz-credential").unwrap_or_default();
    let fields: Vec<&str> = credential.split('/').collect();
    let [access_key, date, region, service, "aws4_request"] = fields.as_slice() else {
        return Err(invalid_argument("x-amz-credential must be access-key/date/region/service/aws4_request"));
    };
    let account = account(accounts, access_key)?;
    let mut key = HmacKey::new(format!("AWS4{}", account.secret_key).as_bytes());
    for step in [*date, *region, *service, "aws4_request"] {
        key = HmacKey::new(&key.sign(step.as_bytes()));
    }
    let given = hex::decode(signature.trim()).map_err(|_| mismatch())?;
    if !equal_in_constant_time(&key.sign(policy.as_bytes()), &given) {
        return Err(mismatch());
    }
    Ok(account.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::S3ErrorCode;

    fn accounts() -> Accounts {
        Accounts::from_list(vec![Account {
            access_key: "AK".to_owned(),
            secret_key: "secret".to_owned(),
            canonical_id: "id".to_owned(),
            display_name: String::new(),
            email: String::new(),
        }])
    }

    fn sign(fields: &[(&str, &str)]) -> Result<String, S3ErrorCode> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let form = Form { fields, file: None };
        let signer = signer(&form, "cG9saWN5", &accounts());
        signer.map(|account| account.canonical_id.clone()).map_err(|error| error.code().clone())
    }

    #[test]
    fn both_signature_versions() {
        // printf cG9saWN5 | openssl dgst -sha1 -hmac secret -binary | base64
        let old = "xjcOd3+I0tu58AF8jUmwdfvwgBU=";
        assert_eq!(sign(&[("awsaccesskeyid", "AK"), ("signature", old)]).as_deref(), Ok("id"));
        // The chain of HMAC-SHA-256 over 20260101, r, s3, aws4_request, then the policy; by Python's hmac.
        let new = "1f28568e0d0e625d5b7cf2dd095e0158eab586fd6c29c431aa77307f86974a28";
        let fields = |credential, signature| {
            sign(&[
                ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
                ("x-amz-credential", credential),
                ("x-amz-signature", signature),
            ])
        };
        assert_eq!(fields("AK/20260101/r/s3/aws4_request", new).as_deref(), Ok("id"));
        assert_eq!(fields("AK/20260102/r/s3/aws4_request", new), Err(S3ErrorCode::SignatureDoesNotMatch));
        assert_eq!(fields("XX/20260101/r/s3/aws4_request", new), Err(S3ErrorCode::InvalidAccessKeyId));
        assert_eq!(fields("AK/20260101", new), Err(S3ErrorCode::InvalidArgument));
    }

    #[test]
    fn wrong_or_missing_signatures() {
        let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(
            sign(&[("awsaccesskeyid", "AK"), ("signature", wrong)]),
            Err(S3ErrorCode::SignatureDoesNotMatch)
        );
        assert_eq!(
            sign(&[("awsaccesskeyid", "XX"), ("signature", wrong)]),
            Err(S3ErrorCode::InvalidAccessKeyId)
        );
        assert_eq!(sign(&[("awsaccesskeyid", "AK")]), Err(S3ErrorCode::InvalidArgument));
    }
}
