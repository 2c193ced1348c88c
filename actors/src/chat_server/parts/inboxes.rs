//! Inboxes: whose private messages are kept where, and how far each owner has been sent them.
//!
//! Every authenticated client has an inbox, a room that only its own connections are in. A private message stands in two:
//! its sender's and its receiver's. Messages that no connection of the owner was sent wait there; the next connection is
//! sent them. How far that has come is noted a few times a second and when the last connection goes, so after a crash the
//! owner may be sent a few messages again, and never too few.

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, Seq};

use super::parted::PartedMap;
use super::unclaimed::Unclaimed;
use crate::ids::RoomId;

/// How far the owner of an inbox was sent its messages.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// The newest message that a connection of the owner was sent.
    upto: Seq,
    /// The message up to which the history knows that.
    noted: Seq,
}

/// Which inbox belongs to whom, and how far each owner was sent its messages.
#[derive(Debug)]
pub(crate) struct Inboxes {
    by_owner: PartedMap<ClientId, RoomId>,
    /// Those whose owner has never been here.
    unclaimed: Unclaimed,
    sent: FxHashMap<RoomId, Sent>,
    /// Inboxes of which more was sent than the history knows.
    to_note: Vec<RoomId>,
    most: usize,
    most_of_one: usize,
}

/// Why a client cannot make an inbox by writing to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoInbox {
    /// The client has made as many as one may.
    MadeTooMany(usize),
    /// The table is full, and nobody has made more than this client.
    Full,
}

impl Inboxes {
    /// No inboxes yet. At most `most` come from writing to clients, `most_of_one` of them from one client.
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

    /// The inbox of a client who is here, who claims it by that.
    pub(crate) fn claim(&mut self, owner: &ClientId) -> Option<RoomId> {
        let inbox = self.find(owner.as_str())?;
        self.unclaimed.remove(inbox);
        Some(inbox)
    }

    /// The inbox that goes before one for a client who is here is made: an owner is never refused, so in a full table one
    /// goes whose owner has never been here.
    pub(crate) fn first_to_go_for_owner(&self) -> Option<RoomId> {
        self.is_full().then(|| self.unclaimed.first_to_drop())?.map(|(_, inbox)| inbox)
    }

    /// The inbox that goes before one is made by a client who writes to its owner.
    ///
    /// A full table is fair to all who write: the client that has made the most inboxes loses one to a client that has
    /// made fewer.
    ///
    /// # Errors
    /// [`NoInbox`], where the client may make none.
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

    /// Notes which client has made an inbox whose owner has never been here.
    pub(crate) fn made_by(&mut self, inbox: RoomId, maker: &ClientId) {
        self.unclaimed.insert(inbox, maker);
    }

    /// Notes that several clients wrote into an inbox whose owner has never been here.
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

    /// The newest message that the owner was sent.
    pub(crate) fn sent_upto(&self, inbox: RoomId) -> Seq {
        self.sent.get(&inbox).map_or(Seq(0), |sent| sent.upto)
    }

    /// Takes over how far the owner was sent messages before this process.
    pub(crate) fn restore_sent(&mut self, inbox: RoomId, upto: Seq) {
        if upto > Seq(0) {
            self.sent.insert(inbox, Sent { upto, noted: upto });
        }
    }

    /// A connection of the owner was sent everything up to this message.
    pub(crate) fn sent(&mut self, inbox: RoomId, seq: Seq) {
        let sent = self.sent.entry(inbox).or_default();
        if seq > sent.upto {
            if sent.upto == sent.noted {
                self.to_note.push(inbox);
            }
            sent.upto = seq;
        }
    }

    /// The inboxes of which the history is to know more.
    pub(crate) fn take_to_note(&mut self) -> Vec<RoomId> {
        std::mem::take(&mut self.to_note)
    }

    /// The message up to which the history is to note what was sent, if it does not know.
    pub(crate) fn note_sent(&mut self, inbox: RoomId) -> Option<Seq> {
        // An inbox may have ended meanwhile, and its number may be another's.
        let sent = self.sent.get_mut(&inbox).filter(|sent| sent.upto > sent.noted)?;
        sent.noted = sent.upto;
        Some(sent.upto)
    }
}
