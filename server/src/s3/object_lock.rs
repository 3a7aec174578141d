//! Object lock: the configuration of buckets, and the retention and legal hold of versions.
//!
//! Invariant: nothing is judged here that keeps a version from being removed. The engine does that,
//! when it commits a change; here documents and headers are read, and refused where they say what
//! can not be.

use super::Server;
use super::access::Caller;
use super::change::change_attributes;
use super::configuration::{OBJECT_LOCK, missing};
use super::error::{EngineResult, coded, invalid_argument, invalid_bucket_state, invalid_request};
use super::headers::LAST_TIME_S;
use super::timestamp::timestamp;
use super::xml_reader::{XmlReader, malformed, unknown};
use crate::unix_time::now_ms;
use http::{HeaderMap, HeaderValue, StatusCode};
use ringbolt_engine::types::{
    Attributes, Bucket, BucketLock, ConfigKind, DefaultRetention, Lock, Period, Retention, RetentionMode,
    Versioning,
};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result};

pub const MODE: &str = "x-amz-object-lock-mode";
pub const UNTIL: &str = "x-amz-object-lock-retain-until-date";
pub const HOLD: &str = "x-amz-object-lock-legal-hold";
/// The header by which the owner of a bucket passes over a retention of governance.
const BYPASS: &str = "x-amz-bypass-governance-retention";
/// The longest default retention.
const DAYS_MAX: u32 = 36_500;
const YEARS_MAX: u32 = 100;

fn mode_of(text: &str) -> Option<RetentionMode> {
    match text {
        "GOVERNANCE" => Some(RetentionMode::Governance),
        "COMPLIANCE" => Some(RetentionMode::Compliance),
        _ => None,
    }
}

/// Returns the name that S3 has for a mode.
pub fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    }
}

/// Parses the time until which a version is retained. Returns None for what is no time, or one
/// before 1970 or after 9999.
pub fn parse_until(text: &str) -> Option<u64> {
    let parsed =
        time::OffsetDateTime::parse(text.trim(), &time::format_description::well_known::Iso8601::DEFAULT);
    let until_ms = u64::try_from(parsed.ok()?.unix_timestamp_nanos() / 1_000_000).ok()?;
    (until_ms / 1000 <= LAST_TIME_S).then_some(until_ms)
}

/// Checks that a version is not retained until a time that has passed.
fn check_until(until_ms: u64) -> S3Result<()> {
    if until_ms > now_ms() {
        Ok(())
    } else {
        Err(invalid_argument("The retain until date must be in the future!"))
    }
}

fn check_locked(bucket: &Bucket) -> S3Result<()> {
    match bucket.lock {
        Some(_) => Ok(()),
        None => Err(invalid_request("Bucket is missing Object Lock Configuration")),
    }
}

/// Returns whether a request asks to pass over a retention of governance. Whether it may is judged elsewhere.
pub fn bypasses(headers: &HeaderMap) -> bool {
    headers.get(BYPASS).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

/// Writes the lock that the headers of a request give its object among the attributes. Fails if they
/// say what can not be, or if the bucket has no object lock.
pub fn lock_by_headers(headers: &HeaderMap, bucket: &Bucket, attributes: &mut Attributes) -> S3Result<()> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let (mode, until, hold) = (text(MODE), text(UNTIL), text(HOLD));
    if mode.is_none() && until.is_none() && hold.is_none() {
        return Ok(());
    }
    check_locked(bucket)?;
    let retention = match (mode, until) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_of(&mode).ok_or_else(|| invalid_argument("Unknown wormMode directive."))?;
            let until_ms = parse_until(&until).ok_or_else(|| {
                invalid_argument("The retain until date must be provided in ISO 8601 format")
            })?;
            check_until(until_ms)?;
            Some(Retention { mode, until_ms })
        }
        _ => return Err(invalid_argument(format!("{UNTIL} and {MODE} must both be supplied"))),
    };
    Lock { retention, hold: false }.write(attributes);
    match hold.as_deref() {
        None => {}
        Some("ON") => Lock::write_hold(true, attributes),
        Some("OFF") => Lock::write_hold(false, attributes),
        Some(_) => return Err(invalid_argument("Legal Hold must be either of 'ON' or 'OFF'")),
    }
    Ok(())
}

/// Adds the headers that show the lock of a version.
pub fn add_lock(headers: &mut HeaderMap, attributes: &Attributes) {
    let lock = Lock::of(attributes);
    if let Some(retention) = lock.retention {
        headers.insert(MODE, HeaderValue::from_static(mode_name(retention.mode)));
        if let Ok(until) = HeaderValue::try_from(iso_8601(retention.until_ms)) {
            headers.insert(UNTIL, until);
        }
    }
    if Lock::hold_was_set(attributes) {
        headers.insert(HOLD, HeaderValue::from_static(if lock.hold { "ON" } else { "OFF" }));
    }
}

fn iso_8601(unix_ms: u64) -> String {
    let mut text = Vec::new();
    let shown = timestamp(unix_ms.min(LAST_TIME_S * 1000));
    if shown.format(TimestampFormat::DateTime, &mut text).is_err() {
        return String::new();
    }
    String::from_utf8(text).unwrap_or_default()
}

/// The document of PutObjectLockConfiguration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockDocument(BucketLock);

impl LockDocument {
    /// Reads the document. Fails if it is malformed, or if the period is not allowed.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("ObjectLockConfiguration")?;
        let (mut enabled, mut default) = (false, None);
        while let Some(name) = reader.child()? {
            match name.as_str() {
                "ObjectLockEnabled" if reader.text()?.trim() == "Enabled" => enabled = true,
                "ObjectLockEnabled" => return Err(malformed("ObjectLockEnabled is not Enabled")),
                "Rule" if default.is_none() => default = Some(read_rule(&mut reader)?),
                "Rule" => return Err(malformed("there is more than one Rule")),
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        if !enabled {
            return Err(malformed("there is no ObjectLockEnabled"));
        }
        Ok(Self(BucketLock { default }))
    }
}

fn read_rule(reader: &mut XmlReader<'_>) -> S3Result<DefaultRetention> {
    let mut retention = None;
    while let Some(name) = reader.child()? {
        match name.as_str() {
            "DefaultRetention" if retention.is_none() => retention = Some(read_default(reader)?),
            _ => return Err(malformed(format_args!("the element {name:?} is unknown or stands twice"))),
        }
    }
    retention.ok_or_else(|| malformed("a Rule has no DefaultRetention"))
}

fn read_default(reader: &mut XmlReader<'_>) -> S3Result<DefaultRetention> {
    let (mut mode, mut period) = (None, None);
    while let Some(name) = reader.child()? {
        let text = reader.text()?;
        let text = text.trim();
        match name.as_str() {
            "Mode" if mode.is_none() => {
                let known = mode_of(text);
                mode = Some(known.ok_or_else(|| malformed("Mode is neither GOVERNANCE nor COMPLIANCE"))?);
            }
            "Days" if period.is_none() => period = Some(Period::Days(parse_period(text, DAYS_MAX)?)),
            "Years" if period.is_none() => period = Some(Period::Years(parse_period(text, YEARS_MAX)?)),
            _ => return Err(malformed(format_args!("{name:?} is unknown, or stands beside another period"))),
        }
    }
    match (mode, period) {
        (Some(mode), Some(period)) => Ok(DefaultRetention { mode, period }),
        _ => Err(malformed("a DefaultRetention has no Mode, or neither Days nor Years")),
    }
}

fn parse_period(text: &str, most: u32) -> S3Result<u32> {
    let number: i64 = text.parse().map_err(|_| malformed("a period is no number"))?;
    u32::try_from(number).ok().filter(|number| (1..=most).contains(number)).ok_or_else(|| {
        let message =
            format!("Default retention period must be a positive integer value up to {most}; it is {number}");
        coded("InvalidRetentionPeriod", StatusCode::BAD_REQUEST, message)
    })
}

/// The document of PutObjectRetention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionDocument(Option<Retention>);

impl RetentionDocument {
    /// Reads the document. An empty one removes the retention. Fails if it is malformed.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("Retention")?;
        let (mut mode, mut until) = (None, None);
        while let Some(name) = reader.child()? {
            let text = reader.text()?;
            match name.as_str() {
                "Mode" if mode.is_none() => {
                    let known = mode_of(text.trim());
                    mode = Some(known.ok_or_else(|| malformed("Mode is neither GOVERNANCE nor COMPLIANCE"))?);
                }
                "RetainUntilDate" if until.is_none() => {
                    let parsed = parse_until(&text);
                    until = Some(parsed.ok_or_else(|| malformed("RetainUntilDate is no time of ISO 8601"))?);
                }
                _ => return Err(malformed(format_args!("the element {name:?} is unknown or stands twice"))),
            }
        }
        reader.end()?;
        match (mode, until) {
            (None, None) => Ok(Self(None)),
            (Some(mode), Some(until_ms)) => Ok(Self(Some(Retention { mode, until_ms }))),
            _ => Err(malformed("a Retention has a Mode and a RetainUntilDate, or neither")),
        }
    }
}

/// The document of PutObjectLegalHold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldDocument {
    on: bool,
}

impl HoldDocument {
    /// Reads the document. Fails if it is malformed.
    pub fn read(mut reader: XmlReader<'_>) -> S3Result<Self> {
        reader.root("LegalHold")?;
        let mut on = None;
        while let Some(name) = reader.child()? {
            match (name.as_str(), reader.text()?.trim()) {
                ("Status", "ON") if on.is_none() => on = Some(true),
                ("Status", "OFF") if on.is_none() => on = Some(false),
                ("Status", _) => return Err(malformed("Status is neither ON nor OFF, or stands twice")),
                _ => return Err(unknown(&name)),
            }
        }
        reader.end()?;
        on.map(|on| Self { on }).ok_or_else(|| malformed("there is no Status"))
    }
}

/// Answers PutObjectLockConfiguration.
pub async fn put_object_lock_configuration(
    server: &Server,
    mut request: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(document) = request.extensions.remove::<LockDocument>() else {
        return Err(malformed("the document is missing"));
    };
    if bucket.versioning != Versioning::Enabled {
        return Err(invalid_bucket_state(
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration".to_owned(),
        ));
    }
    let value = Some(document.0.encode());
    server.core.set_bucket_config(bucket.id, ConfigKind::LOCK, value).await.s3()?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

/// Answers GetObjectLockConfiguration.
pub async fn get_object_lock_configuration(
    server: &Server,
    mut request: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let bucket = server.bucket_of(&caller, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let Some(lock) = bucket.lock else { return missing(OBJECT_LOCK) };
    let rule = lock.default.map(|default| {
        let (days, years) = match default.period {
            Period::Days(days) => (Some(days), None),
            Period::Years(years) => (None, Some(years)),
        };
        let number = |period: Option<u32>| period.and_then(|period| i32::try_from(period).ok());
        ObjectLockRule {
            default_retention: Some(s3s::dto::DefaultRetention {
                mode: Some(ObjectLockRetentionMode::from_static(mode_name(default.mode))),
                days: number(days),
                years: number(years),
            }),
        }
    });
    let enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    let configuration = ObjectLockConfiguration { object_lock_enabled: enabled, rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) }))
}

/// Answers PutObjectRetention.
pub async fn put_object_retention(
    server: &Server,
    mut request: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let mut caller = Caller::take(&mut request);
    let input = request.input;
    let Some(RetentionDocument(retention)) = request.extensions.remove::<RetentionDocument>() else {
        return Err(malformed("the document is missing"));
    };
    caller.said.retention = retention;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let bypass = server.may_bypass(&caller, &bucket, &input.key);
    check_locked(&bucket)?;
    if let Some(retention) = retention {
        check_until(retention.until_ms)?;
    }
    let named = (input.key.as_str(), input.version_id.as_deref());
    let changed = change_attributes((server, &caller), &bucket, named, bypass, |attributes| {
        Lock { retention, ..Lock::of(attributes) }.write(attributes);
        Ok(())
    });
    changed.await?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

/// Makes the error for a version that has no lock of this kind: 404.
fn no_lock() -> S3Error {
    let message = "The specified object does not have a ObjectLock configuration";
    coded("NoSuchObjectLockConfiguration", StatusCode::NOT_FOUND, message)
}

/// Answers GetObjectRetention.
pub async fn get_object_retention(
    server: &Server,
    mut request: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let (info, _) = server.find_version(&caller, &bucket, (&input.key, input.version_id.as_deref())).await?;
    check_locked(&bucket)?;
    let retention = Lock::of(&info.attributes).retention.ok_or_else(no_lock)?;
    Ok(S3Response::new(GetObjectRetentionOutput {
        retention: Some(ObjectLockRetention {
            mode: Some(ObjectLockRetentionMode::from_static(mode_name(retention.mode))),
            retain_until_date: Some(timestamp(retention.until_ms.min(LAST_TIME_S * 1000))),
        }),
    }))
}

/// Answers PutObjectLegalHold.
pub async fn put_object_legal_hold(
    server: &Server,
    mut request: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let mut caller = Caller::take(&mut request);
    let input = request.input;
    let Some(document) = request.extensions.remove::<HoldDocument>() else {
        return Err(malformed("the document is missing"));
    };
    caller.said.hold = Some(document.on);
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    check_locked(&bucket)?;
    let named = (input.key.as_str(), input.version_id.as_deref());
    let changed = change_attributes((server, &caller), &bucket, named, false, |attributes| {
        Lock::write_hold(document.on, attributes);
        Ok(())
    });
    changed.await?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

/// Answers GetObjectLegalHold.
pub async fn get_object_legal_hold(
    server: &Server,
    mut request: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let caller = Caller::take(&mut request);
    let input = request.input;
    let target = (input.bucket.as_str(), input.key.as_str(), input.version_id.as_deref());
    let bucket = server.bucket_of_key(&caller, target, input.expected_bucket_owner.as_deref()).await?;
    let (info, _) = server.find_version(&caller, &bucket, (&input.key, input.version_id.as_deref())).await?;
    check_locked(&bucket)?;
    if !Lock::hold_was_set(&info.attributes) {
        return Err(no_lock());
    }
    let status = if Lock::of(&info.attributes).hold { "ON" } else { "OFF" };
    let legal_hold = ObjectLockLegalHold { status: Some(ObjectLockLegalHoldStatus::from_static(status)) };
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(legal_hold) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: S3Result<T>) -> Option<String> {
        result.err().map(|error| error.code().as_str().to_owned())
    }

    fn lock_of(inner: &str) -> S3Result<BucketLock> {
        let text = format!("<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>");
        LockDocument::read(XmlReader::new(text.as_bytes(), 100)?).map(|document| document.0)
    }

    fn rule(inner: &str) -> String {
        format!(
            "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"
        )
    }

    #[test]
    fn a_bucket_s_lock_has_one_period_within_limits() {
        assert_eq!(
            lock_of("<ObjectLockEnabled>Enabled</ObjectLockEnabled>").ok(),
            Some(BucketLock::default())
        );
        let default = |inner: &str| lock_of(&rule(inner)).map(|lock| lock.default);
        for (inner, period) in [
            ("<Mode>GOVERNANCE</Mode><Days>1</Days>", Period::Days(1)),
            ("<Days>36500</Days><Mode>GOVERNANCE</Mode>", Period::Days(36_500)),
            ("<Mode>GOVERNANCE</Mode><Years>100</Years>", Period::Years(100)),
        ] {
            let mode = RetentionMode::Governance;
            assert_eq!(default(inner).ok().flatten(), Some(DefaultRetention { mode, period }), "{inner}");
        }
        for (inner, expected) in [
            ("<Mode>GOVERNANCE</Mode><Days>0</Days>", "InvalidRetentionPeriod"),
            ("<Mode>GOVERNANCE</Mode><Years>-1</Years>", "InvalidRetentionPeriod"),
            ("<Mode>GOVERNANCE</Mode><Days>36501</Days>", "InvalidRetentionPeriod"),
            ("<Mode>GOVERNANCE</Mode><Years>101</Years>", "InvalidRetentionPeriod"),
            ("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>", "MalformedXML"),
            ("<Mode>governance</Mode><Days>1</Days>", "MalformedXML"),
            ("<Mode>GOVERNANCE</Mode>", "MalformedXML"),
            ("<Days>1</Days>", "MalformedXML"),
            ("<Mode>GOVERNANCE</Mode><Days>x</Days>", "MalformedXML"),
        ] {
            assert_eq!(code(default(inner)).as_deref(), Some(expected), "{inner}");
        }
        for bad in ["", "<ObjectLockEnabled>Disabled</ObjectLockEnabled>", "<Rule/>"] {
            assert_eq!(code(lock_of(bad)).as_deref(), Some("MalformedXML"), "{bad}");
        }
    }

    #[test]
    fn a_retention_is_whole_or_none() {
        let read = |inner: &str| {
            let text = format!("<Retention>{inner}</Retention>");
            RetentionDocument::read(XmlReader::new(text.as_bytes(), 100)?).map(|document| document.0)
        };
        assert_eq!(read("").ok(), Some(None));
        for date in ["2140-01-01T00:00:00Z", "2140-01-01T00:00:00.000Z", "2140-01-01T01:00:00+01:00"] {
            let inner = format!("<Mode>COMPLIANCE</Mode><RetainUntilDate>{date}</RetainUntilDate>");
            let expected = Retention { mode: RetentionMode::Compliance, until_ms: 5_364_662_400_000 };
            assert_eq!(read(&inner).ok().flatten(), Some(expected), "{date}");
        }
        for bad in [
            "<Mode>GOVERNANCE</Mode>",
            "<RetainUntilDate>2140-01-01T00:00:00Z</RetainUntilDate>",
            "<Mode>abc</Mode><RetainUntilDate>2140-01-01T00:00:00Z</RetainUntilDate>",
            "<Mode>GOVERNANCE</Mode><RetainUntilDate>tomorrow</RetainUntilDate>",
            "<Mode>GOVERNANCE</Mode><RetainUntilDate>1960-01-01T00:00:00Z</RetainUntilDate>",
        ] {
            assert_eq!(code(read(bad)).as_deref(), Some("MalformedXML"), "{bad}");
        }
    }

    #[test]
    fn a_hold_is_on_or_off() {
        let read = |inner: &str| {
            let text = format!("<LegalHold>{inner}</LegalHold>");
            HoldDocument::read(XmlReader::new(text.as_bytes(), 100)?).map(|document| document.on)
        };
        assert_eq!(read("<Status>ON</Status>").ok(), Some(true));
        assert_eq!(read("<Status>OFF</Status>").ok(), Some(false));
        for bad in ["", "<Status>abc</Status>", "<Status>ON</Status><Status>OFF</Status>"] {
            assert_eq!(code(read(bad)).as_deref(), Some("MalformedXML"), "{bad}");
        }
    }

    fn by_headers(list: &[(&'static str, &'static str)], locked: bool) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let bucket = Bucket { lock: locked.then(BucketLock::default), ..super::super::testing_bucket() };
        let mut attributes = Attributes::new();
        lock_by_headers(&headers, &bucket, &mut attributes)
            .map_err(|error| error.code().as_str().to_owned())?;
        let mut shown = HeaderMap::new();
        add_lock(&mut shown, &attributes);
        Ok(shown)
    }

    #[test]
    fn headers_lock_an_object_and_show_it() {
        let given = [(MODE, "GOVERNANCE"), (UNTIL, "2140-01-01T00:00:00Z"), (HOLD, "ON")];
        let shown = by_headers(&given, true).unwrap();
        assert_eq!((&shown[MODE], &shown[HOLD]), (&"GOVERNANCE".parse().unwrap(), &"ON".parse().unwrap()));
        assert!(shown[UNTIL].to_str().unwrap().starts_with("2140-01-01T00:00:00"), "{shown:?}");
        assert_eq!(by_headers(&given, false).err().as_deref(), Some("InvalidRequest"));
        assert_eq!(by_headers(&[], false).unwrap(), HeaderMap::new());
        assert_eq!(by_headers(&[(HOLD, "OFF")], true).unwrap()[HOLD], "OFF");
        for bad in [
            &[(MODE, "GOVERNANCE")][..],
            &[(UNTIL, "2140-01-01T00:00:00Z")],
            &[(MODE, "governance"), (UNTIL, "2140-01-01T00:00:00Z")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "2001-01-01T00:00:00Z")],
            &[(MODE, "GOVERNANCE"), (UNTIL, "soon")],
            &[(HOLD, "on")],
        ] {
            assert_eq!(by_headers(bad, true).err().as_deref(), Some("InvalidArgument"), "{bad:?}");
        }
    }
}
