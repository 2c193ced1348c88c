//! No history: a message is delivered and gone.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use starling_protocol::{Epoch, Seq};

use super::{Completion, Entry, EntryCopy, HistoryStore, Page, ReadRequest, Receipt, StoredCopy};
use crate::ids::RoomId;

/// Keeps no message. It numbers them, commits each at once, and every page is empty.
#[derive(Debug, Clone, Default)]
pub struct NoHistory {
    newest: FxHashMap<RoomId, (Epoch, Seq)>,
}

impl HistoryStore for NoHistory {
    fn append(&mut self, entry: Entry, done: &mut Vec<Completion>) {
        let Entry { number, copies } = entry;
        let copies = copies.into_iter().map(|EntryCopy { room, key, epoch, draft }| {
            let newest = self.newest.entry(room).or_insert((epoch, Seq(0)));
            if newest.0 != epoch {
                *newest = (epoch, Seq(0));
            }
            newest.1 = newest.1.next();
            let seq = newest.1;
            StoredCopy { room, epoch, message: Arc::new(draft.placed(key, seq)), oldest: seq.next() }
        });
        done.push(Completion::Committed { number, copies: copies.collect() });
    }

    fn read(&mut self, request: ReadRequest, done: &mut Vec<Completion>) {
        done.push(Completion::Read { request, page: Page::default() });
    }

    fn forget(&mut self, room: RoomId, receipt: Option<Receipt>, done: &mut Vec<Completion>) {
        self.newest.remove(&room);
        done.extend(receipt.map(|receipt| Completion::Forgotten { receipt, is_gone: true }));
    }
}
