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
//! - **In private**, two deliveries for each acknowledged message: one at the receiver, one at the sender. The
//!   protocol keeps no private message for a client that is away, unless names are authenticated, and then only its
//!   owner's inbox tells of it; see [`Tally::private_unknown`].
//!
//! # What is checked
//!
//! By `seq` for every receiver (lost, twice, out of order), by the sender's own numbering once per message, and every
//! receiver's message against what the others got in the same place, see [`room`]. A ledger sees the bots of one
//! worker, but needs no other for its judgements: a message that the members on one thread got differently breaks
//! their sender's numbering there.

mod member;
pub mod peers;
pub mod private;
pub mod room;
pub mod sequence;
mod tally;
pub mod timeline;

use std::ops::RangeInclusive;
use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use crate::clock::Nanos;
use crate::last_receivers::{LastReceivers, PlaceKey};
use crate::marker::{MarkedTarget, Marker};
pub use member::Entrance;
use member::Member;
pub use peers::Audience;
use peers::PeerBook;
use private::PrivateBook;
use room::{Fingerprint, RoomRecord, Source, Witness};
use sequence::{Arrival, Sequence, union};
pub use tally::Tally;

/// Newest places of a room among which messages that did not come to all are told one by one. A server may claim any
/// `seq`, so older ones are not looked for.
const INCOMPLETE_MAX: u64 = 1 << 20;

/// How far the lives of the rooms have come, by room and epoch.
pub type HighWaters = FxHashMap<(u32, Epoch), u64>;

/// Deliveries that were due and did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// To one member.
    Delivery {
        /// The bot.
        bot: u32,
        /// When the messages were planned, or a little earlier.
        planned: Nanos,
        /// How many there are.
        count: u64,
    },
    /// A message of a room that did not come to all of its members.
    Completion {
        /// Which it is.
        place: PlaceKey,
        /// When it was planned, or a little earlier.
        planned: Nanos,
    },
}

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
    pub fn entered(&mut self, entrance: Entrance) {
        let Entrance { bot, room, epoch, seq, recovered } = entrance;
        let record = self.rooms.entry(room).or_default();
        record.reach(epoch, seq);
        let fresh = Member {
            epoch,
            received: Sequence::after(seq),
            replay_until: 0,
            lost_and_told: 0,
            is_away: false,
            rests: false,
        };
        let Some(member) = self.members.get_mut(&(bot, room)) else {
            self.members.insert((bot, room), fresh);
            return;
        };
        (member.is_away, member.rests) = (false, false);
        if member.epoch != epoch {
            // The room began anew: what was not received of the old life will not come.
            let mut ended = std::mem::replace(member, fresh);
            ended.tell_lost_until(record.high_water(ended.epoch).unwrap_or_default());
            self.tally += ended.tally(0);
        } else if !recovered {
            member.tell_lost_until(seq);
        }
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

    /// A bot left a room by its own will, for good: it expects nothing that it has not received. Coming into the room
    /// again, it is new there.
    pub fn left(&mut self, bot: u32, room: u32) {
        if let Some(member) = self.members.remove(&(bot, room)) {
            self.tally += member.tally(0);
        }
        self.private.interrupted(bot);
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
        self.members.get(&(bot, room)).map(|member| (member.epoch, member.received.newest()))
    }

    /// A message of a room arrived. `tag` is the room's, as markers carry it; `marker` the message's, if it has one;
    /// `latency` how long it took, if that is known.
    pub fn room_message(
        &mut self,
        bot: u32,
        room: u32,
        tag: u32,
        seq: u64,
        marker: Option<&Marker>,
        latency: Option<Duration>,
    ) -> Verdict {
        let Some(member) = self.members.get_mut(&(bot, room)) else { return self.wrong_room() };
        let arrival = member.received.observe(seq);
        if arrival == Arrival::Late && seq <= member.replay_until {
            member.lost_and_told = member.lost_and_told.saturating_sub(1);
        } else if matches!(arrival, Arrival::Late | Arrival::BeforeBase) {
            self.tally.out_of_order += 1;
        }
        if arrival == Arrival::Twice {
            self.tally.twice += 1;
            return Verdict::Wrong;
        }
        let epoch = member.epoch;
        let record = self.rooms.entry(room).or_default();
        let Some(marker) = marker else {
            record.reach(epoch, seq);
            return Verdict::Counts;
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

    /// A message arrived of a room in which the bot is not.
    pub fn wrong_room(&mut self) -> Verdict {
        self.tally.wrong_room += 1;
        Verdict::Wrong
    }

    /// A private message arrived, addressed to the bot or not.
    pub fn private_message(&mut self, bot: u32, marker: &Marker) -> Verdict {
        let arrival = match marker.target {
            // Another process' bots may write to this one, but only their process knows what was acknowledged.
            MarkedTarget::Bot(_) if marker.run != self.run => return Verdict::Counts,
            MarkedTarget::Bot(receiver) if receiver == bot => self.private.received(marker.sender, bot, marker.number),
            MarkedTarget::Bot(receiver) if marker.sender == bot => self.private.echoed(bot, receiver, marker.number),
            MarkedTarget::Bot(_) | MarkedTarget::Room(_) => {
                self.tally.misdelivered += 1;
                return Verdict::Wrong;
            }
        };
        match arrival {
            Arrival::Next | Arrival::Skipped(_) => return Verdict::Counts,
            Arrival::Late | Arrival::BeforeBase => self.tally.out_of_order += 1,
            Arrival::Twice => self.tally.twice += 1,
        }
        Verdict::Wrong
    }

    /// A private message without a marker arrived that names somebody else as its receiver.
    pub fn misdelivered(&mut self) -> Verdict {
        self.tally.misdelivered += 1;
        Verdict::Wrong
    }

    /// The server took a bot's message to its room, which was planned at this time, and gave it this place.
    pub fn room_acked(&mut self, bot: u32, room: u32, seq: u64, number: u32, planned: Nanos) {
        let Some(epoch) = self.members.get(&(bot, room)).map(|member| member.epoch) else { return };
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

    /// Tells the deliveries of rooms that were due to members and did not come: what is lost, and what bots miss that
    /// lost their connection and did not come back.
    pub fn undelivered(&self, targets: &HighWaters, mut tell: impl FnMut(Undelivered)) {
        let mut missed: FxHashMap<(u32, Epoch), Vec<RangeInclusive<u64>>> = FxHashMap::default();
        for ((bot, room), member) in self.members.iter().filter(|(_, member)| !member.rests) {
            let Some(record) = self.rooms.get(room) else { continue };
            let target = targets.get(&(*room, member.epoch)).copied().unwrap_or_default();
            for range in member.received.missing_until(target) {
                for (planned, seqs) in record.planned(member.epoch, range.clone()) {
                    tell(Undelivered::Delivery { bot: *bot, planned, count: seqs.end() - seqs.start() + 1 });
                }
                missed.entry((*room, member.epoch)).or_default().push(range);
            }
        }
        for ((room, epoch), ranges) in missed {
            let Some((record, tag)) = self.rooms.get(&room).zip(self.tags.get(&room)) else { continue };
            let newest = ranges.iter().map(|range| *range.end()).max().unwrap_or_default();
            let oldest = newest.saturating_sub(INCOMPLETE_MAX - 1);
            for (planned, seqs) in union(ranges).into_iter().flat_map(|range| record.planned(epoch, range)) {
                for seq in *seqs.start().max(&oldest)..=*seqs.end() {
                    tell(Undelivered::Completion { place: PlaceKey::of(room, *tag, epoch, seq), planned });
                }
            }
        }
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
                let target = targets.get(&(*room, member.epoch)).copied().unwrap_or_default();
                target.saturating_sub(member.received.newest())
            })
            .sum()
    }

    /// Private deliveries still to come, see [`PrivateBook::outstanding`].
    pub fn private_outstanding(&self) -> i64 {
        self.private.outstanding()
    }

    /// Whether any bot lost its connection.
    pub fn any_interrupted(&self) -> bool {
        self.private.any_interrupted()
    }

    /// What there is against the server so far. `lost` is what is missing of rooms though later messages came: it may
    /// still come. What is expected and received is summed up at the end only.
    pub fn findings(&self) -> Tally {
        let missing: u64 = self.members.values().map(|member| member.received.missing()).sum();
        let mut findings = Tally { lost: self.tally.lost + missing, ..self.tally };
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
            let target =
                if member.is_away { 0 } else { targets.get(&(*room, member.epoch)).copied().unwrap_or_default() };
            self.tally += member.tally(target);
        }
        self.tally += self.peers.close(said, unpromised);
        (self.tally, self.private)
    }
}

#[cfg(test)]
mod tests;
