//! Whether a server that runs elsewhere is ready: what a container's health check asks, where there is no other program
//! to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use awc::http::StatusCode;
use awc::{Client, Connector};
use serde::Deserialize;

use crate::config::Config;
use crate::tls::{self, TlsError};

/// How long the answer may take; more is an answer too.
const DEADLINE: Duration = Duration::from_secs(3);

/// Why a server counts as not ready: one line.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It was bound to a free port, and only it knows which.
    #[error("CHAT_BIND has port 0: nobody but the server knows where it listens")]
    UnknownPort,
    /// It speaks TLS, and its certificate cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody answers there.
    #[error("no answer from {address}: {reason}")]
    NoAnswer {
        /// Where it was asked.
        address: SocketAddr,
        /// What came instead.
        reason: String,
    },
    /// It says why it cannot serve.
    #[error("{address} is not ready: {reason}")]
    Refused {
        /// Where it was asked.
        address: SocketAddr,
        /// The server's own words, or the status where it has none.
        reason: String,
    },
}

/// A refusal's body.
#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
}

/// Asks the server that runs with this configuration whether it can serve. Must run on an actix system.
///
/// Where it speaks TLS, it must show the certificate that `CHAT_TLS_CERT` has now. Neither the certificate's names nor
/// its dates are looked at: it is asked at an address of its own machine, and users know better what they accept.
///
/// # Errors
/// [`NotReady`]; after 3 seconds without an answer too.
pub async fn ask(config: &Config) -> Result<(), NotReady> {
    let address = reachable(config.bind)?;
    let (connector, scheme) = match config.tls_files() {
        None => (Connector::new(), "http"),
        Some((cert, _)) => (Connector::new().rustls_0_23(Arc::new(tls::client_of(&cert)?)), "https"),
    };
    let client = Client::builder().connector(connector).timeout(DEADLINE).finish();
    let asked = client.get(format!("{scheme}://localhost/readyz")).address(address);
    let mut answer = asked.send().await.map_err(|error| NotReady::NoAnswer { address, reason: error.to_string() })?;
    if answer.status() == StatusCode::OK {
        return Ok(());
    }
    let refusal = answer.json::<Refusal>().await;
    let reason = refusal.map_or_else(|_| answer.status().to_string(), |refusal| refusal.message);
    Err(NotReady::Refused { address, reason })
}

/// Where a server that is bound to this address can be asked from the same machine: one that listens everywhere listens
/// on loopback too.
fn reachable(bound: SocketAddr) -> Result<SocketAddr, NotReady> {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    if bound.port() == 0 { Err(NotReady::UnknownPort) } else { Ok(SocketAddr::new(ip, bound.port())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        for (bound, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.2:80", "127.0.0.2:80"),
            ("[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(reachable(bound.parse().unwrap()).unwrap(), asked.parse().unwrap());
        }
        assert!(matches!(reachable("0.0.0.0:0".parse().unwrap()), Err(NotReady::UnknownPort)));
    }
}
