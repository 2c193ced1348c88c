//! How the test server is.

use std::time::Duration;

use super::faults::Fault;
use super::inboxes::InboxFault;
use super::lies::Lie;

/// How the server is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// What it does wrong.
    pub(crate) fault: Option<Fault>,
    /// Every so many messages, one is refused for its rate; 0: none.
    pub(crate) refuse_every: u64,
    /// Whether nothing can be resumed.
    pub(crate) recovers_nothing: bool,
    /// Most clients that it can serve: while more are connected, every message is refused; `None`: any number.
    pub(crate) clients_max: Option<usize>,
    /// How long each delivery is kept back; answers are not.
    pub(crate) delay: Duration,
    /// Messages after which the server ends for good.
    pub(crate) stops_after: Option<u64>,
    /// Messages after which the server does nothing at all for a second.
    pub(crate) stalls_after: Option<u64>,
    /// Messages after which the server says nothing any more, and keeps every connection.
    pub(crate) mute_after: Option<u64>,
    /// Most clients that it lets in; others are refused with 503. `None`: any number.
    pub(crate) seats: Option<usize>,
    /// Every so many deliveries, one is dropped; 0: none.
    pub(crate) drops_every: u64,
    /// Messages after which every connection is cut, once.
    pub(crate) cuts_after: Option<u64>,
    /// Whether it says that everything was recovered, and gives nothing.
    pub(crate) forges_recovery: bool,
    /// Whether it keeps private messages in inboxes.
    pub(crate) keeps_private: bool,
    /// What it does wrong when an inbox is resumed.
    pub(crate) inbox_fault: Option<InboxFault>,
    /// Messages of bots between which a person says something in every room; 0: nobody does.
    pub(crate) person_every: u64,
    /// Messages after which everything is refused for its rate, for a minute.
    pub(crate) limits_after: Option<u64>,
    /// Handshakes of each client that are refused with 503 before it is let in.
    pub(crate) refuses_first: u32,
    /// What it says that is not so, in every answer.
    pub(crate) lie: Option<Lie>,
}
