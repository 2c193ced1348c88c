//! Who may come in: the checks of a handshake that need to know nothing of the chat.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use actix_http::{HttpMessage, Request};
use starling_actors::clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::{AddressPlace, Addresses, ClientAddress, Proxies};
use crate::config::Config;
use crate::origin::AllowedOrigins;
use crate::refusal::{HttpCode, HttpRefusal};

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
    places_max: usize,
}

/// A connection's place among all and among those of its address, given back on drop.
#[derive(Debug)]
pub(crate) struct Place {
    _of_server: OwnedSemaphorePermit,
    _of_address: AddressPlace,
}

impl Admission {
    pub(crate) fn new(config: &Config, connections_max: u64) -> Self {
        let places_max = usize::try_from(connections_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            origins: config.allowed_origins.clone(),
            proxies: config.proxies(),
            is_tls: config.tls_files().is_some(),
            addresses: Addresses::new(config.address_limits()),
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
        }
    }

    /// Checks where a handshake comes from, and counts it for its client's address.
    ///
    /// # Errors
    /// 403 for a page of another origin, 429 where the address shakes hands too often.
    pub(crate) fn check(&self, request: &Request) -> Result<ClientAddress, HttpRefusal> {
        // A peer that has gone already has no address: it counts with all others that have none.
        let peer = request.peer_addr().as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
        let asked = self.proxies.asked(peer, request.headers(), self.is_tls);
        if !self.origins.allow(request.headers(), asked) {
            return Err(HttpRefusal::new(HttpCode::Forbidden, "pages of this origin may not connect here"));
        }
        let client = ClientAddress::of(self.proxies.client_of(peer, request.headers()));
        match self.addresses.shake_hands(client, clock::now()) {
            Ok(()) => Ok(client),
            Err(wait) => {
                let refusal = HttpRefusal::new(HttpCode::RateLimited, "too many handshakes from this address");
                Err(refusal.retry_after(wait))
            }
        }
    }

    /// Takes a place for one more connection.
    ///
    /// # Errors
    /// 429 where its address has as many as it may, 503 where the server has.
    pub(crate) fn enter(&self, client: ClientAddress) -> Result<Place, HttpRefusal> {
        let of_address = self.addresses.enter(client, clock::now()).ok_or_else(|| {
            let text = "this address has as many connections as it may have";
            HttpRefusal::new(HttpCode::TooManyConnections, text)
        })?;
        let of_server = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            HttpRefusal::new(HttpCode::Unavailable, "the server has as many connections as it may have")
        })?;
        Ok(Place { _of_server: of_server, _of_address: of_address })
    }

    /// How many connections have a place: also those that were told to go and have not gone.
    pub(crate) fn places_taken(&self) -> usize {
        self.places_max.saturating_sub(self.places.available_permits())
    }
}
