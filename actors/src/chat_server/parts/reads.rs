//! Reads of the history in progress, each with its reader.

use slab::Slab;
use starling_protocol::ClientId;
use tokio::sync::oneshot;

use crate::chat_server::command::Frame;
use crate::chat_server::parts::in_flight::Asker;
use crate::credits::Ticket;
use crate::history::{Content, Page, ReadError, ReadToken};
use crate::ids::{RoomId, SessionId};

/// A change of a message, or a private reply to one, that waits for that message.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Its frame keeps the ticket.
    pub(crate) asker: Asker,
    /// Senders of the same with the same `id`.
    pub(crate) repeats: Vec<Asker>,
    /// The room of the message, or the client's inbox.
    pub(crate) room: RoomId,
    /// The change or the reply.
    pub(crate) content: Content,
    /// The receiver of a reply.
    pub(crate) to: Option<ClientId>,
}

/// The reader of a page of the history.
#[derive(Debug)]
pub(crate) enum Reader {
    /// A client that asked for a page; of its private messages, perhaps only of those with one client.
    Page { frame: Frame, with: Option<ClientId> },
    /// A session whose anchor is compared with the stored message.
    Anchor { session: SessionId },
    /// A session that catches up.
    Replay {
        session: SessionId,
        /// The ticket of the `join` that started the replay, held until the first page is offered.
        ticket: Option<Ticket>,
    },
    /// A change of a message, or a private reply to one, which depends on that message.
    Changed(Box<Asked>),
    /// A caller outside the chat.
    Outside(oneshot::Sender<Result<Page, ReadError>>),
}

/// The reads in progress. Bounded by the credits in circulation, the sessions, and the HTTP requests.
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
