//! Asks a running server whether it is ready. Containers use this as their health check, since their image has no other
//! HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use awc::http::StatusCode;
use awc::{Client, Connector};
use serde::Deserialize;

use crate::config::Config;
use crate::tls::{self, TlsError};

/// Longest time to wait for the answer; after that the server counts as not ready.
const DEADLINE: Duration = Duration::from_secs(3);

/// The reason that a server counts as not ready: one line.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It is bound to a free port, which only the server itself knows.
    #[error("CHAT_BIND has port 0, so the port that the server listens on is not known")]
    UnknownPort,
    /// It speaks TLS, and its certificate cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server did not answer.
    #[error("no answer from {address}: {reason}")]
    NoAnswer {
        /// The address of the request.
        address: SocketAddr,
        /// The error of the client.
        reason: String,
    },
    /// The server answered that it is not ready.
    #[error("{address} is not ready: {reason}")]
    Refused {
        /// The address of the request.
        address: SocketAddr,
        /// The message in the answer, or its status if there is none.
        reason: String,
    },
}

/// The body of a refusal.
#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
}

/// Asks the server with this configuration whether it is ready. Must run on an actix system.
///
/// If it uses TLS, it must present the certificate that is now in `CHAT_TLS_CERT`. The names and dates of the
/// certificate are not checked: the request goes to an address of the same machine, and it is for clients to judge
/// them.
///
/// # Errors
/// [`NotReady`], also if there is no answer within 3 seconds.
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

/// The address at which a server can be reached from the same machine: a server that listens on all addresses also
/// listens on loopback.
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
