//! The reasons that the server does not start.

use std::io;
use std::net::SocketAddr;

use starling_actors::chat_server::CannotBegin;
use starling_actors::history::CannotOpen;

use crate::auth::AuthError;
use crate::nats::CannotConnect;
use crate::tls::TlsError;
use crate::webhooks::CannotKeep;

/// The reason that the server does not start: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {error}{}", advice(error))]
    Bind {
        /// The value of `CHAT_BIND`.
        address: SocketAddr,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The history cannot be opened; it was not changed.
    #[error(transparent)]
    History(#[from] CannotOpen),
    /// The log of several nodes cannot be used.
    #[error(transparent)]
    Log(#[from] CannotConnect),
    /// The history and the log of several nodes do not belong together.
    #[error("this server cannot be a node of the chat in CHAT_NATS_STREAM")]
    Node(#[from] CannotBegin),
    /// Tokens cannot be verified.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The certificate and the key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The handler of SIGHUP cannot be installed.
    #[error("cannot wait for SIGHUP: {0}")]
    Hangup(io::Error),
    /// The limit of open files leaves none for connections.
    #[error(
        "the limit of open files is {0} and leaves none for connections; raise it (ulimit -n, LimitNOFILE=, --ulimit nofile=)"
    )]
    OpenFiles(u64),
    /// The positions of webhooks cannot be opened.
    #[error(transparent)]
    Webhooks(#[from] CannotKeep),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
    /// The metrics cannot be registered.
    #[error("cannot register the metrics: {0}")]
    Metrics(String),
}

/// Advice for the operator about an address that the server cannot listen on.
fn advice(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; another program listens there: stop it, or choose another port with CHAT_BIND"
    } else if error.kind() == io::ErrorKind::AddrNotAvailable {
        "; no network interface of this machine has this address"
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        "; a port below 1024 needs root or the capability CAP_NET_BIND_SERVICE"
    } else {
        ""
    }
}
