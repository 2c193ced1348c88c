//! The server that runs with this configuration on this machine, as the commands of its program reach it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::ParseError;
use actix_web::web::Bytes;
use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use awc::{Client, ClientRequest, Connector, SendClientRequest};
use serde::Deserialize;
use tokio_rustls::rustls;

use crate::config::Config;
use crate::tls::{self, TlsError};

/// The reason that the server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum NotReached {
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
        /// The error of the client, and what helps if that is known.
        reason: String,
    },
}

/// Most bytes of an answer: all sanctions, each with the longest reason, take less.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The body of a refusal.
#[derive(Debug, Deserialize)]
struct Refusal {
    message: String,
}

/// See the [module](self).
pub(crate) struct OwnServer {
    client: Client,
    scheme: &'static str,
    /// The address at which it is asked.
    pub(crate) address: SocketAddr,
}

impl OwnServer {
    /// The server of this configuration. An answer takes at most this long. Must run on an actix system.
    ///
    /// If it uses TLS, it must present the certificate that is now in `CHAT_TLS_CERT`. The names and dates of the
    /// certificate are not checked: the request goes to an address of the same machine, and it is for clients to judge
    /// them.
    pub(crate) fn of(config: &Config, deadline: Duration) -> Result<Self, NotReached> {
        let address = reachable(config.bind)?;
        let (connector, scheme) = match config.tls_files() {
            None => (Connector::new(), "http"),
            Some((cert, _)) => (Connector::new().rustls_0_23(Arc::new(tls::client_of(&cert)?)), "https"),
        };
        let client = Client::builder().connector(connector).timeout(deadline).finish();
        Ok(Self { client, scheme, address })
    }

    /// A request for a path.
    pub(crate) fn request(&self, method: Method, path: &str) -> ClientRequest {
        self.client.request(method, format!("{}://localhost{path}", self.scheme)).address(self.address)
    }

    /// Waits for the answer to a request. The inner error is the reason that the server has refused it: the message in
    /// the answer, or its status if there is none.
    pub(crate) async fn answer(&self, asked: SendClientRequest) -> Result<Result<Bytes, String>, NotReached> {
        let mut answer = asked.await.map_err(|error| self.no_answer(&format_args!("{error}{}", advice(&error))))?;
        let body = answer.body().limit(ANSWER_BYTES_MAX).await.map_err(|error| self.no_answer(&error))?;
        if answer.status().is_success() {
            return Ok(Ok(body));
        }
        let refusal = serde_json::from_slice::<Refusal>(&body);
        Ok(Err(refusal.map_or_else(|_| answer.status().to_string(), |refusal| refusal.message)))
    }

    fn no_answer(&self, error: &impl ToString) -> NotReached {
        NotReached::NoAnswer { address: self.address, reason: error.to_string() }
    }
}

/// What helps if only one of the two uses TLS.
#[expect(clippy::wildcard_enum_match_arm, reason = "the errors of a library, which may add some")]
fn advice(error: &SendRequestError) -> &'static str {
    match error {
        SendRequestError::Response(ParseError::Io(_)) => "",
        SendRequestError::Response(_) => {
            "; if the server uses TLS, set CHAT_TLS_CERT and CHAT_TLS_KEY as for the server"
        }
        SendRequestError::Connect(ConnectError::Io(error)) => {
            let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
            let is_plain = matches!(of_tls, Some(rustls::Error::InvalidMessage(_)));
            if is_plain { "; if the server uses no TLS, leave CHAT_TLS_CERT and CHAT_TLS_KEY out" } else { "" }
        }
        _ => "",
    }
}

/// The address at which a server can be reached from the same machine: a server that listens on all addresses also
/// listens on loopback.
fn reachable(bound: SocketAddr) -> Result<SocketAddr, NotReached> {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    if bound.port() == 0 { Err(NotReached::UnknownPort) } else { Ok(SocketAddr::new(ip, bound.port())) }
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
        assert!(matches!(reachable("0.0.0.0:0".parse().unwrap()), Err(NotReached::UnknownPort)));
    }
}
