//! The unit that counts as one client address.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The prefix length that identifies one customer in IPv6.
const CUSTOMER_BITS_V6: u32 = 64;

/// What an IPv4 address begins with in 64 bits. No client has an IPv6 address that begins so: those are multicast.
const V4: u64 = 0xffff_ffff << 32;

/// An IPv4 address, or an IPv6 /64 network: the unit for limits and for sanctions. Eight bytes, because each session keeps
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientAddress(u64);

impl ClientAddress {
    /// The unspecified address, which no client has.
    pub const NONE: Self = Self(V4);

    /// The unit that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => V4 | u64::from(address.to_bits()),
            // The shift leaves 64 bits.
            IpAddr::V6(address) => u64::try_from(address.to_bits() >> (128 - CUSTOMER_BITS_V6)).unwrap_or(V4),
        })
    }

    /// The address, or the network.
    fn ip(self) -> IpAddr {
        let [high, low] = [self.0 >> 32, self.0 & 0xffff_ffff];
        match u32::try_from(low) {
            Ok(v4) if high << 32 == V4 => Ipv4Addr::from_bits(v4).into(),
            _ => Ipv6Addr::from_bits(u128::from(self.0) << (128 - CUSTOMER_BITS_V6)).into(),
        }
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/{CUSTOMER_BITS_V6}"),
        }
    }
}

impl FromStr for ClientAddress {
    type Err = AddrParseError;

    /// Reads an address, or an IPv6 network of the length that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        let of_v6 = text.strip_suffix("/64").filter(|address| address.contains(':'));
        of_v6.unwrap_or(text).parse().map(Self::of)
    }
}

impl TryFrom<String> for ClientAddress {
    type Error = AddrParseError;

    fn try_from(text: String) -> Result<Self, AddrParseError> {
        text.parse()
    }
}

impl From<ClientAddress> for String {
    fn from(address: ClientAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_ipv4_or_a_network_of_64_bits_of_ipv6_and_is_read_as_it_is_written() {
        for (text, written) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
            ("255.255.255.255", "255.255.255.255"),
            ("0.0.0.0", "0.0.0.0"),
            ("::1", "::/64"),
            ("fe80::1", "fe80::/64"),
        ] {
            let address: ClientAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(written.parse(), Ok(address));
        }
        for bad in ["", "192.0.2.1/24", "2001:db8::/32", "somewhere"] {
            assert!(bad.parse::<ClientAddress>().is_err(), "{bad}");
        }
    }
}
