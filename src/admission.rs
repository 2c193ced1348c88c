//! Admission: the checks of connections and handshakes that need no knowledge of the chat.
//!
//! Every connection holds a place from its accept until its socket is closed, whatever protocol it speaks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

use actix_http::header::HeaderMap;
use actix_http::{HttpMessage, Request};
use prometheus::{IntGauge, Registry};
use starling_actors::client_address::ClientAddress;
use starling_actors::metrics::Limit;
use starling_actors::{Metrics, clock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::{AddressPlace, Addresses, Proxies};
use crate::config::Config;
use crate::origin::AllowedOrigins;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::request_head;

/// Connections beyond `CHAT_CONNECTIONS` that may speak plain HTTP only, so that a full server still answers health
/// checks and scrapes.
const PLAIN_PLACES: usize = 128;

/// Refused connections that may receive their refusal at the same time; further ones are closed at once.
const REFUSAL_PLACES: usize = 128;

/// Open connections that are possible beyond `CHAT_CONNECTIONS`.
pub(crate) const EXTRA_PLACES: u64 = (PLAIN_PLACES + REFUSAL_PLACES) as u64;

/// The limits of connections and handshakes, and their current use.
#[derive(Debug)]
pub(crate) struct Admission {
    origins: AllowedOrigins,
    proxies: Proxies,
    /// Whether the port speaks TLS.
    is_tls: bool,
    addresses: Arc<Addresses>,
    /// One permit per connection that may become a WebSocket.
    places: Arc<Semaphore>,
    /// The permits for [`PLAIN_PLACES`].
    plain_places: Arc<Semaphore>,
    /// The permits for [`REFUSAL_PLACES`].
    refusal_places: Arc<Semaphore>,
    /// The number of open WebSockets.
    websockets: Arc<AtomicUsize>,
    /// The number of requests whose answers are not written yet.
    requests: Arc<AtomicUsize>,
    /// The number of connections with a place of any kind.
    open: IntGauge,
    /// The number of [`places`](Self::places) that are taken.
    taken: IntGauge,
    metrics: Arc<Metrics>,
}

/// The use that a place allows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Worth {
    /// Any use, including a WebSocket.
    Full,
    /// Plain HTTP only, because the server has reached its limit of connections.
    PlainHttp,
    /// Only the answer with this refusal.
    Refusal(Box<HttpRefusal>),
}

/// The place of a connection: it counts for the server and for its address until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of_server: OwnedSemaphorePermit,
    /// `None` for a proxy's connection between requests; it counts for the client of each request.
    of_address: Option<AddressPlace>,
    peer: IpAddr,
    is_of_proxy: bool,
    worth: Worth,
    open: CountedConnection,
    /// `None` without a permit of [`Admission::places`].
    taken: Option<CountedConnection>,
}

/// The place of a WebSocket, without what only requests need: there is one for each idle connection.
#[derive(Debug)]
pub(crate) struct WebSocketPlace {
    _of_server: OwnedSemaphorePermit,
    _of_address: Option<AddressPlace>,
    _open: CountedConnection,
    _taken: Option<CountedConnection>,
    _websocket: Counted,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
struct CountedConnection(IntGauge);

impl CountedConnection {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Place {
    /// The place of a connection that has become a WebSocket.
    pub(crate) fn of_websocket(self, counted: Counted) -> WebSocketPlace {
        WebSocketPlace {
            _of_server: self.of_server,
            _of_address: self.of_address,
            _open: self.open,
            _taken: self.taken,
            _websocket: counted,
        }
    }

    /// Called when a request is answered: until the next one, a proxy's connection counts for no address.
    pub(crate) fn request_ended(&mut self) {
        if self.is_of_proxy {
            self.of_address = None;
        }
    }
}

/// Counts a WebSocket or a request until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        // In one order with `ServerState::refuse_new`: a stopping server refuses a request, or waits for it.
        count.fetch_add(1, SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The address of a request's peer. The framework's type makes it optional, but every connection has one.
fn ip_of(peer: Option<SocketAddr>) -> IpAddr {
    peer.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip)
}

impl Admission {
    /// Registers the gauges of connections; the diagnosis needs only the places.
    ///
    /// # Errors
    /// A registry already has them.
    pub(crate) fn register(
        config: &Config,
        connections_max: u64,
        metrics: Arc<Metrics>,
        registry: &Registry,
        judged: &Registry,
    ) -> prometheus::Result<Self> {
        let help = "Connections with an open socket, over any protocol, including refused ones.";
        let open = IntGauge::new("chat_connections_open", help)?;
        let help = "Connections, over any protocol, that hold one of the places of chat_connections_limit.";
        let taken = IntGauge::new("chat_connection_places", help)?;
        registry.register(Box::new(open.clone()))?;
        for registry in [registry, judged] {
            registry.register(Box::new(taken.clone()))?;
        }
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
            requests: Arc::default(),
            open,
            taken,
            metrics,
        })
    }

    /// Takes a place for an accepted connection. `None`: there is no place left, not even for its refusal.
    pub(crate) fn accept(&self, peer: SocketAddr) -> Option<Place> {
        let peer = peer.ip();
        let is_of_proxy = self.proxies.are_trusted(peer);
        let of_address = if is_of_proxy { Ok(None) } else { self.of_address(peer).map(Some) };
        let place = |permit, of_address, worth| Place {
            of_server: permit,
            of_address,
            peer,
            is_of_proxy,
            taken: (worth == Worth::Full).then(|| CountedConnection::new(&self.taken)),
            worth,
            open: CountedConnection::new(&self.open),
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
        refused(self.full(), of_address)
    }

    fn full(&self) -> HttpRefusal {
        self.metrics.refused_by(Limit::Connections);
        HttpRefusal::new(HttpCode::Unavailable, "the server has reached its limit of connections")
    }

    /// Checks that the connection may become a WebSocket.
    ///
    /// # Errors
    /// 503 if the place is for plain HTTP only.
    pub(crate) fn check_websocket(&self, place: &Place) -> Result<(), HttpRefusal> {
        if place.worth == Worth::Full { Ok(()) } else { Err(self.full()) }
    }

    fn of_address(&self, address: IpAddr) -> Result<AddressPlace, HttpRefusal> {
        self.addresses.enter(ClientAddress::of(address), clock::now()).ok_or_else(|| {
            self.metrics.refused_by(Limit::ConnectionsPerAddress);
            let text = "this address has reached its limit of connections";
            HttpRefusal::new(HttpCode::TooManyConnections, text)
        })
    }

    /// Checks whether the connection may send a request. Behind a proxy it then counts for the address of the request's
    /// client.
    ///
    /// # Errors
    /// 429 if that address has reached its limit of connections, 503 if the server has.
    pub(crate) fn admit(&self, place: &mut Place, head: &[u8]) -> Result<(), HttpRefusal> {
        if let Worth::Refusal(refusal) = &place.worth {
            return Err((**refusal).clone());
        }
        if place.is_of_proxy {
            let forwarded = request_head::field(head, &self.proxies.header.name());
            // Before the next one is taken, because one client may send two requests over the same connection of a
            // proxy.
            place.of_address = None;
            place.of_address = Some(self.of_address(self.proxies.client_of(place.peer, &forwarded))?);
        }
        Ok(())
    }

    /// Checks the origin of a handshake, and counts it for the address of its client, which it returns.
    ///
    /// # Errors
    /// 403 for a page of another origin, 429 if the address has too many handshakes a second.
    pub(crate) fn check(&self, request: &Request) -> Result<ClientAddress, HttpRefusal> {
        let peer = ip_of(request.peer_addr());
        let asked = self.proxies.asked(peer, request.headers(), self.is_tls);
        if !self.origins.allow(request.headers(), asked) {
            return Err(HttpRefusal::new(HttpCode::Forbidden, "pages of this origin are not allowed to connect"));
        }
        let client = self.address_of(request.peer_addr(), request.headers());
        self.addresses.shake_hands(client, clock::now()).map_err(|wait| {
            self.metrics.refused_by(Limit::HandshakesPerSecond);
            let refusal = HttpRefusal::new(HttpCode::RateLimited, "too many handshakes from this address");
            refusal.retry_after(wait)
        })?;
        Ok(client)
    }

    /// The address of a request's client.
    pub(crate) fn address_of(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> ClientAddress {
        ClientAddress::of(self.proxies.client_of(ip_of(peer), headers))
    }

    /// Counts one more WebSocket.
    pub(crate) fn count_websocket(&self) -> Counted {
        Counted::new(&self.websockets)
    }

    /// Counts one more request, until its answer is written.
    pub(crate) fn count_request(&self) -> Counted {
        Counted::new(&self.requests)
    }

    /// The number of open WebSockets, including those that were asked to close and have not yet done so.
    pub(crate) fn websockets(&self) -> usize {
        self.websockets.load(SeqCst)
    }

    /// The number of requests whose answers are not written yet; without endless answers.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }
}
