//! Whether a server that runs elsewhere is ready: what a container's health check asks, where there is no other program
//! to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use awc::Client;
use awc::http::StatusCode;
use serde::Deserialize;

/// How long the answer may take; more is an answer too.
const DEADLINE: Duration = Duration::from_secs(3);

/// Why a server counts as not ready: one line.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It was bound to a free port, and only it knows which.
    #[error("CHAT_BIND has port 0: nobody but the server knows where it listens")]
    UnknownPort,
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

/// Asks the server that is bound to this address whether it can serve. Must run on an actix system.
///
/// # Errors
/// [`NotReady`]; after 3 seconds without an answer too.
pub async fn ask(bound: SocketAddr) -> Result<(), NotReady> {
    let address = reachable(bound)?;
    let client = Client::builder().timeout(DEADLINE).finish();
    let asked = client.get(format!("http://{address}/readyz")).send().await;
    let mut answer = asked.map_err(|error| NotReady::NoAnswer { address, reason: error.to_string() })?;
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
