//! What a person sees when the server has started.

use super::ServeOptions;
use crate::auth::{Accounts, FirstStart};
use std::net::SocketAddr;

/// The address to put into a URL: an unspecified one is not reachable as such.
fn reachable(address: SocketAddr) -> SocketAddr {
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

/// The text for stdout. Secrets are in it on the first start only.
pub fn banner(
    options: &ServeOptions,
    address: SocketAddr,
    accounts: &Accounts,
    first: &FirstStart,
) -> String {
    let endpoint = format!("http://{}", reachable(address));
    let mut text = format!("Ringbolt {} is ready at {endpoint}\n", env!("CARGO_PKG_VERSION"));
    let (access_key, secret_key) = match first {
        FirstStart::Created { path, account } => {
            text.push_str(&format!(
                "\nNew credentials, shown this once (kept in {}):\n  access key  {}\n  secret key  {}\n",
                path.display(),
                account.access_key,
                account.secret_key
            ));
            (account.access_key.as_str(), account.secret_key.as_str())
        }
        FirstStart::No => (accounts.all().first().map_or("…", |account| &account.access_key), "…"),
    };
    text.push_str(&format!(
        "\nTry it:\n  AWS_ACCESS_KEY_ID={access_key} AWS_SECRET_ACCESS_KEY={secret_key} AWS_DEFAULT_REGION={} \
         aws --endpoint-url {endpoint} s3 mb s3://demo\n",
        options.region
    ));
    text
}
