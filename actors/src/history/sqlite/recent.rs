//! The recent messages of active rooms, in front of the disk.

use std::sync::Arc;

use starling_protocol::{Epoch, HistoryPage, Seq};

use crate::history::memory::{KeptBytes, MemoryHistory};
use crate::history::{Page, ReadRequest, StoredMessage};
use crate::ids::RoomId;

/// The newest messages of rooms in which something was said lately, without a gap, bounded like a history in memory.
#[derive(Debug)]
pub(super) struct Recent(MemoryHistory);

impl Recent {
    pub(super) fn new(messages_max: u32, bytes_max: u64) -> Self {
        Self(MemoryHistory::new(messages_max, bytes_max))
    }

    pub(super) fn kept_bytes(&self) -> KeptBytes {
        self.0.kept_bytes()
    }

    /// Takes a message that was stored just now.
    pub(super) fn push(&mut self, room: RoomId, epoch: Epoch, message: Arc<StoredMessage>) {
        self.0.keep(room, epoch, message);
    }

    /// The answer to a request, where nothing of it needs the disk.
    pub(super) fn answer(&self, request: &ReadRequest, newest: Seq, oldest: Seq) -> Option<Page> {
        if request.search.is_some() || request.with.is_some() {
            return None;
        }
        if newest < oldest {
            return Some(Page::default());
        }
        if let HistoryPage::After(seq) = request.page
            && seq >= newest
        {
            return Some(Page::default());
        }
        let (first, last) = self.0.bounds(request.room)?;
        if last != newest {
            return None;
        }
        match request.page {
            HistoryPage::After(seq) if seq.next() >= first => Some(self.0.select(request)),
            HistoryPage::After(_) => None,
            HistoryPage::Newest | HistoryPage::Before(_) => {
                let mut page = self.0.select(request);
                // Ended before the memory did, or by the limit, or the memory has all there is.
                let is_whole = page.has_more || page.messages.len() == request.limit || first <= oldest;
                page.has_more |= first > oldest;
                is_whole.then_some(page)
            }
        }
    }

    /// Messages before `oldest` are gone.
    pub(super) fn trim(&mut self, room: RoomId, oldest: Seq) {
        while self.0.bounds(room).is_some_and(|(first, _)| first < oldest) {
            self.0.drop_oldest(room);
        }
    }

    pub(super) fn forget(&mut self, room: RoomId) {
        self.0.drop_room(room);
    }
}
