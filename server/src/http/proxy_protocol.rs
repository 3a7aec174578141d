//! Version 2 of the PROXY protocol (haproxy.org, proxy-protocol.txt, 2.2): the header by which a proxy
//! that forwards connections says who its client is.
//!
//! Invariants:
//! - A header is read only from a trusted proxy, before the first byte of HTTP, and exactly to its end.
//! - It is taken whole or the connection ends: without its address, policies would judge another
//!   client. Of its additions only those are used that say something of TLS; one that is no addition,
//!   or a checksum that is wrong, ends the connection too.
//! - Its length is bounded by [`HEADER_BYTES_MAX`], and its time by that of a request's head.
//!
//! Version 1, a line of text, is deliberately absent.

use super::io::Socket;
use crate::client::Client;
use crc_fast::CrcAlgorithm;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The part of a header that is always there: signature, command, family, length.
const FIXED_BYTES: usize = 16;
/// The longest header, in bytes. A certificate of a client fits.
const HEADER_BYTES_MAX: usize = 8 << 10;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP_4: u8 = 0x11;
const TCP_6: u8 = 0x21;

const TYPE_CRC32C: u8 = 0x03;
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_SSL_VERSION: u8 = 0x21;
/// The bit that says that the client came over TLS.
const CLIENT_SSL: u8 = 0x01;

/// The reason why a header is not acceptable.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    #[error("it does not begin with a header of the PROXY protocol, version 2")]
    NotOne,
    #[error("its command is {0:#04x}, which is neither LOCAL nor PROXY of version 2")]
    Command(u8),
    #[error("its family is {0:#04x}, which is neither TCP over IPv4 nor over IPv6")]
    Family(u8),
    #[error("it has {length} bytes; the most is {HEADER_BYTES_MAX}")]
    TooLong { length: usize },
    #[error("it is too short for what it says")]
    TooShort,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("the connection ended within it: {0}")]
    Connection(#[from] io::Error),
}

/// Reads the header at the start of a connection. Returns the client that it names, or `peer`, who sent
/// it, if the proxy speaks for itself.
pub async fn read(socket: &Socket, peer: Client) -> Result<Client, ProxyHeaderError> {
    let mut header = socket.receive_exact(FIXED_BYTES).await?;
    let length = rest_length(&header)?;
    header.extend(socket.receive_exact(length).await?);
    parse(&header, peer)
}

/// Returns how many bytes follow the fixed part of a header.
fn rest_length(fixed: &[u8]) -> Result<usize, ProxyHeaderError> {
    let [signature @ .., _, _, high, low] = fixed else { return Err(ProxyHeaderError::TooShort) };
    if *signature != SIGNATURE {
        return Err(ProxyHeaderError::NotOne);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > HEADER_BYTES_MAX {
        return Err(ProxyHeaderError::TooLong { length });
    }
    Ok(length)
}

/// Reads a whole header. Fails if anything of it is not as the specification says.
pub(crate) fn parse(header: &[u8], peer: Client) -> Result<Client, ProxyHeaderError> {
    let (fixed, rest) = header.split_at_checked(FIXED_BYTES).ok_or(ProxyHeaderError::TooShort)?;
    if rest_length(fixed)? != rest.len() {
        return Err(ProxyHeaderError::TooShort);
    }
    let (command, family) = (fixed[12], fixed[13]);
    match command {
        // The proxy itself asks, for example whether this server is alive. What follows means nothing.
        LOCAL => return Ok(peer),
        PROXY => {}
        other => return Err(ProxyHeaderError::Command(other)),
    }
    let (address, additions) = read_address(family, rest)?;
    let mut client = Client::at(address);
    let begin = header.len() - additions.len();
    for_each_addition(additions, |kind, at, value| match kind {
        TYPE_SSL => read_tls(value, &mut client),
        TYPE_CRC32C => check_crc(header, begin + at, value),
        _ => Ok(()),
    })?;
    Ok(client)
}

/// Reads the address of the client. Returns what follows the addresses, too.
fn read_address(family: u8, rest: &[u8]) -> Result<(IpAddr, &[u8]), ProxyHeaderError> {
    let short = ProxyHeaderError::TooShort;
    match family {
        // Source, destination, and a port for each.
        TCP_4 => {
            let (addresses, additions) = rest.split_at_checked(12).ok_or(short)?;
            let source: [u8; 4] = addresses[..4].try_into().map_err(|_| ProxyHeaderError::TooShort)?;
            Ok((IpAddr::V4(Ipv4Addr::from(source)), additions))
        }
        TCP_6 => {
            let (addresses, additions) = rest.split_at_checked(36).ok_or(short)?;
            let source: [u8; 16] = addresses[..16].try_into().map_err(|_| ProxyHeaderError::TooShort)?;
            Ok((IpAddr::V6(Ipv6Addr::from(source)), additions))
        }
        other => Err(ProxyHeaderError::Family(other)),
    }
}

/// Calls `take` with the type of each addition, where its value stands, and the value. They must fill
/// `bytes` exactly.
fn for_each_addition(
    bytes: &[u8],
    mut take: impl FnMut(u8, usize, &[u8]) -> Result<(), ProxyHeaderError>,
) -> Result<(), ProxyHeaderError> {
    let mut left = bytes;
    while !left.is_empty() {
        let [kind, high, low, rest @ ..] = left else { return Err(ProxyHeaderError::TooShort) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, behind) = rest.split_at_checked(length).ok_or(ProxyHeaderError::TooShort)?;
        take(*kind, bytes.len() - rest.len(), value)?;
        left = behind;
    }
    Ok(())
}

/// Reads what the proxy says of TLS: a byte of flags, the result of a verification, more additions.
fn read_tls(value: &[u8], client: &mut Client) -> Result<(), ProxyHeaderError> {
    let [flags, _, _, _, _, additions @ ..] = value else { return Err(ProxyHeaderError::TooShort) };
    client.is_secure = flags & CLIENT_SSL != 0;
    for_each_addition(additions, |kind, _, value| {
        if kind == SUBTYPE_SSL_VERSION && client.is_secure {
            client.tls_version = match value {
                b"TLSv1" => Some("1.0"),
                b"TLSv1.1" => Some("1.1"),
                b"TLSv1.2" => Some("1.2"),
                b"TLSv1.3" => Some("1.3"),
                _ => None,
            };
        }
        Ok(())
    })
}

/// Compares the checksum that stands at `at` with that of the whole header, which is computed with
/// zeros in its place.
fn check_crc(header: &[u8], at: usize, value: &[u8]) -> Result<(), ProxyHeaderError> {
    let given: [u8; 4] = value.try_into().map_err(|_| ProxyHeaderError::Checksum)?;
    let mut zeroed = header.to_vec();
    zeroed[at..at + given.len()].fill(0);
    let computed = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &zeroed);
    match computed == u64::from(u32::from_be_bytes(given)) {
        true => Ok(()),
        false => Err(ProxyHeaderError::Checksum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a header of this command and family, with what follows its fixed part.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn addition(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
    }

    /// The addresses of a client 203.0.113.9 and of the proxy.
    const ADDRESSES_4: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb];

    fn peer() -> Client {
        Client::at([10, 0, 0, 1].into())
    }

    /// The client that a header names: its address, whether it is secure, its version of TLS.
    fn client(header: &[u8]) -> Result<(String, bool, Option<&'static str>), String> {
        let client = parse(header, peer()).map_err(|error| error.to_string())?;
        Ok((client.address.to_string(), client.is_secure, client.tls_version))
    }

    #[test]
    fn a_header_names_the_client() {
        let plain = |address: &str| Ok((address.to_owned(), false, None));
        assert_eq!(client(&header(PROXY, TCP_4, &ADDRESSES_4)), plain("203.0.113.9"));
        let mut addresses_6 = [0; 36];
        addresses_6[..2].copy_from_slice(&[0x2a, 0x00]);
        addresses_6[15] = 7;
        assert_eq!(client(&header(PROXY, TCP_6, &addresses_6)), plain("2a00::7"));
        addresses_6[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets());
        assert_eq!(client(&header(PROXY, TCP_6, &addresses_6)), plain("192.0.2.1"));
        // The proxy speaks for itself, whatever it adds.
        assert_eq!(client(&header(LOCAL, 0, b"anything")), plain("10.0.0.1"));
        assert_eq!(client(&header(LOCAL, TCP_4, &ADDRESSES_4)), plain("10.0.0.1"));
    }

    #[test]
    fn tls_is_what_the_proxy_says() {
        let tls = |flags: u8, version: &[u8]| {
            let more = addition(SUBTYPE_SSL_VERSION, version);
            let value = [&[flags, 0, 0, 0, 0][..], &more].concat();
            let noise = addition(0x05, b"unique id");
            client(&header(PROXY, TCP_4, &[&ADDRESSES_4[..], &noise, &addition(TYPE_SSL, &value)].concat()))
        };
        let found = |is_secure, version| Ok(("203.0.113.9".to_owned(), is_secure, version));
        assert_eq!(tls(CLIENT_SSL, b"TLSv1.3"), found(true, Some("1.3")));
        assert_eq!(tls(CLIENT_SSL | 2, b"TLSv1.2"), found(true, Some("1.2")));
        assert_eq!(tls(CLIENT_SSL, b"QUIC"), found(true, None));
        assert_eq!(tls(0, b"TLSv1.3"), found(false, None));
    }

    #[test]
    fn what_is_not_as_the_specification_says_is_refused() {
        let good = header(PROXY, TCP_4, &ADDRESSES_4);
        for length in 0..good.len() {
            assert!(parse(&good[..length], peer()).is_err(), "{length} bytes");
        }
        let with = |rest: &[u8]| header(PROXY, TCP_4, &[&ADDRESSES_4[..], rest].concat());
        for (bad, reason) in [
            (with(&[1]), "short"),
            (with(&[1, 0, 5, b'h']), "short"),
            (with(&addition(TYPE_SSL, &[1, 0, 0, 0])), "short"),
            (with(&addition(TYPE_CRC32C, &[0; 3])), "checksum"),
            (with(&addition(TYPE_CRC32C, &[0; 4])), "checksum"),
            (header(PROXY, 0x00, &[]), "family"),
            (header(PROXY, 0x12, &ADDRESSES_4), "family"),
            (header(PROXY, 0x31, &[0; 216]), "family"),
            (header(PROXY, TCP_6, &ADDRESSES_4), "short"),
            (header(0x11, TCP_4, &ADDRESSES_4), "command"),
            (header(0x22, TCP_4, &ADDRESSES_4), "command"),
            (b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n".to_vec(), "does not begin"),
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), "does not begin"),
            (header(PROXY, TCP_4, &[0; HEADER_BYTES_MAX + 1]), "the most is"),
        ] {
            let error = client(&bad).expect_err(reason);
            assert!(error.contains(reason), "{error}, and not {reason}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_whole_header() {
        let rest = [&ADDRESSES_4[..], &addition(0x04, b"pad"), &addition(TYPE_CRC32C, &[0; 4])].concat();
        let mut whole = header(PROXY, TCP_4, &rest);
        let crc = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, &whole) as u32;
        let at = whole.len() - 4;
        whole[at..].copy_from_slice(&crc.to_be_bytes());
        assert!(client(&whole).is_ok());
        whole[17] ^= 1;
        assert!(client(&whole).is_err_and(|error| error.contains("checksum")));
    }
}
