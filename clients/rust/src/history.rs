//! Reading messages back, page by page.

use std::collections::VecDeque;

use futures_util::{Stream, stream};
use starling_protocol::{ChatMessage, ClientCommand, ClientId, Epoch, HistoryPage, RoomName, ServerEvent, limits};

use crate::client::{Asker, unexpected};
use crate::core::Answered;
use crate::errors::SendError;

/// Messages of a room or a private conversation, the newest first; with [`RoomHandle::history_after`], the oldest
/// first.
///
/// It reads a page when the application has consumed the previous one, and continues across lost connections.
///
/// [`RoomHandle::history_after`]: crate::RoomHandle::history_after
#[derive(Debug)]
pub struct History {
    asker: Asker,
    room: Option<RoomName>,
    with: Option<ClientId>,
    next_page: HistoryPage,
    /// The epoch of the pages that were read.
    epoch: Option<Epoch>,
    page: VecDeque<ChatMessage<'static>>,
    has_more: bool,
}

impl History {
    pub(crate) fn new(asker: Asker, room: Option<RoomName>, with: Option<ClientId>, from: HistoryPage) -> Self {
        Self { asker, room, with, next_page: from, epoch: None, page: VecDeque::new(), has_more: true }
    }

    /// The next message. `None`: there are no more.
    ///
    /// # Errors
    /// [`SendError`]; a later call tries again. After [`SendError::OtherEpoch`], only a new history can return
    /// messages.
    pub async fn next(&mut self) -> Result<Option<ChatMessage<'static>>, SendError> {
        while self.page.is_empty() && self.has_more {
            self.read().await?;
        }
        let is_forwards = matches!(self.next_page, HistoryPage::After(_));
        Ok(if is_forwards { self.page.pop_front() } else { self.page.pop_back() })
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
        let (page, limit) = (self.next_page, limits::HISTORY_LIMIT_MAX);
        let command = match self.room.clone() {
            Some(room) => ClientCommand::History { room, page, limit },
            None => ClientCommand::InboxHistory { with: self.with.clone(), page, limit },
        };
        let Answered { event, epoch } = self.asker.ask_about(command).await?;
        if self.epoch.is_some() && epoch.is_some() && self.epoch != epoch {
            return Err(SendError::OtherEpoch);
        }
        self.epoch = epoch.or(self.epoch);
        let ServerEvent::History(history) = event else { return Err(unexpected(&event)) };
        let is_forwards = matches!(page, HistoryPage::After(_));
        let end = if is_forwards { history.messages.last() } else { history.messages.first() };
        let end = end.and_then(|message| message.seq);
        self.has_more = history.has_more && end.is_some();
        self.next_page = match end {
            Some(seq) if is_forwards => HistoryPage::After(seq),
            Some(seq) => HistoryPage::Before(seq),
            None => page,
        };
        self.page.extend(history.messages);
        Ok(())
    }
}
