//! This module finds the address of a job's server and how to connect to it.

use super::tls::Tls;
use crate::spec::{Https, Objects};
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Describes how to connect to a server.
#[derive(Clone)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// This is `None` for plain HTTP.
    pub tls: Option<Rc<Tls>>,
}

impl Endpoint {
    /// Resolves the endpoint of a job.
    ///
    /// # Errors
    /// Fails when the host has no address, or when certificates cannot be verified.
    pub fn of(wanted: &Objects) -> Result<Self, String> {
        let port = if wanted.https == Https::Off { HTTP_PORT } else { HTTPS_PORT };
        let (address, name) = address_of(&wanted.host, port)?;
        let tls = match wanted.https {
            Https::Off => None,
            Https::On => Some(Tls::checked(name)?),
            Https::Insecure => Some(Tls::unchecked(name)?),
        };
        Ok(Self { address, tls: tls.map(Rc::new) })
    }
}

/// Resolves `host`, `host:port` or `[v6]:port`, and returns the address and the host without the
/// port.
fn address_of(host: &str, default_port: u16) -> Result<(SocketAddr, &str), String> {
    if host.is_empty() {
        return Err("http_host= is missing: the endpoint, for example 127.0.0.1:9000".into());
    }
    let (looked_up, name) = match host.to_socket_addrs() {
        Ok(addresses) => (Ok(addresses), host.rsplit_once(':').map_or(host, |(name, _)| name)),
        Err(_) => ((host.trim_matches(['[', ']']), default_port).to_socket_addrs(), host),
    };
    let mut addresses = looked_up.map_err(|error| format!("http_host={host} has no address: {error}"))?;
    let first = addresses.next().ok_or_else(|| format!("http_host={host} has no address"))?;
    Ok((first, name.trim_matches(['[', ']'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_port_or_that_of_their_protocol() {
        let address = |host: &str| address_of(host, HTTP_PORT).map(|(address, _)| address);
        assert_eq!(address("127.0.0.1:9000").unwrap(), SocketAddr::from(([127, 0, 0, 1], 9000)));
        assert_eq!(address("127.0.0.1").unwrap(), SocketAddr::from(([127, 0, 0, 1], 80)));
        assert!(address("[::1]:9000").unwrap().is_ipv6() && address("[::1]").unwrap().is_ipv6());
        assert!(address("").unwrap_err().contains("http_host"));
        let port = |https| {
            let wanted = Objects { host: "127.0.0.1".into(), https, ..Objects::default() };
            Endpoint::of(&wanted).unwrap().address.port()
        };
        assert_eq!((port(Https::Off), port(Https::Insecure)), (80, 443));
    }

    #[test]
    fn certificates_are_for_the_host_without_its_port() {
        let name = |host: &'static str| address_of(host, HTTPS_PORT).unwrap().1;
        assert_eq!((name("localhost:9000"), name("localhost")), ("localhost", "localhost"));
        assert_eq!((name("127.0.0.1:9000"), name("127.0.0.1")), ("127.0.0.1", "127.0.0.1"));
        assert_eq!((name("[::1]:9000"), name("[::1]"), name("::1")), ("::1", "::1", "::1"));
    }
}
