//! How long a delivery took, as far as that can be told, and by which clock.

use std::time::Duration;

use crate::server_clock::Apart;

/// How long a delivery took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// By the clock of the host that the sender and the receiver are on.
    Exact(Duration),
    /// By the server's clock, because they are on two hosts: as uncertain as it says.
    Remote(Apart),
    /// It cannot be told, or is the bots' own fault.
    Untimed,
}

impl Timing {
    /// The time, where it is exact.
    pub fn exact(self) -> Option<Duration> {
        match self {
            Self::Exact(latency) => Some(latency),
            Self::Remote(_) | Self::Untimed => None,
        }
    }
}
