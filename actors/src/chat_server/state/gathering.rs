//! With other nodes: what decides whether a record waits for later ones before this node applies it.

use super::ChatState;
use crate::nodes::record::{LogEntry, Record};

/// The work of the hubs for one message to a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::chat_server) struct Writes {
    /// The largest number of members on one hub: the hub writes to each of them.
    pub(in crate::chat_server) most_on_one_hub: u32,
    /// The number of hubs with members.
    pub(in crate::chat_server) hubs: usize,
}

impl ChatState {
    /// The work for the first message of a record to a room. Usually all messages of a record that go to a large room go
    /// to the same one.
    pub(in crate::chat_server) fn writes_of(&self, record: &Record) -> Writes {
        let room = record.entries.iter().find_map(|entry| {
            let LogEntry::Message(message) = entry else { return None };
            self.rooms.get(self.find(&message.last.0)?)
        });
        room.map_or_else(Writes::default, |room| Writes {
            most_on_one_hub: room.most_on_one_hub(),
            hubs: room.hubs().len(),
        })
    }

    /// The counter of this node's newest record, if it is still to come back and `record` is before it.
    pub(in crate::chat_server) fn to_come_after(&self, record: &Record) -> Option<u64> {
        let newest = self.cluster.as_ref()?.newest_to_come_back()?;
        (!self.is_since(record)(newest)).then_some(newest)
    }

    /// Says whether a record is this node's record with a counter, or a later one.
    pub(in crate::chat_server) fn is_since(&self, record: &Record) -> impl Fn(u64) -> bool + use<> {
        let is_own = self.cluster.as_ref().is_some_and(|cluster| cluster.life() == record.incarnation);
        let own = is_own.then_some(record.counter);
        move |counter| own.is_some_and(|own| own >= counter)
    }
}
