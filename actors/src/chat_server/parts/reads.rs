//! Reads of the history that are on their way: for whom each of them is.

use slab::Slab;
use starling_protocol::ClientId;
use tokio::sync::oneshot;

use crate::chat_server::command::Frame;
use crate::credits::Ticket;
use crate::history::{Page, ReadError, ReadToken};
use crate::ids::SessionId;

/// For whom the history is read.
#[derive(Debug)]
pub(crate) enum Reader {
    /// A client that asked for a page; of its private messages, perhaps only of those with one client.
    Page { frame: Frame, with: Option<ClientId> },
    /// A session whose resume is held against the message that it goes on from.
    Proof { session: SessionId },
    /// A session that catches up.
    Replay {
        session: SessionId,
        /// Held by the `join` that began it, until the first page is offered.
        ticket: Option<Ticket>,
    },
    /// Somebody outside the chat.
    Outside(oneshot::Sender<Result<Page, ReadError>>),
}

/// The reads on their way. Bounded by the credits in circulation, the sessions, and the HTTP requests.
#[derive(Debug, Default)]
pub(crate) struct Reads(Slab<Reader>);

impl Reads {
    pub(crate) fn begin(&mut self, reader: Reader) -> ReadToken {
        ReadToken(self.0.insert(reader))
    }

    pub(crate) fn finish(&mut self, token: ReadToken) -> Option<Reader> {
        self.0.try_remove(token.0)
    }
}
