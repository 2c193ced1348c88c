//! The ledger: checks what every bot receives, and counts what it should have received.
//!
//! Pure: it does no I/O and reads no clock. Each worker thread keeps one for its bots; at the end they are added up.
//!
//! # What a bot has a right to
//!
//! - **In a room**, every message after the place at which it came in (`welcome.seq`, `joined.seq`), through lost
//!   connections that it resumed, up to the *target*: the newest `seq` of that life (epoch) of the room that any bot
//!   of the process has seen, in a delivery or an ack, when the swarm stopped sending and all its acks were in.
//!   Expected deliveries are the sum over members of `max(target, newest received) - came in at`; what is missing in
//!   that range is lost. Messages of other people and other swarms count as well.
//! - A bot that is away at the end and did not come back is expected to have what it had when it lost its connection.
//! - After `"recovered":false`, or in a new epoch, what it had not received is lost, and counted as told, too.
//! - **In private**, two deliveries for each acknowledged message: one at the receiver, one at the sender. Where the
//!   server keeps inboxes, also every place (`seq`) of the bot's own inbox after the first message that it got there,
//!   through lost connections that it resumed. Where it keeps none, a message to a client that is away may be gone; see
//!   [`Tally::private_unknown`].
//!
//! # What is checked
//!
//! By `seq` for every receiver in a room and in its inbox (lost, twice, out of order), by the sender's own numbering once
//! per message, and every receiver's message against what the others got in the same place, see [`room`]. A ledger sees the bots of one
//! worker, but needs no other for its judgements: a message that the members on one thread got differently breaks
//! their sender's numbering there.
//!
//! A message that is not as its sender gave it is found by its own check, see [`marker`](crate::marker). One that is not
//! recognised as a bot's message at all is contradicted by the ack of what its sender gave, and by members that got that.

mod inbox;
mod member;
pub mod peers;
mod position;
pub mod private;
pub mod room;
pub mod sequence;
mod tally;
pub mod timeline;
mod undelivered;

use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use crate::clock::Nanos;
use crate::last_receivers::{LastReceivers, PlaceKey};
use crate::marker::{MarkedTarget, Marker, Reading};
use member::Member;
pub use peers::Audience;
use peers::PeerBook;
pub use position::Standing;
use position::{Position, Step};
use private::PrivateBook;
use room::{Fingerprint, RoomRecord, Source, Witness};
use sequence::Arrival;
pub use tally::Tally;
pub use undelivered::Undelivered;

/// How far the lives of the rooms have come, by room and epoch.
pub type HighWaters = FxHashMap<(u32, Epoch), u64>;

/// Whether a delivery counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bot had a right to it and had not got it before.
    Counts,
    /// It was wrong, and is noted as such.
    Wrong,
}

/// What the bots of one worker received, and what was wrong with it.
#[derive(Debug)]
pub struct Ledger {
    run: u32,
    rooms: FxHashMap<u32, RoomRecord>,
    members: FxHashMap<(u32, u32), Member>,
    private: PrivateBook,
    /// What bots heard of each other, where the server numbers nothing.
    pub peers: PeerBook,
    tally: Tally,
    /// What stands for a room's name in markers, of rooms of which a timed message came.
    tags: FxHashMap<u32, u32>,
    last_receivers: LastReceivers,
}

impl Ledger {
    /// An empty ledger of a swarm's process run. Where the server numbers nothing, its messages are for `audience`.
    pub fn new(run: u32, audience: Audience) -> Self {
        Self {
            run,
            rooms: FxHashMap::default(),
            members: FxHashMap::default(),
            private: PrivateBook::default(),
            peers: PeerBook::new(run, audience),
            tally: Tally::default(),
            tags: FxHashMap::default(),
            last_receivers: LastReceivers::default(),
        }
    }

    /// A bot came into a room, or came back.
    pub fn entered(&mut self, bot: u32, room: u32, standing: Standing) {
        let Standing { epoch, seq, recovered } = standing;
        let record = self.rooms.entry(room).or_default();
        record.reach(epoch, seq);
        let Some(member) = self.members.get_mut(&(bot, room)) else {
            let member = Member { position: Position::after(epoch, seq), is_away: false, rests: false };
            self.members.insert((bot, room), member);
            return;
        };
        (member.is_away, member.rests) = (false, false);
        let position = &mut member.position;
        if position.epoch() != epoch {
            // The room began anew: what was not received of the old life will not come.
            let mut ended = std::mem::replace(position, Position::after(epoch, seq));
            ended.tell_lost_until(record.high_water(ended.epoch()).unwrap_or_default());
            self.tally += ended.tally(0);
        } else if !recovered {
            position.tell_lost_until(seq);
        }
    }

    /// A bot has its inbox: for the first time, or again.
    pub fn has_inbox(&mut self, bot: u32, standing: Standing) {
        self.private.has_inbox(bot, standing);
    }

    /// A bot lost its connection.
    pub fn interrupted(&mut self, bot: u32, room: u32) {
        if let Some(member) = self.members.get_mut(&(bot, room)) {
            (member.is_away, member.rests) = (true, false);
        }
        self.private.interrupted(bot);
    }

    /// A bot leaves its connection by its own will, and will come back.
    pub fn rests(&mut self, bot: u32, room: u32) {
        self.interrupted(bot, room);
        if let Some(member) = self.members.get_mut(&(bot, room)) {
            member.rests = true;
        }
    }

    /// A bot has no connection any more, and what it expects of its room is told by [`left`](Self::left).
    pub fn disconnected(&mut self, bot: u32) {
        self.private.interrupted(bot);
    }

    /// A bot left a room by its own will, for good: it expects nothing that it has not received. Coming into the room
    /// again, it is new there.
    pub fn left(&mut self, bot: u32, room: u32) {
        if let Some(member) = self.members.remove(&(bot, room)) {
            self.tally += member.position.tally(0);
        }
    }

    /// Takes what is known of the last receivers of messages that came since it was taken last.
    pub fn take_last_receivers(&mut self) -> LastReceivers {
        std::mem::take(&mut self.last_receivers)
    }

    /// Adds to what [`take_last_receivers`](Self::take_last_receivers) gives next.
    pub fn add_last_receivers(&mut self, last: &LastReceivers) {
        self.last_receivers.merge(last);
    }

    /// Where a bot resumes a room: the epoch, and the newest message that it has.
    pub fn resume_point(&self, bot: u32, room: u32) -> Option<(Epoch, u64)> {
        self.members.get(&(bot, room)).map(|member| (member.position.epoch(), member.position.newest()))
    }

    /// Where a bot resumes its inbox: the epoch, and the newest message that it has; 0 where it has none.
    pub fn inbox_resume_point(&self, bot: u32) -> Option<(Epoch, u64)> {
        self.private.resume_point(bot)
    }

    /// A message of a room arrived. `tag` is the room's, as markers carry it; `latency` is how long the message took, if that
    /// is known.
    pub fn room_message(
        &mut self,
        bot: u32,
        room: u32,
        tag: u32,
        seq: u64,
        message: &Reading,
        latency: Option<Duration>,
    ) -> Verdict {
        let Some(member) = self.members.get_mut(&(bot, room)) else { return self.wrong_room() };
        match member.position.observe(seq) {
            Step::InOrder | Step::Fills => {}
            Step::OutOfOrder => self.tally.out_of_order += 1,
            Step::Twice => {
                self.tally.twice += 1;
                return Verdict::Wrong;
            }
        }
        let epoch = member.position.epoch();
        let record = self.rooms.entry(room).or_default();
        let marker = match message {
            Reading::Marked(marker) => marker,
            Reading::Unmarked => {
                let witness = record.witness(epoch, seq, Fingerprint::UNMARKED, Source::Delivery);
                return self.charge(witness);
            }
            Reading::Altered => {
                record.reach(epoch, seq);
                return self.altered();
            }
        };
        if marker.target != MarkedTarget::Room(tag) {
            record.reach(epoch, seq);
            return self.wrong_room();
        }
        let message = Fingerprint { run: marker.run, sender: marker.sender, number: marker.number };
        let witness = record.witness(epoch, seq, message, Source::Delivery);
        if let Some(latency) = latency {
            record.note_planned(epoch, seq, marker.planned);
            self.tags.entry(room).or_insert(tag);
            self.last_receivers.note(PlaceKey::of(room, tag, epoch, seq), latency);
        }
        self.charge(witness)
    }

    fn charge(&mut self, witness: Witness) -> Verdict {
        match witness {
            Witness::Agrees => return Verdict::Counts,
            Witness::Repeats => self.tally.twice += 1,
            Witness::Reordered => self.tally.out_of_order += 1,
            Witness::Contradicts { repeats, reordered } => {
                self.tally.contradictions += 1;
                self.tally.twice -= repeats;
                self.tally.out_of_order -= reordered;
            }
            Witness::Contradicted => {}
        }
        Verdict::Wrong
    }

    /// A message of a bot arrived that is not as the bot sent it.
    pub fn altered(&mut self) -> Verdict {
        self.tally.altered += 1;
        Verdict::Wrong
    }

    /// A message arrived of a room in which the bot is not.
    pub fn wrong_room(&mut self) -> Verdict {
        self.tally.wrong_room += 1;
        Verdict::Wrong
    }

    /// A private message arrived, addressed to the bot or not; `seq` is its place in the bot's inbox, if there is one.
    pub fn private_message(&mut self, bot: u32, seq: Option<u64>, marker: &Marker) -> Verdict {
        let place = seq.map_or(Step::InOrder, |seq| self.private.observe_place(bot, seq));
        if place == Step::Twice {
            self.tally.twice += 1;
            return Verdict::Wrong;
        }
        let arrival = match marker.target {
            // Another process' bots may write to this one, but only their process knows what was acknowledged.
            MarkedTarget::Bot(_) if marker.run != self.run => Arrival::Next,
            MarkedTarget::Bot(receiver) if receiver == bot => self.private.received(marker.sender, bot, marker.number),
            MarkedTarget::Bot(receiver) if marker.sender == bot => self.private.echoed(bot, receiver, marker.number),
            MarkedTarget::Bot(_) | MarkedTarget::Room(_) => return self.misdelivered(),
        };
        match (place, arrival) {
            (_, Arrival::Twice) => self.tally.twice += 1,
            (Step::Fills, _) | (Step::InOrder, Arrival::Next | Arrival::Skipped(_)) => return Verdict::Counts,
            // In place, and yet after a later one of its sender; or out of its place.
            _ => self.tally.out_of_order += 1,
        }
        Verdict::Wrong
    }

    /// A private message without a marker arrived, for the bot.
    pub fn unmarked_private_message(&mut self, bot: u32, seq: Option<u64>) -> Verdict {
        match seq.map_or(Step::InOrder, |seq| self.private.observe_place(bot, seq)) {
            Step::InOrder | Step::Fills => return Verdict::Counts,
            Step::OutOfOrder => self.tally.out_of_order += 1,
            Step::Twice => self.tally.twice += 1,
        }
        Verdict::Wrong
    }

    /// A private message of a bot arrived that is not as the bot sent it.
    pub fn altered_private_message(&mut self, bot: u32, seq: Option<u64>) -> Verdict {
        // It stands in the place of what was sent.
        if let Some(seq) = seq {
            self.private.observe_place(bot, seq);
        }
        self.altered()
    }

    /// A private message without a marker arrived that names somebody else as its receiver.
    pub fn misdelivered(&mut self) -> Verdict {
        self.tally.misdelivered += 1;
        Verdict::Wrong
    }

    /// The server took a bot's message to its room, which was planned at this time, and gave it this place.
    pub fn room_acked(&mut self, bot: u32, room: u32, seq: u64, number: u32, planned: Nanos) {
        let Some(epoch) = self.members.get(&(bot, room)).map(|member| member.position.epoch()) else { return };
        let message = Fingerprint { run: self.run, sender: bot, number };
        let record = self.rooms.entry(room).or_default();
        let witness = record.witness(epoch, seq, message, Source::Ack);
        if planned != Nanos::UNPLANNED {
            record.note_planned(epoch, seq, planned);
        }
        // A repetition is charged to those who receive it.
        if matches!(witness, Witness::Contradicts { .. }) {
            self.charge(witness);
        }
    }

    /// The server took a bot's private message.
    pub fn private_acked(&mut self, sender: u32, receiver: u32, number: u32) {
        self.private.acked(sender, receiver, number);
    }

    /// Whether a bot's message to its room was seen there, by any bot of this worker.
    pub fn has_seen_in_room(&self, sender: u32, room: u32, number: u32) -> bool {
        let message = Fingerprint { run: self.run, sender, number };
        self.rooms.get(&room).is_some_and(|record| record.has_seen(message))
    }

    /// Whether a bot's private message was seen at either of its two names.
    pub fn has_seen_private(&self, sender: u32, receiver: u32, number: u32) -> bool {
        self.private.has_seen(sender, receiver, number)
    }

    /// How far every life of every room has come, as far as these bots know.
    pub fn high_waters(&self) -> HighWaters {
        let of_room = |(room, record): (&u32, &RoomRecord)| {
            record.high_waters().map(|(epoch, seq)| ((*room, epoch), seq)).collect::<Vec<_>>()
        };
        self.rooms.iter().flat_map(of_room).collect()
    }

    /// How many deliveries of rooms are still to come until all members that are here have reached the targets.
    pub fn outstanding(&self, targets: &HighWaters) -> u64 {
        let present = self.members.iter().filter(|(_, member)| !member.is_away);
        present
            .map(|((_, room), member)| {
                let target = targets.get(&(*room, member.position.epoch())).copied().unwrap_or_default();
                target.saturating_sub(member.position.newest())
            })
            .sum()
    }

    /// Private deliveries still to come, see [`PrivateBook::outstanding`].
    pub fn private_outstanding(&self) -> i64 {
        self.private.outstanding()
    }

    /// Whether private deliveries may never come: to a bot that is away, or has never been here. `bots`: how many this
    /// ledger is of.
    pub fn may_lack_private(&self, bots: u32) -> bool {
        self.private.may_lack(bots)
    }

    /// What there is against the server so far. `lost` is what is missing of rooms and inboxes though later messages
    /// came: it may still come. What is expected and received is summed up at the end only.
    pub fn findings(&self) -> Tally {
        let missing: u64 = self.members.values().map(|member| member.position.missing()).sum();
        let lost = self.tally.lost + missing + self.private.missing();
        let mut findings = Tally { lost, ..self.tally };
        findings += self.peers.findings();
        findings
    }

    /// Closes the books: the sums, and what must be merged with other workers' books before it can be summed.
    ///
    /// `said` and `unpromised`: see [`PeerBook::close`].
    pub fn close(
        mut self,
        targets: &HighWaters,
        said: impl Fn(u32) -> u32,
        unpromised: &[(u32, u32)],
    ) -> (Tally, PrivateBook) {
        for ((_, room), member) in &self.members {
            let target = if member.is_away { None } else { targets.get(&(*room, member.position.epoch())).copied() };
            self.tally += member.position.tally(target.unwrap_or_default());
        }
        self.tally += self.peers.close(said, unpromised);
        (self.tally, self.private)
    }
}

#[cfg(test)]
mod tests;
