//! This module parses `http_host`, `op` and `opmix`.

use crate::spec::{Https, ObjectOp};

const WEIGHT_MAX: u32 = 1_000_000;

/// Parses `http_host`: a host with an optional port, or the URL of an endpoint, whose scheme says
/// whether to use TLS.
///
/// # Errors
/// Fails when anything follows the host, or when the scheme is neither http nor https.
pub fn endpoint(text: &str) -> Result<(Option<Https>, String), String> {
    let (scheme, host) = match text.split_once("://") {
        Some(("http", host)) => (Some(Https::Off), host),
        Some(("https", host)) => (Some(Https::On), host),
        Some((other, _)) => {
            return Err(format!("{other:?} is no scheme of an endpoint: write http or https"));
        }
        None => (None, text),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.contains(['/', '?', '#', '@', ' ']) {
        return Err("write the endpoint alone, as in 127.0.0.1:9000; the bucket stands in bucket=".to_owned());
    }
    Ok((scheme, host.to_owned()))
}

/// Parses one operation on objects.
///
/// # Errors
/// Names the valid operations.
pub fn object_op(text: &str) -> Result<ObjectOp, String> {
    match text.trim() {
        "put" => Ok(ObjectOp::Put),
        "get" => Ok(ObjectOp::Get),
        "head" => Ok(ObjectOp::Head),
        "list" => Ok(ObjectOp::List),
        "delete" => Ok(ObjectOp::Delete),
        "copy" => Ok(ObjectOp::Copy),
        "multipart" => Ok(ObjectOp::Multipart),
        _ => Err("write put, get, head, list, delete, copy or multipart".to_owned()),
    }
}

/// Parses a mix such as `get/70:put/30`; an operation of weight 0 is left out.
///
/// # Errors
/// Returns the reason when the mix is not valid.
pub fn mix(text: &str) -> Result<Vec<(ObjectOp, u32)>, String> {
    let mut mix: Vec<(ObjectOp, u32)> = Vec::new();
    for part in text.split(':') {
        let (op, weight) =
            part.split_once('/').ok_or_else(|| format!("{part:?} has no weight: write get/70:put/30"))?;
        let op = object_op(op).map_err(|reason| format!("{op:?}: {reason}"))?;
        let weight: u32 = weight
            .trim()
            .parse()
            .ok()
            .filter(|weight| *weight <= WEIGHT_MAX)
            .ok_or_else(|| format!("{weight:?} is no weight: write a whole number up to {WEIGHT_MAX}"))?;
        if mix.iter().any(|(known, _)| *known == op) {
            return Err(format!("{part:?} comes twice"));
        }
        mix.push((op, weight));
    }
    mix.retain(|(_, weight)| *weight > 0);
    if mix.is_empty() {
        return Err("all weights are 0".to_owned());
    }
    Ok(mix)
}
