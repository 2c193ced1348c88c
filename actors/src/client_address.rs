//! The unit that counts as one client address.

use std::fmt;
use std::net::{AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The prefix length that identifies one customer in IPv6.
const CUSTOMER_BITS_V6: u32 = 64;

/// An IPv4 address, or an IPv6 /64 network: the unit for limits and for sanctions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// The unspecified address, which no client has.
    pub const NONE: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    /// The unit that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> (128 - CUSTOMER_BITS_V6) << (128 - CUSTOMER_BITS_V6);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
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
