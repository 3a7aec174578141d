//! The receipt of a write, for clients that ask for it: on how many drives it is, and in which view of the drives it
//! was made durable.

use super::Server;
use super::access::Caller;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use ringbolt_engine::node::{Durability, ObjectWriter, Receipt};
use ringbolt_engine::types::{BucketId, ObjectInfo, Version};

/// The header by which a request asks for a receipt, whatever its value, and of the answer that has it.
pub const DURABILITY: HeaderName = HeaderName::from_static("x-ringbolt-durability");

/// Returns whether a request asks for a receipt.
fn is_asked(caller: &Caller) -> bool {
    caller.headers.contains_key(DURABILITY)
}

/// Asks for the receipt of a body if the request does.
pub fn ask(caller: &Caller, writer: &mut ObjectWriter) -> Option<Receipt> {
    is_asked(caller).then(|| writer.receipt())
}

/// Returns the receipt of a version that was just committed, if the request asks for it and it is still there. That a
/// receipt can not be had changes nothing about the commit.
pub async fn of_version(
    server: &Server,
    caller: &Caller,
    (bucket, key): (BucketId, &[u8]),
    info: &ObjectInfo,
) -> Option<Durability> {
    if !is_asked(caller) {
        return None;
    }
    server.core.durability(bucket, key, Version::Generation(info.generation)).await.ok().flatten()
}

/// Adds a receipt to the headers of an answer.
pub fn add(headers: &mut HeaderMap, durability: Option<Durability>) {
    if let Some(text) = durability.map(text_of)
        && let Ok(value) = HeaderValue::try_from(text)
    {
        headers.insert(DURABILITY, value);
    }
}

fn text_of(Durability { copies, stripe, view: (epoch, counter), is_degraded }: Durability) -> String {
    let stripe = stripe.map(|(data, parity)| format!("stripe={data}+{parity}; ")).unwrap_or_default();
    let degraded = if is_degraded { "yes" } else { "no" };
    format!("copies={copies}; {stripe}view={epoch}.{counter}; degraded={degraded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_says_where_a_write_is() {
        let mut headers = HeaderMap::new();
        add(&mut headers, None);
        assert!(headers.is_empty());
        let durability = Durability { copies: 3, stripe: Some((4, 2)), view: (7, 2), is_degraded: false };
        add(&mut headers, Some(durability));
        assert_eq!(headers[DURABILITY], "copies=3; stripe=4+2; view=7.2; degraded=no");
        add(&mut headers, Some(Durability { copies: 2, stripe: None, is_degraded: true, ..durability }));
        assert_eq!(headers[DURABILITY], "copies=2; view=7.2; degraded=yes");
    }
}
