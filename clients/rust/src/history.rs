//! Reading messages back, page by page.

use std::collections::VecDeque;

use futures_util::{Stream, stream};
use starling_protocol::{ChatMessage, ClientCommand, ClientId, HistoryPage, RoomName, Seq, ServerEvent, limits};

use crate::client::{Asker, unexpected};
use crate::errors::SendError;

/// Messages of a room or a private conversation, the newest first.
///
/// A page is read when the one before it has been returned.
#[derive(Debug)]
pub struct History {
    asker: Asker,
    room: Option<RoomName>,
    with: Option<ClientId>,
    /// The oldest message that was read.
    before: Option<Seq>,
    page: VecDeque<ChatMessage<'static>>,
    has_more: bool,
}

impl History {
    pub(crate) fn new(asker: Asker, room: Option<RoomName>, with: Option<ClientId>) -> Self {
        Self { asker, room, with, before: None, page: VecDeque::new(), has_more: true }
    }

    /// The next older message. `None`: there are no more.
    ///
    /// # Errors
    /// [`SendError`]; a later call tries again.
    pub async fn next(&mut self) -> Result<Option<ChatMessage<'static>>, SendError> {
        while self.page.is_empty() && self.has_more {
            self.read().await?;
        }
        Ok(self.page.pop_back())
    }

    /// The same as a stream. It ends with the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<ChatMessage<'static>, SendError>> + Send {
        stream::unfold(Some(self), async |history| {
            let mut history = history?;
            match history.next().await {
                Ok(Some(message)) => Some((Ok(message), Some(history))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn read(&mut self) -> Result<(), SendError> {
        let page = self.before.map_or(HistoryPage::Newest, HistoryPage::Before);
        let limit = limits::HISTORY_LIMIT_MAX;
        let command = match self.room.clone() {
            Some(room) => ClientCommand::History { room, page, limit },
            None => ClientCommand::InboxHistory { with: self.with.clone(), page, limit },
        };
        let answer = self.asker.ask(command).await?;
        let ServerEvent::History(history) = answer else { return Err(unexpected(&answer)) };
        let oldest = history.messages.first().and_then(|message| message.seq);
        self.has_more = history.has_more && oldest.is_some();
        self.before = oldest.or(self.before);
        self.page.extend(history.messages);
        Ok(())
    }
}
