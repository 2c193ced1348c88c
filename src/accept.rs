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

use crate::tls::Tls;

/// Takes connections in, with TLS where there is a certificate.
#[derive(Debug)]
pub(crate) struct Accept {
    tls: Option<Arc<Tls>>,
    /// How long the TLS handshake may take; then the connection is closed.
    time: Duration,
    failures: IntCounter,
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
        registry.register(Box::new(failures.clone()))?;
        Ok(Arc::new(Self { tls, time, failures }))
    }

    /// Prepares a connection for HTTP.
    ///
    /// # Errors
    /// TLS is asked for and does not come about; the connection ends.
    pub(crate) async fn take(&self, tcp: TcpStream) -> Result<(Socket, Protocol, Option<SocketAddr>), DispatchError> {
        let peer = tcp.peer_addr().ok();
        // Without it a step of 40 ms appears. A socket that is gone needs none.
        tcp.set_nodelay(true).unwrap_or_default();
        let Some(tls) = &self.tls else { return Ok((Socket::Plain(tcp), Protocol::Http1, peer)) };
        let outcome = match tokio::time::timeout(self.time, tls.acceptor().accept(tcp)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match outcome {
            Ok(stream) => Ok((Socket::Tls(Box::new(stream)), Protocol::Http1, peer)),
            Err(error) => {
                self.failures.inc();
                debug!("a TLS handshake came to nothing: {error}");
                Err(DispatchError::Io(error))
            }
        }
    }
}
