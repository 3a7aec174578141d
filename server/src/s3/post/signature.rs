//! The signer of an upload form. The signature is that of its policy: version 4, or the older form
//! that browsers' forms still use (HMAC-SHA-1 of the policy).
//!
//! Invariant: the signature covers the policy as it stands in the form. [`super::policy`] makes
//! sure that the policy covers the form.

use super::form::Form;
use crate::auth::AuthError;
use crate::auth::hash::{equal_in_constant_time, hmac_sha1};
use crate::auth::signature::{Credential, CredentialSource, RequestTime, SKEW_MAX_S, SignaturePlace, Signed};
use crate::identity::{Directory, Found, Signer};
use crate::s3::error::{from_auth, invalid_argument, not_implemented};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::{S3Error, S3Result, s3_error};
use std::sync::Arc;

/// What the signatures of forms are held to.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    pub directory: &'a Directory,
    pub region: &'a str,
    /// Tells whether version 2 is accepted.
    pub version_2: bool,
    /// The time, in Unix seconds.
    pub now_s: i64,
}

fn mismatch() -> S3Error {
    s3_error!(
        SignatureDoesNotMatch,
        "The signature of the form's policy does not match; check key and signing method"
    )
}

fn find(rules: Rules<'_>, access_key: &str) -> S3Result<Found> {
    rules.directory.find(access_key).ok_or_else(|| {
        s3_error!(InvalidAccessKeyId, "The access key of the form does not exist in our records.")
    })
}

/// Returns who signed `policy`, which is the form's own field. Fails if there is no
/// valid signature.
pub fn signer(form: &Form, policy: &str, rules: Rules<'_>) -> S3Result<(Arc<Signer>, Signed)> {
    let older = form.get("awsaccesskeyid").or_else(|| form.get("signature"));
    if let Some(signature) = form.get("x-amz-signature") {
        if older.is_some() {
            return Err(from_auth(&AuthError::SeveralMechanisms));
        }
        return version_4(form, policy, signature, rules);
    }
    if older.is_some() && !rules.version_2 {
        return Err(from_auth(&AuthError::Version2Off));
    }
    let (Some(access_key), Some(signature)) = (form.get("awsaccesskeyid"), form.get("signature")) else {
        return Err(invalid_argument("Bucket POST with a policy must contain its signature and access key"));
    };
    let found = find(rules, access_key)?;
    let given = BASE64.decode(signature.trim()).map_err(|_| mismatch())?;
    if !equal_in_constant_time(&hmac_sha1(&found.secret, policy.as_bytes()), &given) {
        return Err(mismatch());
    }
    let signed = Signed { by_version_2: true, place: SignaturePlace::Form, at_s: None };
    Ok((used(found, rules), signed))
}

fn used(found: Found, rules: Rules<'_>) -> Arc<Signer> {
    found.key.use_at(rules.now_s.unsigned_abs());
    Arc::new(found.signer)
}

fn version_4(
    form: &Form,
    policy: &str,
    signature: &str,
    rules: Rules<'_>,
) -> S3Result<(Arc<Signer>, Signed)> {
    if form.get("x-amz-algorithm") != Some("AWS4-HMAC-SHA256") {
        return Err(not_implemented("A form signature other than AWS4-HMAC-SHA256"));
    }
    let credential = form.get("x-amz-credential").unwrap_or_default();
    let credential = Credential::parse(credential, rules.region, CredentialSource::Parameter)
        .map_err(|error| from_auth(&error))?;
    let date = form.get("x-amz-date").unwrap_or_default();
    let Some(time) = RequestTime::parse_basic(date) else {
        return Err(invalid_argument(
            "Bucket POST must contain a field named 'X-Amz-Date' in the ISO8601 format yyyyMMdd'T'HHmmss'Z'",
        ));
    };
    if time.day() != credential.day {
        let reason = format!("the date \"{}\" is not that of X-Amz-Date", credential.day);
        return Err(from_auth(&CredentialSource::Parameter.malformed(reason)));
    }
    // The policy says how long the signature stays valid.
    if time.unix_s > rules.now_s + SKEW_MAX_S {
        return Err(from_auth(&AuthError::NotYetValid(time.text().to_owned())));
    }
    let found = find(rules, credential.access_key)?;
    let key = credential.signing_key(&found.secret);
    let given = hex::decode(signature.trim()).map_err(|_| mismatch())?;
    if !equal_in_constant_time(&key.sign(policy.as_bytes()), &given) {
        return Err(mismatch());
    }
    let signed = Signed { by_version_2: false, place: SignaturePlace::Form, at_s: Some(time.unix_s) };
    Ok((used(found, rules), signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Account;

    fn directory() -> Directory {
        Directory::of_root(&Account {
            access_key: "AK".to_owned(),
            secret_key: "secret".to_owned().into(),
            canonical_id: "id".to_owned(),
            display_name: String::new(),
            email: String::new(),
        })
    }

    /// 1 January 2026, noon.
    const NOW_S: i64 = 1_767_268_800;

    fn sign_by(fields: &[(&str, &str)], version_2: bool) -> Result<String, String> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let form = Form { fields, file_name: String::new() };
        let rules = Rules { directory: &directory(), region: "r", version_2, now_s: NOW_S };
        let signer = signer(&form, "cG9saWN5", rules);
        signer
            .map(|(signer, _)| signer.account().canonical_id.clone())
            .map_err(|error| error.code().as_str().to_owned())
    }

    fn sign(fields: &[(&str, &str)]) -> Result<String, String> {
        sign_by(fields, true)
    }

    fn refused(code: &str) -> Result<String, String> {
        Err(code.to_owned())
    }

    // printf cG9saWN5 | openssl dgst -sha1 -hmac secret -binary | base64
    const OLD: &str = "xjcOd3+I0tu58AF8jUmwdfvwgBU=";
    // The chain of HMAC-SHA-256 over 20260101, r, s3, aws4_request, then the policy; by Python's
    // hmac.
    const NEW: &str = "1f28568e0d0e625d5b7cf2dd095e0158eab586fd6c29c431aa77307f86974a28";

    #[test]
    fn both_signature_versions() {
        assert_eq!(sign(&[("awsaccesskeyid", "AK"), ("signature", OLD)]).as_deref(), Ok("id"));
        let off = sign_by(&[("awsaccesskeyid", "AK"), ("signature", OLD)], false);
        assert_eq!(off, refused("InvalidRequest"), "it is switched off");
        let fields = |credential, date, signature| {
            let fields = [
                ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
                ("x-amz-credential", credential),
                ("x-amz-date", date),
                ("x-amz-signature", signature),
            ];
            assert_eq!(
                sign(&[fields.as_slice(), &[("awsaccesskeyid", "AK"), ("signature", OLD)]].concat()),
                refused("InvalidArgument"),
                "two signatures"
            );
            sign_by(&fields, false)
        };
        let good = "AK/20260101/r/s3/aws4_request";
        assert_eq!(fields(good, "20260101T121400Z", NEW).as_deref(), Ok("id"));
        let malformed = refused("AuthorizationQueryParametersError");
        for (credential, date, error) in [
            ("XX/20260101/r/s3/aws4_request", "20260101T000000Z", refused("InvalidAccessKeyId")),
            ("AK/20260101", "20260101T000000Z", malformed.clone()),
            ("AK/20260101/moon/s3/aws4_request", "20260101T000000Z", malformed.clone()),
            ("AK/20260101/r/ec2/aws4_request", "20260101T000000Z", malformed.clone()),
            (good, "20251231T000000Z", malformed),
            (good, "", refused("InvalidArgument")),
            (good, "yesterday", refused("InvalidArgument")),
            (good, "20260101T121600Z", refused("AccessDenied")),
        ] {
            assert_eq!(fields(credential, date, NEW), error, "{credential} {date}");
        }
        let of_yesterday = fields("AK/20251231/r/s3/aws4_request", "20251231T000000Z", NEW);
        assert_eq!(of_yesterday, refused("SignatureDoesNotMatch"));
    }

    #[test]
    fn wrong_or_missing_signatures() {
        let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(sign(&[("awsaccesskeyid", "AK"), ("signature", wrong)]), refused("SignatureDoesNotMatch"));
        assert_eq!(sign(&[("awsaccesskeyid", "XX"), ("signature", wrong)]), refused("InvalidAccessKeyId"));
        assert_eq!(sign(&[("awsaccesskeyid", "AK")]), refused("InvalidArgument"));
    }
}
