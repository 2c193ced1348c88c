//! Asks a running server whether it is ready. Containers use this as their health check, since their image has no other
//! HTTP client.

use std::net::SocketAddr;
use std::time::Duration;

use awc::http::Method;

use crate::config::Config;
use crate::own_server::{NotReached, OwnServer};

/// Longest time to wait for the answer; after that the server counts as not ready.
const DEADLINE: Duration = Duration::from_secs(3);

/// The reason that a server counts as not ready: one line.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It does not answer.
    #[error(transparent)]
    NotReached(#[from] NotReached),
    /// The server answered that it is not ready.
    #[error("{address} is not ready: {reason}")]
    Refused {
        /// The address of the request.
        address: SocketAddr,
        /// The message in the answer, or its status if there is none.
        reason: String,
    },
}

/// Asks the server with this configuration whether it is ready. Must run on an actix system.
///
/// # Errors
/// [`NotReady`], also if there is no answer within 3 seconds.
pub async fn ask(config: &Config) -> Result<(), NotReady> {
    let server = OwnServer::of(config, DEADLINE)?;
    let answer = server.answer(server.request(Method::GET, "/readyz").send()).await?;
    answer.map(drop).map_err(|reason| NotReady::Refused { address: server.address, reason })
}
