//! The connections and the handshakes per second of each client address.
//!
//! Invariants:
//! - The table is bounded: at most `CHAT_CONNECTIONS` addresses have a connection, and of the others at most
//!   [`IDLE_MAX`] are remembered. Addresses that do not fit into the table share one entry and its limits.
//! - An address without connections and with a full token bucket needs no entry.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;
use starling_actors::client_address::ClientAddress;
use starling_actors::clock::Instant;
use starling_actors::rate_limit::RateLimit;

/// Most addresses without a connection that are remembered.
const IDLE_MAX: usize = 65_536;

/// The shared entry of the addresses that do not fit into the table.
const OTHERS: ClientAddress = ClientAddress::NONE;

/// The limits of one address; 0: no limit.
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
    /// The number of entries with a connection.
    connected: usize,
}

/// The table of addresses.
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
    /// The time after which this address may try again. A refused handshake takes no token.
    pub(crate) fn shake_hands(&self, address: ClientAddress, now: Instant) -> Result<(), Duration> {
        if self.limits.handshakes_per_second == 0 {
            return Ok(());
        }
        let mut table = self.table();
        let address = self.place_for(&mut table, address, now);
        self.entry(&mut table, address, now).handshakes.take(now)
    }

    /// Counts a connection. `None`: the address has reached its limit.
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

    /// The entry that counts for an address: its own, or the shared one if the table is full.
    fn place_for(&self, table: &mut Table, address: ClientAddress, now: Instant) -> ClientAddress {
        let is_full = |table: &Table| table.entries.len() - table.connected >= self.idle_max;
        if table.entries.contains_key(&address) || !is_full(table) {
            return address;
        }
        table.entries.retain(|_, entry| entry.connections > 0 || !entry.handshakes.is_full(now));
        if is_full(table) { OTHERS } else { address }
    }

    fn entry<'a>(&self, table: &'a mut Table, address: ClientAddress, now: Instant) -> &'a mut Entry {
        table.entries.entry(address).or_insert_with(|| {
            let rate = self.limits.handshakes_per_second;
            Entry { connections: 0, handshakes: RateLimit::per_second(rate, rate, now) }
        })
    }
}

/// A list of IP networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Parses networks and single addresses, separated by commas.
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

/// The header that the reverse proxies set. Only this one is trusted: a proxy passes the other header on unchanged from
/// the client.
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

/// The host and the scheme that a client has requested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    /// The host, with its port if the client named one. `None`: the header is missing or not readable.
    pub(crate) host: Option<&'a str>,
    /// Whether the client uses TLS as far as the server knows; a proxy may terminate TLS without a header.
    pub(crate) is_tls: bool,
}

/// Parses an address as proxies write it: alone, or with a port, in which case an IPv6 address is in brackets.
fn parse_node(node: &str) -> Option<IpAddr> {
    if let Some(rest) = node.strip_prefix('[') {
        return rest.split_once(']').and_then(|(address, _)| address.parse().ok());
    }
    node.parse().ok().or_else(|| node.rsplit_once(':').and_then(|(address, _)| address.parse().ok()))
}

/// The configuration of the reverse proxies between clients and server.
#[derive(Debug, Clone)]
pub(crate) struct Proxies {
    pub(crate) trusted: Networks,
    pub(crate) header: ForwardedHeader,
}

impl Proxies {
    /// Whether this address is that of a trusted proxy.
    pub(crate) fn are_trusted(&self, peer: IpAddr) -> bool {
        self.trusted.contain(peer)
    }

    /// Finds the client behind a request that came from `peer`: the last address that is not a trusted proxy.
    ///
    /// The header is read from the right, where the nearest proxy has written. Everything to the left of an untrusted
    /// address may be forged. An element that is not an address ends the search: the proxy that wrote it then counts as
    /// the client. An element that is not valid text also ends it; the elements to its right still count.
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

    /// The host and the scheme that the client of a request has asked for. `is_tls`: the request reached the server
    /// with TLS.
    ///
    /// A trusted proxy may replace `Host`, and pass on the client's own value in the header. A client can forge that
    /// header, and a proxy may pass it on, but the client gains nothing: a browser does not let a page set it, and
    /// other programs need not send an origin at all. So the first element counts, which the proxy nearest to the
    /// client has written.
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
