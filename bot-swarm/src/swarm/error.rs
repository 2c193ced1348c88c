//! The reasons that a swarm cannot run.

use std::net::SocketAddr;

use crate::credentials::TokenError;
use crate::open_files::TooManyBots;
use crate::tls::TlsError;

/// The reason that a swarm did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The limit of open files is too low for this many bots.
    #[error(transparent)]
    TooManyBots(#[from] TooManyBots),
    /// The prefix of the bots' names is not valid in a name.
    #[error("the bots cannot be named")]
    Names(#[from] starling_protocol::names::NameError),
    /// The bots have no tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The TLS settings are invalid.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system has no thread for a worker.
    #[error("only {started} of BOT_WORKERS={wanted} threads could be started")]
    Threads {
        /// The number of started workers.
        started: u32,
        /// The required number of workers.
        wanted: u32,
    },
    /// The metrics cannot be served.
    #[error("BOT_METRICS_BIND={address} cannot be used as a listening address")]
    Metrics {
        /// The configured address.
        address: SocketAddr,
        /// The reason.
        #[source]
        error: std::io::Error,
    },
}
