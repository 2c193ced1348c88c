//! The options of the test server.

use std::time::Duration;

use starling_protocol::ErrorCode;

use super::faults::Fault;
use super::inboxes::InboxFault;
use super::lies::Lie;

/// The behaviour of the server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Its fault.
    pub(crate) fault: Option<Fault>,
    /// One message of this many is refused for its rate; 0: none.
    pub(crate) refuse_every: u64,
    /// Every message up to the one of this number is refused, with this code; `None`: none.
    pub(crate) refuses_upto: Option<(u64, ErrorCode)>,
    /// Whether no resume recovers anything.
    pub(crate) recovers_nothing: bool,
    /// The most clients that it can serve: while more are connected, it refuses every message for good; `None`: no limit.
    pub(crate) clients_max: Option<usize>,
    /// The delay of each delivery; answers are not delayed.
    pub(crate) delay: Duration,
    /// The number of messages after which the server stops for good.
    pub(crate) stops_after: Option<u64>,
    /// Messages after which the server does nothing at all for a second.
    pub(crate) stalls_after: Option<u64>,
    /// The number of messages after which the server sends nothing, but keeps every connection open.
    pub(crate) mute_after: Option<u64>,
    /// The most connected clients; others are refused with 503. `None`: no limit.
    pub(crate) seats: Option<usize>,
    /// One delivery of this many is dropped; 0: none.
    pub(crate) drops_every: u64,
    /// The number of messages after which every connection is dropped once.
    pub(crate) cuts_after: Option<u64>,
    /// Whether it claims that everything was recovered, but sends nothing.
    pub(crate) forges_recovery: bool,
    /// Whether it keeps private messages in inboxes.
    pub(crate) keeps_private: bool,
    /// Its fault when an inbox is resumed.
    pub(crate) inbox_fault: Option<InboxFault>,
    /// A person writes in every room after each this many bot messages; 0: never.
    pub(crate) person_every: u64,
    /// The number of messages after which every message is refused for its rate, for a minute.
    pub(crate) limits_after: Option<u64>,
    /// The number of handshakes of each client that are refused with 503 before one is accepted.
    pub(crate) refuses_first: u32,
    /// Its false statement in every answer.
    pub(crate) lie: Option<Lie>,
}
