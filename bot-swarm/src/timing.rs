//! The latency of a delivery, if known, and the clock that measured it.

use std::time::Duration;

use crate::server_clock::Apart;

/// The latency of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// By the clock of the host that both sender and receiver are on.
    Exact(Duration),
    /// By the server's clock, because they are on two hosts, with the error that it contains.
    Remote(Apart),
    /// Unknown, or caused by the bots themselves.
    Untimed,
}

impl Timing {
    /// The latency, if it is exact.
    pub fn exact(self) -> Option<Duration> {
        match self {
            Self::Exact(latency) => Some(latency),
            Self::Remote(_) | Self::Untimed => None,
        }
    }
}
