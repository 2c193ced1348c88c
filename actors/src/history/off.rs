//! No history: a message is delivered and gone.

use std::sync::Arc;

use starling_protocol::Epoch;

use super::{Completion, HistoryStore, Page, ReadRequest, StoredMessage};
use crate::chat_server::command::DropReply;
use crate::ids::RoomId;

/// Keeps nothing. Every message counts as stored at once, and every page is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHistory;

impl HistoryStore for NoHistory {
    fn append(&mut self, room: RoomId, _: Epoch, message: Arc<StoredMessage>, done: &mut Vec<Completion>) {
        done.push(Completion::Stored { room, seq: message.seq, oldest: message.seq.next() });
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        done.push(Completion::Read { request, page: Page::default() });
    }

    fn forget(&mut self, _: RoomId, reply: Option<DropReply>) {
        // Whoever asked may have gone.
        reply.map(|reply| reply.send(Ok(())).unwrap_or_default()).unwrap_or_default();
    }
}
