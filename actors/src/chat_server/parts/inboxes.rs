//! Inboxes: the private messages of each client, and the delivery position of each owner.
//!
//! Every authenticated client has an inbox: a room whose only members are the client's own connections. A private
//! message is stored twice, in the inbox of the sender and in that of the receiver. If the owner has no connection, the
//! messages wait in the inbox, and the owner's next connection gets them. The delivery position is stored a few times a
//! second and when the owner's last connection closes. So after a crash the owner may receive a few messages twice, but
//! misses none.

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Seq};

use super::parted::PartedMap;
use super::unclaimed::Unclaimed;
use crate::ids::RoomId;

/// The delivery position of one inbox.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// The newest message that was sent to a connection of the owner.
    upto: Seq,
    /// The newest message that the history, or the log of all nodes, was told to be sent.
    told: Seq,
    /// With other nodes: the newest message that the log says to be sent.
    noted: Seq,
}

/// All inboxes with their owners and delivery positions.
#[derive(Debug)]
pub(crate) struct Inboxes {
    by_owner: PartedMap<ClientId, RoomId>,
    /// The inboxes whose owner has never connected.
    unclaimed: Unclaimed,
    sent: FxHashMap<RoomId, Sent>,
    /// Inboxes with `upto` ahead of `told`.
    to_note: Vec<RoomId>,
    most: usize,
    most_of_one: usize,
}

/// The reason that a client cannot create an inbox by writing to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoInbox {
    /// The client has reached its limit of inboxes whose owner has never connected.
    MadeTooMany(usize),
    /// The table is full, and no other client has created at least two more such inboxes than this one.
    Full,
}

impl Inboxes {
    /// Starts without inboxes. Clients create at most `most` by writing, and each client at most `most_of_one`.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        let (by_owner, unclaimed, sent) = (PartedMap::default(), Unclaimed::default(), FxHashMap::default());
        Self { by_owner, unclaimed, sent, to_note: Vec::new(), most, most_of_one }
    }

    pub(crate) fn find(&self, owner: &str) -> Option<RoomId> {
        self.by_owner.get(owner).copied()
    }

    pub(crate) fn count(&self) -> usize {
        self.by_owner.len()
    }

    fn is_full(&self) -> bool {
        self.by_owner.len() >= self.most
    }

    /// Finds the inbox of a client that is connected now. From then on it is no longer unclaimed.
    pub(crate) fn claim(&mut self, owner: &ClientId) -> Option<RoomId> {
        let inbox = self.find(owner.as_str())?;
        self.unclaimed.remove(inbox);
        Some(inbox)
    }

    /// The inbox to drop before a connected client gets its own. An owner is never refused: if the table is full, an
    /// inbox whose owner has never connected is dropped for it.
    pub(crate) fn first_to_go_for_owner(&self) -> Option<RoomId> {
        self.is_full().then(|| self.unclaimed.first_to_drop())?.map(|(_, inbox)| inbox)
    }

    /// The inbox to drop before a client creates one by writing to its owner.
    ///
    /// A full table is shared fairly between the writers: the client that has created the most inboxes loses one to a
    /// client that has created fewer.
    ///
    /// # Errors
    /// [`NoInbox`] if the client may not create one.
    pub(crate) fn first_to_go_for_maker(&self, maker: &ClientId) -> Result<Option<RoomId>, NoInbox> {
        let made = self.unclaimed.made_by(maker);
        if made >= self.most_of_one {
            return Err(NoInbox::MadeTooMany(made));
        }
        if !self.is_full() {
            return Ok(None);
        }
        let first = self.unclaimed.first_to_drop().filter(|(most, _)| *most > made + 1);
        first.map(|(_, inbox)| Some(inbox)).ok_or(NoInbox::Full)
    }

    /// Notes that this room is the client's inbox; the client has none.
    pub(crate) fn add(&mut self, owner: &ClientId, inbox: RoomId) {
        self.by_owner.insert(owner.clone(), inbox);
    }

    /// The inboxes whose owner has never connected, each with its maker and whether no other client has written into it.
    /// Those of one maker come in the order in which it has made them.
    pub(crate) fn unclaimed(&self) -> impl Iterator<Item = (RoomId, &ClientId, bool)> {
        self.unclaimed.iter()
    }

    /// The delivery position of the owner according to the log.
    pub(crate) fn noted(&self, inbox: RoomId) -> Seq {
        self.sent.get(&inbox).map_or(Seq(0), |sent| sent.noted)
    }

    /// Notes the client that has created an inbox whose owner has never connected.
    pub(crate) fn made_by(&mut self, inbox: RoomId, maker: &ClientId) {
        self.unclaimed.insert(inbox, maker);
    }

    /// Notes that several clients have written into an inbox whose owner has never connected.
    pub(crate) fn share(&mut self, inbox: RoomId) {
        self.unclaimed.share(inbox);
    }

    /// A client writes into an inbox.
    pub(crate) fn written_by(&mut self, inbox: RoomId, sender: &ClientId) {
        self.unclaimed.written_by(inbox, sender);
    }

    /// The inbox has ended.
    pub(crate) fn remove(&mut self, owner: &ClientId, inbox: RoomId) {
        self.unclaimed.remove(inbox);
        self.by_owner.remove(owner);
        self.sent.remove(&inbox);
    }

    /// The newest message that was sent to the owner.
    pub(crate) fn sent_upto(&self, inbox: RoomId) -> Seq {
        self.sent.get(&inbox).map_or(Seq(0), |sent| sent.upto)
    }

    /// Restores the delivery position that the history has stored.
    pub(crate) fn restore_sent(&mut self, inbox: RoomId, upto: Seq) {
        if upto > Seq(0) {
            self.sent.insert(inbox, Sent { upto, told: upto, noted: upto });
        }
    }

    /// Notes that all messages up to `seq` were sent to a connection of the owner.
    pub(crate) fn sent(&mut self, inbox: RoomId, seq: Seq) {
        let sent = self.sent.entry(inbox).or_default();
        if seq > sent.upto {
            if sent.upto == sent.told {
                self.to_note.push(inbox);
            }
            sent.upto = seq;
        }
    }

    /// Notes that the log has the delivery position `seq`.
    pub(crate) fn was_noted(&mut self, inbox: RoomId, seq: Seq) {
        let sent = self.sent.entry(inbox).or_default();
        sent.noted = sent.noted.max(seq);
        sent.told = sent.told.max(seq);
        sent.upto = sent.upto.max(seq);
    }

    /// Takes the inboxes whose delivery position is to be stored.
    pub(crate) fn take_to_note(&mut self) -> Vec<RoomId> {
        std::mem::take(&mut self.to_note)
    }

    /// The delivery position to store; `None` if the history already knows it.
    pub(crate) fn note_sent(&mut self, inbox: RoomId) -> Option<Seq> {
        // The inbox may have ended meanwhile, and another room may have its number.
        let sent = self.sent.get_mut(&inbox).filter(|sent| sent.upto > sent.told)?;
        sent.told = sent.upto;
        Some(sent.upto)
    }
}
