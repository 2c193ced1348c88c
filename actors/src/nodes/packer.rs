//! This node's pending entries.
//!
//! Entries of one turn become one record. A record is kept until it is read back. If the log has lost a record, this
//! node writes it and all later ones again, with the same counters, so each counts once.

use std::collections::VecDeque;

use bytes::Bytes;
use starling_protocol::Epoch;

use super::record::{Incarnation, LogEntry, Record};

/// Most bytes of a record with several entries. Less than the log's default limit (1 MiB).
pub const RECORD_BYTES_MAX: usize = 256 * 1024;

/// Most bytes of an entry without its texts.
const ENTRY_OVERHEAD: usize = 128;

/// A record that was written and not read back.
#[derive(Debug)]
struct Written<T> {
    counter: u64,
    bytes: Bytes,
    /// The waiters of its entries, in their order; `None` for an entry without a waiter.
    tags: Vec<Option<T>>,
}

/// The entries of one life of this node that have not come back.
#[derive(Debug)]
pub struct Packer<T> {
    incarnation: Incarnation,
    /// The counter of the next record.
    next: u64,
    entries: Vec<LogEntry>,
    tags: Vec<Option<T>>,
    written: VecDeque<Written<T>>,
}

impl<T> Packer<T> {
    /// Begins a life. Its first record announces it to the other nodes. `lobby`: the epoch of the lobby, if there is
    /// none yet.
    pub fn new(incarnation: Incarnation, node: &str, lobby: Epoch) -> Self {
        let entries = vec![LogEntry::Begin { node: node.into(), lobby }];
        Self { incarnation, next: 1, entries, tags: vec![None], written: VecDeque::new() }
    }

    /// The life.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Adds an entry to this turn.
    pub fn push(&mut self, entry: LogEntry, tag: Option<T>) {
        self.entries.push(entry);
        self.tags.push(tag);
    }

    /// Whether this turn has entries.
    pub fn has_queued(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Packs the entries of this turn into records, to be written in this order.
    pub fn pack(&mut self, mut write: impl FnMut(Bytes)) {
        let mut tags = std::mem::take(&mut self.tags).into_iter();
        let mut entries = std::mem::take(&mut self.entries).into_iter().peekable();
        while entries.peek().is_some() {
            let mut size = 0;
            let mut packed = Vec::new();
            while let Some(entry) = entries.next_if(|entry| {
                size += weight(entry);
                packed.is_empty() || size <= RECORD_BYTES_MAX
            }) {
                packed.push(entry);
            }
            let tags: Vec<_> = tags.by_ref().take(packed.len()).collect();
            let record = Record { incarnation: self.incarnation, counter: self.next, entries: packed };
            let mut bytes = Vec::with_capacity(size.min(RECORD_BYTES_MAX));
            record.write(&mut bytes);
            let bytes = Bytes::from(bytes);
            self.written.push_back(Written { counter: self.next, bytes: bytes.clone(), tags });
            self.next += 1;
            write(bytes);
        }
    }

    /// Handles a record of this life that counts. Returns the waiters of its entries, in their order.
    pub fn came_back(&mut self, counter: u64) -> Vec<Option<T>> {
        let is_first = self.written.front().is_some_and(|written| written.counter == counter);
        debug_assert!(is_first, "records of one life count in their order");
        if is_first { self.written.pop_front().map_or_else(Vec::new, |written| written.tags) } else { Vec::new() }
    }

    /// The counter of the newest record that is still to come back, including that of this turn.
    pub fn newest_to_come_back(&self) -> Option<u64> {
        if self.has_queued() { Some(self.next) } else { self.written.back().map(|written| written.counter) }
    }

    /// All waiters of entries that have not come back.
    pub fn into_tags(self) -> impl Iterator<Item = T> {
        self.written.into_iter().flat_map(|written| written.tags).chain(self.tags).flatten()
    }

    /// All written records that have not come back, in order. They are written again after a gap, or after a lost
    /// connection to the log.
    pub fn unread(&self) -> impl Iterator<Item = &Bytes> {
        self.written.iter().map(|written| &written.bytes)
    }
}

/// The approximate most bytes of an entry in a record.
pub(crate) fn weight(entry: &LogEntry) -> usize {
    // Names have at most 64 bytes and an `id` 256; a message has up to four of the former, and any other entry two.
    let text = match entry {
        LogEntry::Message(message) => message.content.text(),
        LogEntry::Direct(message) => &message.text,
        LogEntry::Decide(decision) => &decision.reason,
        LogEntry::Begin { .. }
        | LogEntry::Out { .. }
        | LogEntry::Open(_)
        | LogEntry::Take { .. }
        | LogEntry::Release { .. }
        | LogEntry::Enter { .. }
        | LogEntry::Leave { .. }
        | LogEntry::Make { .. }
        | LogEntry::End { .. }
        | LogEntry::Sent { .. }
        | LogEntry::Read(_)
        | LogEntry::Arrive(_)
        | LogEntry::Remove { .. }
        | LogEntry::Drop { .. }
        | LogEntry::Checkpoint
        | LogEntry::Digest { .. } => return 2 * ENTRY_OVERHEAD,
    };
    text.len() + ENTRY_OVERHEAD + 512
}

#[cfg(test)]
mod tests {
    use starling_protocol::{ClientId, RoomName, Seq};

    use super::super::record::{DirectMessage, LoggedMessage};
    use super::*;
    use crate::history::{Content, RoomKey};

    fn message(bytes: usize) -> LogEntry {
        LogEntry::Message(LoggedMessage {
            session: None,
            first: None,
            last: (RoomKey::Room(RoomName::lobby()), Epoch(1)),
            to: None,
            client_id: ClientId::parse("alice").unwrap(),
            content: Content::message("x".repeat(bytes)),
            first_about: None,
            as_of: Seq(0),
            owner: None,
            id: None,
        })
    }

    fn direct(bytes: usize) -> LogEntry {
        let name = |name| ClientId::parse(name).unwrap();
        let text = "x".repeat(bytes).into();
        LogEntry::Direct(DirectMessage { session: 1, to: name("bob"), client_id: name("alice"), text, id: None })
    }

    fn packed(packer: &mut Packer<u64>) -> Vec<Record> {
        let mut records = Vec::new();
        packer.pack(|bytes| records.push(Record::read(&bytes).unwrap()));
        records
    }

    #[test]
    fn a_turn_is_one_record_and_the_first_one_begins_the_life() {
        let mut packer = Packer::new(Incarnation(7), "a", Epoch(1));
        for number in 0..3 {
            packer.push(message(10), Some(number));
        }
        let records = packed(&mut packer);
        assert_eq!(records.len(), 1);
        assert!(matches!(records[0].entries[..], [LogEntry::Begin { .. }, _, _, _]));
        assert!(!packer.has_queued() && packed(&mut packer).is_empty());
        packer.push(message(10), Some(3));
        assert_eq!(packed(&mut packer)[0].counter, 2);
        assert_eq!(packer.unread().count(), 2);
        let numbers = [None, Some(0), Some(1), Some(2)];
        assert_eq!(packer.came_back(1), numbers);
        assert_eq!(packer.came_back(2), [Some(3)]);
        assert_eq!(packer.unread().count(), 0);
    }

    #[test]
    fn a_large_turn_is_several_records_and_one_large_entry_is_one() {
        let mut packer = Packer::new(Incarnation(7), "a", Epoch(1));
        let sizes = [100_000, 100_000, 100_000, 500_000, 10];
        for size in sizes {
            packer.push(message(size), None);
        }
        let records = packed(&mut packer);
        let lengths: Vec<Vec<usize>> = records
            .iter()
            .map(|record| {
                let texts = record
                    .entries
                    .iter()
                    .map(|entry| if let LogEntry::Message(message) = entry { message.content.text().len() } else { 0 });
                texts.collect()
            })
            .collect();
        assert_eq!(lengths, [vec![0, 100_000, 100_000], vec![100_000], vec![500_000], vec![10]]);
        let counters: Vec<u64> = records.iter().map(|record| record.counter).collect();
        assert_eq!(counters, [1, 2, 3, 4]);
    }

    #[test]
    fn no_record_of_a_turn_is_larger_than_records_may_be_whatever_its_messages_are() {
        for entry in [message, direct] {
            let mut packer = Packer::<u64>::new(Incarnation(7), "a", Epoch(1));
            (0..240).for_each(|_| packer.push(entry(16_384), None));
            packer.pack(|bytes| assert!(bytes.len() <= RECORD_BYTES_MAX, "{} bytes", bytes.len()));
        }
    }
}
