//! The ledger: checks what each bot receives, and counts what it should receive.
//!
//! Pure: it does no I/O and reads no clock. Each worker thread keeps one for its bots; they are summed at the end.
//!
//! # The messages that a bot must receive
//!
//! - **In a room**, every message after the position at which it joined (`welcome.seq`, `joined.seq`), including those
//!   across lost connections that it resumed, up to the *target*: the newest `seq` of this epoch of the room that any
//!   bot of the process has seen, in a delivery or an ack, when the swarm has stopped sending and all its acks have
//!   arrived. Expected deliveries are the sum over members of `max(target, newest received) - position at joining`;
//!   those missing in that range are lost. Messages of other people and other swarms count as well.
//! - A bot that is away at the end and did not return must have what it had received before it lost its connection.
//! - After `"recovered":false`, or in a new epoch, messages that it had not received are lost, and also count as told. Of
//!   a new epoch, and of those before it that the bot never entered, these are the messages since the first bot of the
//!   process entered the epoch.
//! - **In private**, two deliveries for each acknowledged message: one at the receiver, one at the sender. If the
//!   server keeps inboxes, also every position (`seq`) of the bot's own inbox after the first message that it received
//!   there, including those across lost connections that it resumed. If the server keeps none, a message to a client
//!   that is away may be dropped; see [`Tally::private_unknown`].
//!
//! # The checks
//!
//! Each receiver's `seq` in a room and in its inbox is checked (lost, twice, out of order); each message is checked
//! once by its sender's own numbering; and each receiver's message is compared with the others' at the same position,
//! see [`room`]. A ledger sees the bots of one worker, but needs no other for its judgements: if the members on one
//! thread receive a message differently, it breaks their sender's numbering there.
//!
//! An altered message is found by its own check, see [`marker`](crate::marker). A message that cannot be recognized as
//! a bot's is contradicted by the ack of the original message, and by members that received the original.

mod inbox;
mod member;
pub mod peers;
mod position;
pub mod private;
mod read_position;
pub mod room;
mod room_change;
pub mod sequence;
mod tally;
pub mod timeline;
mod undelivered;
mod verdict;
mod waters;

use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;
use starling_protocol::limits::EMOJIS_PER_MESSAGE_MAX;

use crate::clock::Nanos;
use crate::last_receivers::{LastReceivers, PlaceKey};
use crate::marker::{MarkedTarget, Marker, Reading};
use member::Member;
pub use peers::Audience;
use peers::PeerBook;
pub use position::Standing;
use position::{Position, Step};
use private::PrivateBook;
use read_position::ReadPosition;
use room::{Fingerprint, RoomRecord, Source, Witness};
pub use room_change::RoomChange;
use sequence::Arrival;
pub use tally::Tally;
pub use undelivered::Undelivered;
pub use verdict::Verdict;
pub use waters::Waters;

/// The deliveries to the bots of one worker, and the faults among them.
#[derive(Debug)]
pub struct Ledger {
    run: u32,
    rooms: FxHashMap<u32, RoomRecord>,
    members: FxHashMap<(u32, u32), Member>,
    /// The bounds of the epochs, as far as entering bots were told them.
    entered: Waters,
    /// Bots that came from an older epoch of a room into a newer one, and the `seq` there.
    returns: Vec<(u32, Epoch, Epoch, u64)>,
    private: PrivateBook,
    /// The deliveries between bots, with a server that does not number messages.
    pub peers: PeerBook,
    tally: Tally,
    /// The tags of rooms with timed messages; a tag stands for the room's name in markers.
    tags: FxHashMap<u32, u32>,
    last_receivers: LastReceivers,
}

impl Ledger {
    /// An empty ledger of a process run. If the server does not number messages, they are for `audience`.
    pub fn new(run: u32, audience: Audience) -> Self {
        Self {
            run,
            rooms: FxHashMap::default(),
            members: FxHashMap::default(),
            entered: Waters::default(),
            returns: Vec::new(),
            private: PrivateBook::default(),
            peers: PeerBook::new(run, audience),
            tally: Tally::default(),
            tags: FxHashMap::default(),
            last_receivers: LastReceivers::default(),
        }
    }

    /// A bot joined a room, or returned to it. The times order the epochs of a room, whose numbers have no order.
    pub fn entered(&mut self, bot: u32, room: u32, standing: Standing, now: Nanos) {
        let Standing { epoch, seq, recovered } = standing;
        let record = self.rooms.entry(room).or_default();
        record.reach(epoch, seq);
        self.entered.enter(room, epoch, seq, now);
        let Some(member) = self.members.get_mut(&(bot, room)) else {
            let (position, read) = (Position::after(epoch, seq), ReadPosition::default());
            self.members.insert((bot, room), Member { position, read, joined_at: seq, is_away: false, rests: false });
            return;
        };
        (member.is_away, member.rests, member.joined_at) = (false, false, seq);
        let position = &mut member.position;
        if position.epoch() != epoch {
            // The room has a new epoch: missing messages of the old one will not come, and nothing of it is read.
            member.read = ReadPosition::default();
            let mut ended = std::mem::replace(position, Position::after(epoch, seq));
            ended.tell_lost_until(record.high_water(ended.epoch()).unwrap_or_default());
            self.tally += ended.tally(0);
            self.returns.push((room, ended.epoch(), epoch, seq));
        } else if !recovered {
            position.tell_lost_until(seq);
        }
    }

    /// A bot has its inbox, for the first time or again.
    pub fn has_inbox(&mut self, bot: u32, standing: Standing) {
        self.private.has_inbox(bot, standing);
    }

    /// A bot lost its connection.
    pub fn interrupted(&mut self, bot: u32, room: u32) {
        if let Some(member) = self.members.get_mut(&(bot, room)) {
            (member.is_away, member.rests) = (true, false);
            member.read.interrupted();
        }
        self.private.interrupted(bot);
    }

    /// A bot leaves its connection by its own choice, and will return.
    pub fn rests(&mut self, bot: u32, room: u32) {
        self.interrupted(bot, room);
        if let Some(member) = self.members.get_mut(&(bot, room)) {
            member.rests = true;
        }
    }

    /// A bot has no connection any more; [`left`](Self::left) handles its room.
    pub fn disconnected(&mut self, bot: u32) {
        self.private.interrupted(bot);
    }

    /// A bot left a room by its own choice, for good: it expects no more messages. If it joins the room again, it
    /// counts as new there.
    pub fn left(&mut self, bot: u32, room: u32) {
        if let Some(member) = self.members.remove(&(bot, room)) {
            self.tally += member.position.tally(0);
        }
    }

    /// Takes the last receivers of messages that arrived since the previous call.
    pub fn take_last_receivers(&mut self) -> LastReceivers {
        std::mem::take(&mut self.last_receivers)
    }

    /// Adds to the result of the next [`take_last_receivers`](Self::take_last_receivers).
    pub fn add_last_receivers(&mut self, last: &LastReceivers) {
        self.last_receivers.merge(last);
    }

    /// The position at which a bot resumes a room: the epoch, and its newest message.
    pub fn resume_point(&self, bot: u32, room: u32) -> Option<(Epoch, u64)> {
        self.members.get(&(bot, room)).map(|member| (member.position.epoch(), member.position.newest()))
    }

    /// The position at which a bot resumes its inbox: the epoch, and its newest message; 0 if it has none.
    pub fn inbox_resume_point(&self, bot: u32) -> Option<(Epoch, u64)> {
        self.private.resume_point(bot)
    }

    /// A message of a room arrived. `tag` is the room's tag in markers; `latency` is the message's latency, if known.
    pub fn room_message(
        &mut self,
        bot: u32,
        room: u32,
        tag: u32,
        seq: u64,
        message: &Reading,
        latency: Option<Duration>,
    ) -> Verdict {
        let Some(epoch) = self.observe(bot, room, seq) else { return Verdict::Wrong };
        self.judge_text(bot, room, seq);
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

    /// A deleted message of a room arrived: only its place is known.
    pub fn room_place(&mut self, bot: u32, room: u32, seq: u64) {
        if let Some(epoch) = self.observe(bot, room, seq) {
            self.rooms.entry(room).or_default().reach(epoch, seq);
        }
    }

    /// A change of a message of a room arrived.
    pub fn room_change(&mut self, bot: u32, room: u32, seq: u64, change: &RoomChange<'_>) -> Verdict {
        let Some(epoch) = self.observe(bot, room, seq) else { return Verdict::Wrong };
        let record = self.rooms.entry(room).or_default();
        if change.is_deletion {
            record.note_deletion(epoch, change.of, seq);
        }
        if change.has_text {
            self.judge_text(bot, room, change.of);
        }
        let record = self.rooms.entry(room).or_default();
        let witness = record.witness(epoch, seq, change.fingerprint(), Source::Delivery);
        self.charge(witness)
    }

    /// A bot was told how far it has read its room. `said`: it is the answer to the bot's statement that it has read up
    /// to this message.
    pub fn was_told_read(&mut self, bot: u32, room: u32, seq: u64, said: Option<u64>, now: Nanos) {
        if let Some(member) = self.members.get_mut(&(bot, room)) {
            self.tally.unread += u64::from(member.read.is_told(seq, said, now));
        }
    }

    /// The server accepted a bot's change of a message, and assigned this position.
    pub fn change_acked(&mut self, room: u32, epoch: Epoch, seq: u64, change: &RoomChange<'_>) {
        if seq <= change.of {
            // The position is older than its message, so it is another message's, even if the record has forgotten it.
            self.tally.contradictions += 1;
            return;
        }
        let record = self.rooms.entry(room).or_default();
        let witness = record.witness(epoch, seq, change.fingerprint(), Source::Ack);
        self.charge_ack(witness);
    }

    /// The server refused a change, because there is no such message.
    pub fn is_said_to_be_gone(&mut self, room: u32, epoch: Epoch, of: u64) {
        self.rooms.entry(room).or_default().is_said_to_be_gone(epoch, of);
    }

    /// The refusals because of a missing message that nobody was told the deletion of, see
    /// [`is_said_to_be_gone`](Self::is_said_to_be_gone).
    pub fn said_to_be_gone_and_not_deleted(&self) -> u64 {
        self.rooms.values().map(RoomRecord::said_to_be_gone_and_not_deleted).sum()
    }

    /// Whether a message may have all reactions that a message can have.
    pub fn may_be_full(&self, room: u32, epoch: Epoch, of: u64) -> bool {
        // Each reaction has a position behind its message. A new emoji is refused sooner than a known one.
        let newest = self.rooms.get(&room).and_then(|record| record.high_water(epoch));
        newest.is_some_and(|newest| newest.saturating_sub(of) >= EMOJIS_PER_MESSAGE_MAX as u64)
    }

    /// Notes the position of an entry. Returns the epoch if the entry must be judged.
    fn observe(&mut self, bot: u32, room: u32, seq: u64) -> Option<Epoch> {
        let Some(member) = self.members.get_mut(&(bot, room)) else {
            self.tally.wrong_room += 1;
            return None;
        };
        match member.position.observe(seq) {
            Step::InOrder | Step::Fills => {}
            Step::OutOfOrder => self.tally.out_of_order += 1,
            Step::Twice => {
                self.tally.twice += 1;
                return None;
            }
        }
        Some(member.position.epoch())
    }

    /// A text of this message arrived: it must not have been deleted before the bot has joined.
    fn judge_text(&mut self, bot: u32, room: u32, of: u64) {
        let Some(member) = self.members.get(&(bot, room)) else { return };
        let deletion = self.rooms.get(&room).and_then(|record| record.deletion(member.position.epoch(), of));
        self.tally.resurrected += u64::from(deletion.is_some_and(|deletion| deletion <= member.joined_at));
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

    /// A bot's message arrived altered.
    pub fn altered(&mut self) -> Verdict {
        self.tally.altered += 1;
        Verdict::Wrong
    }

    /// A message arrived of a room that the bot is not in.
    pub fn wrong_room(&mut self) -> Verdict {
        self.tally.wrong_room += 1;
        Verdict::Wrong
    }

    /// A private message arrived, for the bot or for another; `seq` is its position in the bot's inbox, if there is
    /// one.
    pub fn private_message(&mut self, bot: u32, seq: Option<u64>, marker: &Marker) -> Verdict {
        let place = seq.map_or(Step::InOrder, |seq| self.private.observe_place(bot, seq));
        if place == Step::Twice {
            self.tally.twice += 1;
            return Verdict::Wrong;
        }
        let arrival = match marker.target {
            // Bots of another process may write to this one, but only their process knows the acknowledged messages.
            MarkedTarget::Bot(_) if marker.run != self.run => Arrival::Next,
            MarkedTarget::Bot(receiver) if receiver == bot => self.private.received(marker.sender, bot, marker.number),
            MarkedTarget::Bot(receiver) if marker.sender == bot => self.private.echoed(bot, receiver, marker.number),
            MarkedTarget::Bot(_) | MarkedTarget::Room(_) => return self.misdelivered(),
        };
        match (place, arrival) {
            (_, Arrival::Twice) => self.tally.twice += 1,
            (Step::Fills, _) | (Step::InOrder, Arrival::Next | Arrival::Skipped(_)) => return Verdict::Counts,
            // The server may have refused it at first, because its receiver was away, and that answer was lost. It has
            // accepted later messages meanwhile, and remembers no refusal. What an inbox keeps is never refused so.
            (Step::InOrder, Arrival::Late) if seq.is_none() && marker.is_again => return Verdict::Counts,
            // In position, but after a later message of its sender; or out of its position.
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

    /// A bot's private message arrived altered.
    pub fn altered_private_message(&mut self, bot: u32, seq: Option<u64>) -> Verdict {
        // It has the position of the original message.
        if let Some(seq) = seq {
            self.private.observe_place(bot, seq);
        }
        self.altered()
    }

    /// A private message without a marker arrived that names another client as its receiver.
    pub fn misdelivered(&mut self) -> Verdict {
        self.tally.misdelivered += 1;
        Verdict::Wrong
    }

    /// The server accepted a bot's message to its room, planned at this time, and assigned this position.
    pub fn room_acked(&mut self, bot: u32, room: u32, seq: u64, number: u32, planned: Nanos) {
        let Some(epoch) = self.members.get(&(bot, room)).map(|member| member.position.epoch()) else { return };
        let message = Fingerprint { run: self.run, sender: bot, number };
        let record = self.rooms.entry(room).or_default();
        let witness = record.witness(epoch, seq, message, Source::Ack);
        if planned != Nanos::UNPLANNED {
            record.note_planned(epoch, seq, planned);
        }
        self.charge_ack(witness);
    }

    fn charge_ack(&mut self, witness: Witness) {
        // A repetition is counted at its receivers.
        if matches!(witness, Witness::Contradicts { .. }) {
            self.charge(witness);
        }
    }

    /// The server accepted a bot's private message.
    pub fn private_acked(&mut self, sender: u32, receiver: u32, number: u32) {
        self.private.acked(sender, receiver, number);
    }

    /// Whether any bot of this worker has seen this message in its room.
    pub fn has_seen_in_room(&self, sender: u32, room: u32, number: u32) -> bool {
        let message = Fingerprint { run: self.run, sender, number };
        self.rooms.get(&room).is_some_and(|record| record.has_seen(message))
    }

    /// Whether the sender or the receiver has seen this private message.
    pub fn has_seen_private(&self, sender: u32, receiver: u32, number: u32) -> bool {
        self.private.has_seen(sender, receiver, number)
    }

    /// The bounds of each epoch of each room, as far as these bots know.
    pub fn waters(&self) -> Waters {
        let mut waters = self.entered.clone();
        for (room, record) in &self.rooms {
            for (epoch, seq) in record.high_waters() {
                waters.reach(*room, epoch, seq);
            }
        }
        waters
    }

    /// The number of room deliveries that are still to come until all connected members have reached the targets.
    pub fn outstanding(&self, targets: &Waters) -> u64 {
        let present = self.members.iter().filter(|(_, member)| !member.is_away);
        present
            .map(|((_, room), member)| {
                targets.high(*room, member.position.epoch()).saturating_sub(member.position.newest())
            })
            .sum()
    }

    /// Private deliveries still to come, see [`PrivateBook::outstanding`].
    pub fn private_outstanding(&self) -> i64 {
        self.private.outstanding()
    }

    /// Whether private deliveries may never come: to a bot that is away, or that never connected. `bots`: the number of
    /// bots of this ledger.
    pub fn may_lack_private(&self, bots: u32) -> bool {
        self.private.may_lack(bots)
    }

    /// The faults of the server so far. `lost` counts messages of rooms and inboxes that are missing although later
    /// ones arrived: they may still come. Expected and received deliveries are summed only at the end.
    pub fn findings(&self) -> Tally {
        let missing: u64 = self.members.values().map(|member| member.position.missing()).sum();
        let lost = self.tally.lost + missing + self.private.missing();
        let mut findings = Tally { lost, ..self.tally };
        findings += self.peers.findings();
        findings
    }

    /// Closes the ledger: the sums, and the private messages, which must be merged with other workers' before they are
    /// summed.
    ///
    /// `said` and `unpromised`: see [`PeerBook::close`].
    pub fn close(
        mut self,
        targets: &Waters,
        said: impl Fn(u32) -> u32,
        unpromised: &[(u32, u32)],
    ) -> (Tally, PrivateBook) {
        for ((_, room), member) in &self.members {
            self.tally.unread += u64::from(!member.is_away && member.read.is_due());
            let target = if member.is_away { 0 } else { targets.high(*room, member.position.epoch()) };
            self.tally += member.position.tally(target);
        }
        for (room, from, to, seq) in self.returns {
            let missed = targets.missed(room, from, to, seq);
            self.tally += Tally { expected: missed, lost: missed, lost_and_told: missed, ..Tally::default() };
        }
        self.tally += self.peers.close(said, unpromised);
        (self.tally, self.private)
    }
}

#[cfg(test)]
mod tests;
