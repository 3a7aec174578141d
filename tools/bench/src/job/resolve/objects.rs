//! This module resolves objects and the endpoint that stores them.

use super::fields::Fields;
use crate::job::parser::Surroundings;
use crate::job::units::MILLISECOND;
use crate::job::values;
use crate::spec::{ClientWait, HttpMode, Https, Job, ObjectOp, Objects};
use ringbolt_tool_common::redundancy;
use ringbolt_tool_common::s3::limits::{BODY_BYTES_MAX, PART_BYTES_MIN};

const PART_BYTES_DEFAULT: u64 = 8 << 20;

/// Returns objects with every default set.
pub fn blank() -> Objects {
    Objects { host: "127.0.0.1:9000".to_owned(), part_bytes: PART_BYTES_DEFAULT, ..Objects::default() }
}

/// Sets the fields of objects. It runs after the distribution of places is known.
pub fn fill(job: &mut Job, fields: &Fields<'_>, around: &Surroundings<'_>) {
    let from_environment = |names: [&str; 2]| names.iter().find_map(|name| (around.environment)(name));
    let text = |key: &str| fields.text(key).map(str::to_owned);
    let objects = &mut job.objects;
    let default = blank();
    let endpoint = fields.special("http_host", values::endpoint);
    let by_scheme = endpoint.as_ref().and_then(|(scheme, _)| *scheme);
    objects.host = endpoint.map_or(default.host, |(_, host)| host);
    objects.region = text("http_s3_region").unwrap_or(default.region);
    objects.access_key = text("http_s3_keyid")
        .or_else(|| from_environment(["RINGBOLT_ACCESS_KEY", "AWS_ACCESS_KEY_ID"]))
        .unwrap_or_default();
    objects.secret_key = text("http_s3_key")
        .or_else(|| from_environment(["RINGBOLT_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"]))
        .unwrap_or_default();
    let https = fields.special("https", |text| match text {
        "off" => Ok(Https::Off),
        "on" => Ok(Https::On),
        "insecure" => Ok(Https::Insecure),
        _ => Err("write off, on or insecure".to_owned()),
    });
    match (by_scheme, https) {
        (Some(Https::Off), Some(Https::On | Https::Insecure)) | (Some(Https::On), Some(Https::Off)) => {
            let reason = "http_host and https say different things: leave https out, or the scheme";
            fields.refuse(&["http_host", "https"], reason);
        }
        _ => objects.https = https.or(by_scheme).unwrap_or(Https::Off),
    }
    fields.special("http_mode", |text| match text {
        "s3" => Ok(HttpMode::S3),
        "swift" | "webdav" => Err("fio has it, not built here: only s3 is".to_owned()),
        _ => Err("write s3".to_owned()),
    });
    objects.bucket = text("bucket").or_else(|| fio_bucket(fields)).unwrap_or(default.bucket);
    objects.objects = fields.number("objects", 1..=u64::MAX).unwrap_or(0);
    objects.key_distribution =
        fields.special("keydist", values::distribution).unwrap_or_else(|| job.distribution.read.clone());
    objects.part_bytes = part_bytes(fields);
    objects.range_bytes = fields.size("range_size").filter(|bytes| *bytes > 0);
    objects.redundancy = fields
        .special("redundancy", |text| redundancy::parse(text).ok_or_else(|| redundancy::CHOICES.to_owned()));
    if let Some(timeout_ns) = fields.time("request_timeout") {
        if timeout_ns < MILLISECOND {
            fields.refuse(&["request_timeout"], "request_timeout has to be at least 1ms");
        }
        objects.timeout_ns = timeout_ns;
    }
    let client_wait = fields.special("client_wait", |text| match text {
        "auto" => Ok(ClientWait::Auto),
        "poll" => Ok(ClientWait::Poll),
        "sleep" => Ok(ClientWait::Sleep),
        _ => Err("write poll, sleep or auto".to_owned()),
    });
    objects.client_wait = client_wait.unwrap_or_default();
    objects.ops = operations(fields);
}

/// Returns the bucket in the path of `filename`, as fio's http engine takes it.
fn fio_bucket(fields: &Fields<'_>) -> Option<String> {
    let path = fields.text("filename").filter(|_| fields.text("ioengine") == Some("http"))?;
    let bucket = path.strip_prefix('/')?.split('/').next()?;
    (!bucket.is_empty()).then(|| bucket.to_owned())
}

fn part_bytes(fields: &Fields<'_>) -> u64 {
    let bytes = fields.special("part_size", |text| match fields.units.size(text)? {
        bytes if (PART_BYTES_MIN..=BODY_BYTES_MAX).contains(&bytes) => Ok(bytes),
        bytes => Err(format!("{bytes} bytes: S3 has parts of 5m to 5g")),
    });
    bytes.unwrap_or(PART_BYTES_DEFAULT)
}

fn operations(fields: &Fields<'_>) -> Option<Vec<(ObjectOp, u32)>> {
    let mix = fields.special("opmix", values::mix);
    match (fields.text("op"), &mix) {
        (Some("mixed"), None) => {
            fields.refuse(&["opmix", "op"], "op=mixed needs opmix, as in opmix=get/70:put/30");
        }
        (Some("mixed") | None, _) => {}
        (Some(op), Some(_)) => {
            let reason = format!("op={op} is one operation, opmix several: leave one out");
            fields.refuse(&["op", "opmix"], reason);
        }
        (Some(_), None) => return fields.special("op", values::object_op).map(|op| vec![(op, 1)]),
    }
    mix
}
