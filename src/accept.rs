//! From an accepted TCP connection to the stream that HTTP is spoken on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Protocol;
use actix_http::error::DispatchError;
use actix_rt::net::TcpStream;
use log::debug;
use prometheus::{IntCounter, Registry};
use starling_actors::socket::Socket;

use crate::http_stream::HttpStream;
use crate::state::ServerState;
use crate::tls::Tls;

/// Takes connections in, with TLS where there is a certificate.
#[derive(Debug)]
pub(crate) struct Accept {
    tls: Option<Arc<Tls>>,
    /// How long the TLS handshake may take; then the connection is closed.
    time: Duration,
    failures: IntCounter,
    closed: IntCounter,
}

impl Accept {
    /// Registers what it counts.
    ///
    /// # Errors
    /// The registry has it already.
    pub(crate) fn register(
        tls: Option<Arc<Tls>>,
        time: Duration,
        registry: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let failures = IntCounter::new(
            "chat_failed_tls_handshakes_total",
            "TLS handshakes that came to nothing, those that took too long among them.",
        )?;
        let closed = IntCounter::new(
            "chat_closed_at_accept_total",
            "Connections that were closed at once: there was no place for them, and none for their refusal.",
        )?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(closed.clone()))?;
        Ok(Arc::new(Self { tls, time, failures, closed }))
    }

    /// Prepares a connection for HTTP.
    ///
    /// # Errors
    /// There is no place for it, or TLS is asked for and does not come about; the connection ends.
    pub(crate) async fn take(
        &self,
        tcp: TcpStream,
        state: Arc<ServerState>,
    ) -> Result<(HttpStream, Protocol, Option<SocketAddr>), DispatchError> {
        let peer = tcp.peer_addr().ok();
        // Before TLS: a handshake that is not done yet is a connection too.
        let Some(place) = state.admission().accept(peer) else {
            self.closed.inc();
            return Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
        };
        // Without it a step of 40 ms appears. A socket that is gone needs none.
        tcp.set_nodelay(true).unwrap_or_default();
        let Some(tls) = &self.tls else {
            return Ok((HttpStream::new(Socket::Plain(tcp), place, state), Protocol::Http1, peer));
        };
        let outcome = match tokio::time::timeout(self.time, tls.acceptor().accept(tcp)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match outcome {
            Ok(stream) => {
                let socket = Socket::Tls(Box::new(stream));
                Ok((HttpStream::new(socket, place, state), Protocol::Http1, peer))
            }
            Err(error) => {
                self.failures.inc();
                debug!("a TLS handshake came to nothing: {error}");
                Err(DispatchError::Io(error))
            }
        }
    }
}
