//! Who may come in: the checks of connections and handshakes that need to know nothing of the chat.
//!
//! Every connection has a place from the moment it is accepted until its socket is closed, whatever it speaks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use actix_http::{HttpMessage, Request};
use prometheus::{IntGauge, Registry};
use starling_actors::clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::{AddressPlace, Addresses, ClientAddress, Proxies};
use crate::config::Config;
use crate::origin::AllowedOrigins;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::request_head;

/// Connections beyond `CHAT_CONNECTIONS` that may speak plain HTTP and nothing else: a health check and a scrape are
/// answered also by a server that is full.
const PLAIN_PLACES: usize = 128;

/// Connections at a time that are told why they are refused; those past them are closed at once.
const REFUSAL_PLACES: usize = 128;

/// Connections that there may be beyond `CHAT_CONNECTIONS`.
pub(crate) const EXTRA_PLACES: u64 = (PLAIN_PLACES + REFUSAL_PLACES) as u64;

/// The limits of who may come in, and what is taken of them.
#[derive(Debug)]
pub(crate) struct Admission {
    origins: AllowedOrigins,
    proxies: Proxies,
    /// Whether the port speaks TLS.
    is_tls: bool,
    addresses: Arc<Addresses>,
    /// One permit per connection that there may be.
    places: Arc<Semaphore>,
    /// The same for [`PLAIN_PLACES`].
    plain_places: Arc<Semaphore>,
    /// The same for [`REFUSAL_PLACES`].
    refusal_places: Arc<Semaphore>,
    /// Connections that are WebSockets.
    websockets: Arc<AtomicUsize>,
    /// Connections that have a place of any kind.
    open: IntGauge,
}

/// What a connection's place is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Worth {
    /// Also for a WebSocket.
    Full,
    /// For plain HTTP: the server has as many connections as it may have.
    PlainHttp,
    /// For one answer.
    Refusal(Box<HttpRefusal>),
}

/// A connection's place among all and among those of its address, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    _of_server: OwnedSemaphorePermit,
    /// `None`: a proxy's, which takes a place for the client of each request.
    of_address: Option<AddressPlace>,
    peer: IpAddr,
    is_of_proxy: bool,
    worth: Worth,
    _open: CountedConnection,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
struct CountedConnection(IntGauge);

impl CountedConnection {
    fn new(open: &IntGauge) -> Self {
        open.inc();
        Self(open.clone())
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Place {
    /// Whether a WebSocket may have it.
    ///
    /// # Errors
    /// 503 where it is a place for plain HTTP.
    pub(crate) fn check_websocket(&self) -> Result<(), HttpRefusal> {
        if self.worth == Worth::Full { Ok(()) } else { Err(server_is_full()) }
    }

    /// A request is answered: a proxy's connection counts for nobody's address until the next one.
    pub(crate) fn request_ended(&mut self) {
        if self.is_of_proxy {
            self.of_address = None;
        }
    }
}

/// Counts a WebSocket until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedWebSocket(Arc<AtomicUsize>);

impl Drop for CountedWebSocket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn server_is_full() -> HttpRefusal {
    HttpRefusal::new(HttpCode::Unavailable, "the server has as many connections as it may have")
}

impl Admission {
    /// Registers what it counts.
    ///
    /// # Errors
    /// The registry has it already.
    pub(crate) fn register(config: &Config, connections_max: u64, registry: &Registry) -> prometheus::Result<Self> {
        let help = "Connections whose socket is open, whatever they speak, those that are refused among them.";
        let open = IntGauge::new("chat_connections_open", help)?;
        registry.register(Box::new(open.clone()))?;
        let places_max = usize::try_from(connections_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self {
            origins: config.allowed_origins.clone(),
            proxies: config.proxies(),
            is_tls: config.tls_files().is_some(),
            addresses: Addresses::new(config.address_limits()),
            places: Arc::new(Semaphore::new(places_max)),
            plain_places: Arc::new(Semaphore::new(PLAIN_PLACES)),
            refusal_places: Arc::new(Semaphore::new(REFUSAL_PLACES)),
            websockets: Arc::default(),
            open,
        })
    }

    /// Takes a place for a connection that was accepted. `None`: there is not even one for its refusal.
    pub(crate) fn accept(&self, peer: Option<SocketAddr>) -> Option<Place> {
        // A peer that has gone already has no address: it counts with all others that have none.
        let peer = peer.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
        let is_of_proxy = self.proxies.are_trusted(peer);
        let of_address = if is_of_proxy { Ok(None) } else { self.of_address(peer).map(Some) };
        let place = |permit, of_address, worth| Place {
            _of_server: permit,
            of_address,
            peer,
            is_of_proxy,
            worth,
            _open: CountedConnection::new(&self.open),
        };
        let refused = |refusal, of_address| {
            let permit = Arc::clone(&self.refusal_places).try_acquire_owned().ok()?;
            Some(place(permit, of_address, Worth::Refusal(Box::new(refusal))))
        };
        let of_address = match of_address {
            Ok(of_address) => of_address,
            Err(refusal) => return refused(refusal, None),
        };
        for (places, worth) in [(&self.places, Worth::Full), (&self.plain_places, Worth::PlainHttp)] {
            if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
                return Some(place(permit, of_address, worth));
            }
        }
        refused(server_is_full(), of_address)
    }

    fn of_address(&self, address: IpAddr) -> Result<AddressPlace, HttpRefusal> {
        self.addresses.enter(ClientAddress::of(address), clock::now()).ok_or_else(|| {
            let text = "this address has as many connections as it may have";
            HttpRefusal::new(HttpCode::TooManyConnections, text)
        })
    }

    /// Whether the connection may ask this. Behind a proxy it counts for the address of the request's client from now on.
    ///
    /// # Errors
    /// 429 where that address has as many connections as it may, 503 where the server has.
    pub(crate) fn admit(&self, place: &mut Place, head: &[u8]) -> Result<(), HttpRefusal> {
        if let Worth::Refusal(refusal) = &place.worth {
            return Err((**refusal).clone());
        }
        if place.is_of_proxy {
            let forwarded = request_head::field(head, &self.proxies.header.name());
            // Before another is taken: a client may ask twice over the connection of a proxy.
            place.of_address = None;
            place.of_address = Some(self.of_address(self.proxies.client_of(place.peer, &forwarded))?);
        }
        Ok(())
    }

    /// Checks where a handshake comes from, and counts it for its client's address.
    ///
    /// # Errors
    /// 403 for a page of another origin, 429 where the address shakes hands too often.
    pub(crate) fn check(&self, request: &Request) -> Result<(), HttpRefusal> {
        let peer = request.peer_addr().as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
        let asked = self.proxies.asked(peer, request.headers(), self.is_tls);
        if !self.origins.allow(request.headers(), asked) {
            return Err(HttpRefusal::new(HttpCode::Forbidden, "pages of this origin may not connect here"));
        }
        let client = ClientAddress::of(self.proxies.client_of(peer, request.headers()));
        self.addresses.shake_hands(client, clock::now()).map_err(|wait| {
            let refusal = HttpRefusal::new(HttpCode::RateLimited, "too many handshakes from this address");
            refusal.retry_after(wait)
        })
    }

    /// Counts one more WebSocket.
    pub(crate) fn count_websocket(&self) -> CountedWebSocket {
        self.websockets.fetch_add(1, Relaxed);
        CountedWebSocket(Arc::clone(&self.websockets))
    }

    /// How many WebSockets have a place: also those that were told to go and have not gone.
    pub(crate) fn websockets(&self) -> usize {
        self.websockets.load(Relaxed)
    }
}
