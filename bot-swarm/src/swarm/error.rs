//! Why a swarm does not run at all.

use std::net::SocketAddr;

use crate::credentials::TokenError;
use crate::open_files::TooManyBots;
use crate::tls::TlsError;

/// Why a swarm did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The limit of open files is too low for so many bots.
    #[error(transparent)]
    TooManyBots(#[from] TooManyBots),
    /// The prefix of the bots' names makes no name.
    #[error("the bots cannot be named")]
    Names(#[from] starling_protocol::names::NameError),
    /// The bots have no tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The bots cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The metrics cannot be served.
    #[error("BOT_METRICS_BIND={address} cannot be listened on")]
    Metrics {
        /// Where they were to be.
        address: SocketAddr,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
}
