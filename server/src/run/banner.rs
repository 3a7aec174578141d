//! The text that a person sees when the server has started.

use super::ServeOptions;
use crate::auth::{Account, FirstStart};
use std::net::SocketAddr;

/// Returns the address to put into a URL: the loopback address in the place of an unspecified one.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Returns the scheme of a URL.
pub fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Returns the text that shows the accounts that this start made, if it made any. It is shown at
/// once: a start that fails later must not lose them unseen.
pub fn credentials(first: &FirstStart) -> Option<String> {
    let FirstStart::Created { path, account } = first else { return None };
    Some(format!(
        "New credentials, shown this once (kept in {}):\n  access key  {}\n  secret key  {}\n",
        path.display(),
        account.access_key,
        account.secret_key.as_str()
    ))
}

/// Returns the text that says where the server is, what `admin` says of health and metrics, and a
/// first command to copy. A secret is in it on the first start only.
pub fn ready(
    options: &ServeOptions,
    address: SocketAddr,
    admin: &str,
    root: &Account,
    first: &FirstStart,
) -> String {
    let endpoint = format!("{}://{}", scheme(options.tls.is_some()), reachable(address));
    let (access_key, secret_key) = match first {
        FirstStart::Created { account, .. } => (account.access_key.as_str(), account.secret_key.as_str()),
        FirstStart::No => (root.access_key.as_str(), "…"),
    };
    format!(
        "Ringbolt {} is ready at {endpoint}\n{}\n\nTry it:\n  AWS_ACCESS_KEY_ID={access_key} \
         AWS_SECRET_ACCESS_KEY={secret_key} AWS_DEFAULT_REGION={} aws --endpoint-url {endpoint} s3 mb s3://demo\n",
        env!("CARGO_PKG_VERSION"),
        admin,
        options.region
    )
}
