//! Prepares an accepted TCP connection for HTTP: admission, then the TLS handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use log::debug;
use prometheus::{IntCounter, Registry};
use starling_actors::socket::Socket;

use crate::http_stream::HttpStream;
use crate::listener::Accepted;
use crate::state::ServerState;
use crate::tls::Tls;

/// Accepts connections, with TLS if a certificate is configured.
#[derive(Debug)]
pub(crate) struct Accept {
    tls: Option<Arc<Tls>>,
    /// Longest time of a TLS handshake; after that the connection is closed.
    time: Duration,
    failures: IntCounter,
    closed: IntCounter,
}

impl Accept {
    /// Registers the counters; the diagnosis judges the failed handshakes, too.
    ///
    /// # Errors
    /// A registry already has them.
    pub(crate) fn register(
        tls: Option<Arc<Tls>>,
        time: Duration,
        registry: &Registry,
        judged: &Registry,
    ) -> Result<Arc<Self>, prometheus::Error> {
        let failures = IntCounter::new(
            "chat_failed_tls_handshakes_total",
            "Failed TLS handshakes, including those that took too long.",
        )?;
        let closed = IntCounter::new(
            "chat_closed_at_accept_total",
            "Connections that were closed at once: the server had no place for them, nor for an answer.",
        )?;
        registry.register(Box::new(closed.clone()))?;
        for registry in [registry, judged] {
            registry.register(Box::new(failures.clone()))?;
        }
        Ok(Arc::new(Self { tls, time, failures, closed }))
    }

    /// Prepares a connection for HTTP.
    ///
    /// # Errors
    /// The connection is not admitted, or its TLS handshake fails. It is closed in either case.
    pub(crate) async fn take(
        &self,
        accepted: Accepted,
        state: Arc<ServerState>,
    ) -> Result<Box<HttpStream>, DispatchError> {
        let Accepted { tcp, peer, at } = accepted;
        // Before TLS: a connection counts even while its handshake is running.
        let Some(place) = state.admission().accept(peer) else {
            self.closed.inc();
            return Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into()));
        };
        let Some(tls) = &self.tls else {
            return Ok(HttpStream::accepted(Socket::Plain(tcp), place, state, at));
        };
        // The failure is counted before the connection closes, so whoever sees the end finds it in the metrics.
        let failed = |error: io::Error| {
            self.failures.inc();
            debug!("TLS handshake failed: {error}");
            Err(DispatchError::Io(error))
        };
        // Boxed, so that a connection without TLS does not reserve its memory.
        let mut handshake = Box::pin(tokio::time::timeout(self.time, tls.acceptor().accept(tcp).into_fallible()));
        match handshake.as_mut().await {
            Ok(Ok(stream)) => Ok(HttpStream::accepted(Socket::Tls(Box::new(stream)), place, state, at)),
            Ok(Err((error, _open))) => failed(error),
            Err(_) => failed(io::ErrorKind::TimedOut.into()),
        }
    }
}
