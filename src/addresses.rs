//! What each client address takes: its connections, and its handshakes a second.
//!
//! Invariants:
//! - The table is bounded: an address that has a connection is one of at most `CHAT_CONNECTIONS`; of those without, at
//!   most [`IDLE_MAX`] are remembered. The addresses that find no room in it share one entry, and its limits.
//! - An address that has no connection and a full bucket is as good as one never seen.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;
use starling_actors::rate_limit::RateLimit;

/// Most addresses without a connection that are remembered.
const IDLE_MAX: usize = 65_536;

/// Bits of an IPv6 address that tell one customer from another.
const CUSTOMER_BITS_V6: u32 = 64;

/// What counts as one client address: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// What the addresses share that find no room in the table.
    const OTHERS: Self = Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED));

    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> (128 - CUSTOMER_BITS_V6) << (128 - CUSTOMER_BITS_V6);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// How much one address may take; 0: as much as it likes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressLimits {
    pub(crate) connections: u32,
    pub(crate) handshakes_per_second: u32,
}

#[derive(Debug)]
struct Entry {
    connections: u32,
    handshakes: RateLimit,
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<ClientAddress, Entry>,
    /// How many of them have a connection.
    connected: usize,
}

/// The addresses and what they have taken.
#[derive(Debug)]
pub(crate) struct Addresses {
    limits: AddressLimits,
    idle_max: usize,
    table: Mutex<Table>,
}

/// A connection that counts for its address until it is dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace(Option<(Arc<Addresses>, ClientAddress)>);

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if let Some((addresses, address)) = &self.0 {
            addresses.leave(*address);
        }
    }
}

impl Addresses {
    pub(crate) fn new(limits: AddressLimits) -> Arc<Self> {
        Self::with_idle_max(limits, IDLE_MAX)
    }

    fn with_idle_max(limits: AddressLimits, idle_max: usize) -> Arc<Self> {
        Arc::new(Self { limits, idle_max, table: Mutex::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a handshake.
    ///
    /// # Errors
    /// The time after which this address may try again. A handshake that is refused costs nothing.
    pub(crate) fn shake_hands(&self, address: ClientAddress, now: Instant) -> Result<(), Duration> {
        if self.limits.handshakes_per_second == 0 {
            return Ok(());
        }
        let mut table = self.table();
        let address = self.place_for(&mut table, address, now);
        self.entry(&mut table, address, now).handshakes.take(now)
    }

    /// Counts a connection. `None`: the address has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, address: ClientAddress, now: Instant) -> Option<AddressPlace> {
        if self.limits.connections == 0 {
            return Some(AddressPlace(None));
        }
        let mut table = self.table();
        let address = self.place_for(&mut table, address, now);
        let entry = self.entry(&mut table, address, now);
        if entry.connections >= self.limits.connections {
            return None;
        }
        entry.connections += 1;
        if entry.connections == 1 {
            table.connected += 1;
        }
        Some(AddressPlace(Some((Arc::clone(self), address))))
    }

    fn leave(&self, address: ClientAddress) {
        let mut table = self.table();
        let Some(entry) = table.entries.get_mut(&address) else { return };
        entry.connections = entry.connections.saturating_sub(1);
        if entry.connections == 0 {
            table.connected = table.connected.saturating_sub(1);
        }
    }

    /// The entry to count at: the address's own, or, where there is no room for another, the one of all others.
    fn place_for(&self, table: &mut Table, address: ClientAddress, now: Instant) -> ClientAddress {
        let is_full = |table: &Table| table.entries.len() - table.connected >= self.idle_max;
        if table.entries.contains_key(&address) || !is_full(table) {
            return address;
        }
        table.entries.retain(|_, entry| entry.connections > 0 || !entry.handshakes.is_full(now));
        if is_full(table) { ClientAddress::OTHERS } else { address }
    }

    fn entry<'a>(&self, table: &'a mut Table, address: ClientAddress, now: Instant) -> &'a mut Entry {
        table.entries.entry(address).or_insert_with(|| {
            let rate = self.limits.handshakes_per_second;
            Entry { connections: 0, handshakes: RateLimit::per_second(rate, rate, now) }
        })
    }
}

/// Networks, written as a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads networks and single addresses between commas.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| part.parse().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
        parts.map(network).collect::<Option<_>>().map(Self)
    }

    fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }
}

/// Which header the proxies in front of the server write. Only one is believed: a proxy passes on the other as its
/// client has sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    pub(crate) fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => HeaderName::from_static("forwarded"),
        }
    }

    /// The address in one element of the header.
    fn address_in(self, element: &str) -> Option<IpAddr> {
        match self {
            Self::XForwardedFor => parse_node(element.trim()),
            Self::Forwarded => parameter(element, "for").and_then(parse_node),
        }
    }
}

/// A parameter of one element of `Forwarded`.
fn parameter<'a>(element: &'a str, wanted: &str) -> Option<&'a str> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim().trim_matches('"'))
}

/// The first element of a header that is a list.
fn first_element<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get(name)?.to_str().ok()?;
    line.split(',').next().map(str::trim).filter(|element| !element.is_empty())
}

/// What a client asked for, as it wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// The host, with the port where the client named one. `None`: it named none, or something unreadable.
    pub(crate) host: Option<&'a str>,
    /// Whether the client is known to speak TLS; to a proxy it may do so unknown to the server.
    pub(crate) is_tls: bool,
}

/// An address as proxies write it: alone, or with a port, then in brackets if it is one of IPv6.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        return rest.split_once(']').and_then(|(address, _)| address.parse().ok());
    }
    node.parse().ok().or_else(|| node.rsplit_once(':').and_then(|(address, _)| address.parse().ok()))
}

/// Who stands between clients and server.
#[derive(Debug, Clone)]
pub(crate) struct Proxies {
    pub(crate) trusted: Networks,
    pub(crate) header: ForwardedHeader,
}

impl Proxies {
    /// Whether this address is a proxy's, whose word is taken.
    pub(crate) fn are_trusted(&self, peer: IpAddr) -> bool {
        self.trusted.contain(peer)
    }

    /// The client behind a request that came from `peer`: the last address that no trusted proxy is known to have.
    ///
    /// Read from the right, where the nearest proxy has written; what stands left of an address that is not trusted may
    /// be invented. An element that is no address ends it: the proxy that wrote it is then the client. So does one that is
    /// no text; the elements right of it count.
    pub(crate) fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        let lines = headers.get_all(self.header.name()).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let lines: Vec<_> = lines.collect();
        let mut elements = lines.iter().rev().flat_map(|line| line.rsplit(','));
        while self.trusted.contain(client) {
            match elements.next().map(|element| self.header.address_in(element)) {
                Some(Some(address)) => client = address,
                Some(None) | None => break,
            }
        }
        client
    }

    /// What the client behind a request asked for. `is_tls`: the request came to the server over TLS.
    ///
    /// A trusted proxy may put another `Host` in its place, and says in the header what the client wrote. A client can
    /// write that header itself, and a proxy may pass it on. It gains nothing: a browser lets no page write it, and a
    /// program that is no browser need not send an origin either. So the first element counts, which is that of the
    /// proxy nearest to the client.
    pub(crate) fn asked<'a>(&self, peer: IpAddr, headers: &'a HeaderMap, is_tls: bool) -> Asked<'a> {
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if !self.trusted.contain(peer) {
            return Asked { host: own, is_tls };
        }
        let (host, scheme) = match self.header {
            ForwardedHeader::XForwardedFor => {
                (first_element(headers, "x-forwarded-host"), first_element(headers, "x-forwarded-proto"))
            }
            ForwardedHeader::Forwarded => {
                let element = first_element(headers, "forwarded").unwrap_or_default();
                (parameter(element, "host"), parameter(element, "proto"))
            }
        };
        // Some proxies name the scheme of a WebSocket.
        let is_tls = scheme.is_some_and(|scheme| ["https", "wss"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls)));
        Asked { host: host.or(own), is_tls }
    }
}

#[cfg(test)]
mod tests;
