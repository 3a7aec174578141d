//! Ranges of addresses: those that policies ask for, and those of trusted proxies.

use std::net::{IpAddr, Ipv6Addr};

/// A range of addresses. IPv4 addresses that IPv6 wraps (`::ffff:…`) are those of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    /// The bits that all addresses of the range share.
    shared: u32,
}

impl Network {
    /// Parses an address, or a range such as `203.0.113.0/24`. Bits behind the shared ones do not
    /// matter, as in AWS.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, shared) = match text.split_once('/') {
            None => (text, None),
            Some((address, shared)) => {
                let digits = !shared.is_empty() && shared.bytes().all(|byte| byte.is_ascii_digit());
                (address, Some(shared.parse::<u32>().ok().filter(|_| digits)?))
            }
        };
        let address: IpAddr = address.parse().ok()?;
        let width = width(address);
        let shared = shared.unwrap_or(width);
        if shared > width {
            return None;
        }
        let first = address.to_canonical();
        // A range of wrapped addresses loses the bits of the wrapper.
        let lost = width - self::width(first);
        Some(Self { first, shared: shared.checked_sub(lost)? })
    }

    /// Returns whether the address is of the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let width = width(self.first);
        if width != self::width(address) {
            return false;
        }
        let differing = bits(address) ^ bits(self.first);
        // A shift by all bits is none at all.
        differing.checked_shr(width - self.shared).unwrap_or(0) == 0
    }

    /// Returns whether the range is so broad that AWS takes it for everybody.
    pub fn is_broad(&self) -> bool {
        self.shared < if self.first.is_ipv4() { 8 } else { 32 }
    }
}

/// Parses the address of a request.
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { Ipv6Addr::BITS }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_the_addresses_that_share_its_bits() {
        for (range, address, expected) in [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("203.0.113.7/24", "203.0.113.1", true),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("2001:DB8:1234:5678::/64", "2001:db8:1234:5678:9::", true),
            ("203.0.113.0/24", "::ffff:203.0.113.9", true),
            ("::ffff:203.0.113.0/120", "203.0.113.9", true),
            ("::ffff:203.0.113.0/120", "203.0.112.9", false),
        ] {
            let address = parse_address(address).unwrap();
            assert_eq!(Network::parse(range).unwrap().contains(address), expected, "{range} and {address}");
        }
    }

    #[test]
    fn what_is_no_range_is_none() {
        for text in [
            "",
            "/8",
            "1.2.3",
            "1.2.3.4/",
            "1.2.3.4/33",
            "::/129",
            "1.2.3.4/+8",
            "01.2.3.4",
            "::ffff:0.0.0.0/90",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn broad_is_what_aws_says() {
        let broad = |text| Network::parse(text).unwrap().is_broad();
        assert!(broad("0.0.0.0/0") && broad("128.0.0.0/7") && broad("::/0") && broad("2001::/31"));
        assert!(!broad("10.0.0.0/8") && !broad("2001:db8::/32") && !broad("1.2.3.4"));
    }
}
