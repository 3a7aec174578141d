//! The client of a request: its address, and whether it speaks TLS. A proxy in front of this server
//! says both for it, if the operator trusts that proxy.
//!
//! Invariants:
//! - What a request says of its client counts only if it comes from a trusted proxy, by the address of
//!   its connection. Whatever anybody else sends is passed over.
//! - A client has an address, always: policies that refuse addresses would be passed by one without.
//!   A trusted proxy that names its client by something else is refused.
//! - Of X-Forwarded-For the rightmost address counts that is no trusted proxy's: what stands before it
//!   came from the client, and may say anything.
//!
//! `Forwarded` (RFC 7239) is deliberately passed over: a proxy that sets only one of the two families
//! sends the other on as its client made it up.

use crate::network::Network;
use http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// The client of a connection or a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub address: IpAddr,
    /// Tells whether it speaks TLS to the proxy that it reached first.
    pub is_secure: bool,
    /// The version of TLS, if a proxy said it, as in `1.3`.
    pub tls_version: Option<&'static str>,
}

impl Default for Client {
    fn default() -> Self {
        Self::at(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

impl Client {
    /// Makes a client at this address, without TLS. An IPv4 address that IPv6 wraps is one of IPv4.
    pub fn at(address: IpAddr) -> Self {
        Self { address: address.to_canonical(), is_secure: false, tls_version: None }
    }

    /// Returns the scheme of the addresses that the client knows.
    pub fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// The error of a trusted proxy that does not say who its client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trusted proxy names no address of its client")]
pub struct NoAddress;

/// The proxies that are trusted to say who their clients are.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<Network>,
    /// Tells whether their connections begin with a header of the PROXY protocol.
    pub speak_proxy_protocol: bool,
}

impl TrustedProxies {
    /// Trusts the addresses of these networks.
    pub fn new(networks: Vec<Network>, speak_proxy_protocol: bool) -> Self {
        Self { networks, speak_proxy_protocol }
    }

    /// Returns whether an address is that of a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Returns the client of a request that came over the connection of `peer`.
    pub fn client_of(&self, peer: Client, headers: &HeaderMap) -> Result<Client, NoAddress> {
        // Where connections say who their client is, headers are the client's own.
        if self.speak_proxy_protocol || !self.contains(peer.address) {
            return Ok(peer);
        }
        let address = self.behind(peer.address, headers)?;
        // How the proxy itself speaks to this server says nothing of its client.
        let mut client = if address == peer.address { peer } else { Client::at(address) };
        let mut schemes = values(headers, FORWARDED_PROTO).peekable();
        if schemes.peek().is_some() {
            // Several proxies may have added one each: one that was reached without TLS is enough.
            client.is_secure = schemes.all(|scheme| scheme.eq_ignore_ascii_case("https"));
            client.tls_version = None;
        }
        Ok(client)
    }

    /// Returns the address of the client behind the proxy at `address`, which is trusted.
    fn behind(&self, mut address: IpAddr, headers: &HeaderMap) -> Result<IpAddr, NoAddress> {
        let named: Vec<&str> = values(headers, FORWARDED_FOR).collect();
        for text in named.into_iter().rev() {
            if !self.contains(address) {
                break;
            }
            address = parse_address(text).ok_or(NoAddress)?;
        }
        Ok(address)
    }
}

/// Returns the members of a list that may come in several headers, from left to right. One that is no
/// ASCII is empty.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim))
}

/// Parses an address as proxies write it: bare or in brackets, with a port or without.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|text| Network::parse(text).unwrap());
        TrustedProxies::new(networks.to_vec(), false)
    }

    fn client_of(peer: &str, headers: &[(&'static str, &str)]) -> Result<(String, &'static str), NoAddress> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value): (http::HeaderName, _)| _ = map.append(name, value));
        let client = proxies().client_of(Client::at(peer.parse().unwrap()), &map)?;
        Ok((client.address.to_string(), client.scheme()))
    }

    fn is(address: &str, scheme: &'static str) -> Result<(String, &'static str), NoAddress> {
        Ok((address.to_owned(), scheme))
    }

    #[test]
    fn what_others_than_trusted_proxies_say_is_passed_over() {
        let said = [("x-forwarded-for", "10.1.1.1"), ("x-forwarded-proto", "https")];
        assert_eq!(client_of("192.0.2.7", &said), is("192.0.2.7", "http"));
        assert_eq!(client_of("::ffff:192.0.2.7", &said), is("192.0.2.7", "http"));
        assert_eq!(
            client_of("10.0.0.1", &[("forwarded", "for=1.2.3.4;proto=https")]),
            is("10.0.0.1", "http")
        );
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_counts() {
        for (said, expected) in [
            ("203.0.113.9", "203.0.113.9"),
            ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("garbage, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 10.2.2.2", "203.0.113.9"),
            ("1.1.1.1,203.0.113.9 , 10.2.2.2,2001:db8::1", "203.0.113.9"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2a00::1]:443", "2a00::1"),
            ("[2a00::1]", "2a00::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(client_of("10.0.0.1", &[("x-forwarded-for", said)]), is(expected, "http"), "{said}");
        }
        let two = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9")];
        assert_eq!(client_of("2001:db8::9", &two), is("203.0.113.9", "http"));
        assert_eq!(client_of("10.0.0.1", &[]), is("10.0.0.1", "http"));
    }

    #[test]
    fn a_trusted_proxy_must_name_an_address() {
        for said in
            ["", "unknown", "_hidden", "203.0.113.9, unknown", "203.0.113.9,", "203.0.113", "1.2.3.4:x"]
        {
            assert_eq!(client_of("10.0.0.1", &[("x-forwarded-for", said)]), Err(NoAddress), "{said}");
        }
    }

    /// A proxy that reaches this server over TLS says nothing by that of its client.
    #[test]
    fn how_a_proxy_itself_speaks_does_not_count() {
        let by_tls =
            Client { is_secure: true, tls_version: Some("1.3"), ..Client::at("10.0.0.1".parse().unwrap()) };
        let of = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            let client = proxies().client_of(by_tls, &map).unwrap();
            (client.is_secure, client.tls_version)
        };
        assert_eq!(of(&[]), (true, Some("1.3")), "the proxy asks for itself");
        let named = ("x-forwarded-for", "203.0.113.9");
        assert_eq!(of(&[named]), (false, None));
        assert_eq!(of(&[named, ("x-forwarded-proto", "https")]), (true, None));
        assert_eq!(of(&[("x-forwarded-proto", "http")]), (false, None));
    }

    #[test]
    fn a_client_is_secure_if_every_proxy_says_so() {
        for (said, expected) in [
            ("https", "https"),
            ("HTTPS", "https"),
            ("https, https", "https"),
            ("https, http", "http"),
            ("http", "http"),
            ("javascript", "http"),
            ("", "http"),
        ] {
            let found = client_of("10.0.0.1", &[("x-forwarded-proto", said)]);
            assert_eq!(found, is("10.0.0.1", expected), "{said}");
        }
    }
}
