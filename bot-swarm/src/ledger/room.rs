//! The record of one room: the message at each `seq`, and whether each sender's messages are in order.
//!
//! All members of a room see the same messages at the same positions (the protocol's first promise). So the first
//! observation is recorded, the others are compared with it, and a sender's own numbering is checked once per message
//! instead of once per receiver. The cost per delivery does not grow with the number of senders.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use super::sequence::{Arrival, Sequence};
use super::timeline::Timeline;
use crate::clock::Nanos;

/// The newest positions of a room whose messages are remembered for comparison. A receiver that is further behind
/// (replaying after a long absence) is checked by `seq` only.
const PLACES_MAX: usize = 1_024;

/// A message that is this many positions behind the newest one may have been dropped from the history.
const KEPT_FOR: u64 = 500;

/// The most epochs of a room that are remembered; members that are still in older ones expect no more messages.
const LIVES_MAX: usize = 4;

/// The identity of a message: its sender (process run and number) and the sender's own numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The sender's process run.
    pub run: u32,
    /// The sender's number in its swarm.
    pub sender: u32,
    /// The number of this message among the sender's messages to the room.
    pub number: u32,
}

impl Fingerprint {
    /// A message that no bot marked. No bot has this number, and no two messages share a position, so a bot's message
    /// that others received at the same position, or an ack that names the position, contradicts it.
    pub const UNMARKED: Self = Self { run: 0, sender: u32::MAX, number: 0 };
}

/// The source of an observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A receiver, from its delivery.
    Delivery,
    /// The sender, from its ack.
    Ack,
}

/// The result of comparing a message with the room's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// There is no contradiction.
    Agrees,
    /// The same message has another position, too.
    Repeats,
    /// Its sender sent it before a message at a lower position, or after one at a higher position.
    Reordered,
    /// For the first time, two observers saw different messages at this position. It is unknown which is right;
    /// deliveries that were called repeated or reordered before must be taken back.
    Contradicts {
        /// Deliveries that had been called repetitions.
        repeats: u64,
        /// Deliveries that had been called reordered.
        reordered: u64,
    },
    /// The position was contradicted before.
    Contradicted,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    message: Fingerprint,
    witness: Witness,
    /// The number of deliveries that got `witness` as their result.
    charged: u32,
    /// Whether a request was acknowledged with this position. No other request can have it, even if it looks the same,
    /// as the same reaction does.
    is_acked: bool,
}

#[derive(Debug)]
struct Sender {
    numbers: Sequence,
    newest_seq: u64,
}

/// One epoch of a room.
#[derive(Debug)]
struct Life {
    epoch: Epoch,
    high_water: u64,
    first_place: u64,
    places: VecDeque<Option<Place>>,
    senders: FxHashMap<(u32, u32), Sender>,
    timeline: Timeline,
    /// The deleted messages, each with its deletion: the newest [`PLACES_MAX`].
    deletions: VecDeque<(u64, u64)>,
}

/// The record of one room, in all its epochs.
#[derive(Debug, Default)]
pub struct RoomRecord {
    lives: VecDeque<Life>,
    /// The messages that the server called missing when it refused to change them, until their deletion is seen: the
    /// newest [`PLACES_MAX`] refusals.
    said_gone: VecDeque<(Epoch, u64)>,
    /// Older refusals of this kind.
    said_gone_before: u64,
}

impl RoomRecord {
    /// Notes that the room has reached at least `seq`.
    pub fn reach(&mut self, epoch: Epoch, seq: u64) {
        let life = self.life(epoch, seq);
        life.high_water = life.high_water.max(seq);
    }

    /// Notes that the message `of` was deleted, at `seq`.
    pub fn note_deletion(&mut self, epoch: Epoch, of: u64, seq: u64) {
        self.said_gone.retain(|gone| *gone != (epoch, of));
        let deletions = &mut self.life(epoch, seq).deletions;
        if deletions.iter().all(|(known, _)| *known != of) {
            if deletions.len() == PLACES_MAX {
                deletions.pop_front();
            }
            deletions.push_back((of, seq));
        }
    }

    /// The deletion of a message, if any bot has seen it.
    pub fn deletion(&self, epoch: Epoch, of: u64) -> Option<u64> {
        let life = self.lives.iter().find(|life| life.epoch == epoch)?;
        life.deletions.iter().find(|(known, _)| *known == of).map(|(_, seq)| *seq)
    }

    /// Notes that the server refused to change the message `of`, because it is missing. Either it was deleted, and the
    /// deletion may be seen later, or it is so old that it may have been dropped.
    pub fn is_said_to_be_gone(&mut self, epoch: Epoch, of: u64) {
        let is_old = self.high_water(epoch).is_none_or(|newest| newest.saturating_sub(of) >= KEPT_FOR);
        if is_old || self.deletion(epoch, of).is_some() {
            return;
        }
        if self.said_gone.len() == PLACES_MAX {
            self.said_gone.pop_front();
            self.said_gone_before += 1;
        }
        self.said_gone.push_back((epoch, of));
    }

    /// The refusals to change a missing message whose deletion was not seen.
    pub fn said_to_be_gone_and_not_deleted(&self) -> u64 {
        self.said_gone_before + self.said_gone.len() as u64
    }

    /// Compares a message with the record of its position, and records it if there is none.
    pub fn witness(&mut self, epoch: Epoch, seq: u64, message: Fingerprint, source: Source) -> Witness {
        let life = self.life(epoch, seq);
        life.high_water = life.high_water.max(seq);
        // What is this far behind is checked by `seq` only.
        let Some(index) = life.place(seq) else { return Witness::Agrees };
        let known = life.places.get(index).copied().flatten();
        let mut place = known.unwrap_or_else(|| Place {
            message,
            witness: life.judge_sender(seq, message),
            charged: 0,
            is_acked: false,
        });
        let answer = place.compare(message, source);
        if let Some(kept) = life.places.get_mut(index) {
            *kept = Some(place);
        }
        answer
    }

    /// Notes the planned time of a message.
    pub fn note_planned(&mut self, epoch: Epoch, seq: u64, planned: Nanos) {
        if let Some(life) = self.lives.iter_mut().find(|life| life.epoch == epoch) {
            life.timeline.note(seq, planned);
        }
    }

    /// The planned times of the messages of an epoch, see [`Timeline::planned`].
    pub fn planned(
        &self,
        epoch: Epoch,
        range: RangeInclusive<u64>,
    ) -> impl Iterator<Item = (Nanos, RangeInclusive<u64>)> {
        let life = self.lives.iter().find(|life| life.epoch == epoch);
        life.into_iter().flat_map(move |life| life.timeline.planned(range.clone()))
    }

    /// Whether a message was seen at any position of the room.
    pub fn has_seen(&self, message: Fingerprint) -> bool {
        let senders = self.lives.iter().filter_map(|life| life.senders.get(&(message.run, message.sender)));
        senders.into_iter().any(|sender| sender.numbers.contains(message.number.into()))
    }

    /// The newest `seq` known of this epoch; `None` if the epoch is unknown or forgotten.
    pub fn high_water(&self, epoch: Epoch) -> Option<u64> {
        self.lives.iter().find(|life| life.epoch == epoch).map(|life| life.high_water)
    }

    /// The newest `seq` of every epoch.
    pub fn high_waters(&self) -> impl Iterator<Item = (Epoch, u64)> {
        self.lives.iter().map(|life| (life.epoch, life.high_water))
    }

    fn life(&mut self, epoch: Epoch, seq: u64) -> &mut Life {
        // The newest epoch is in front, because it is looked up most often.
        let index = self.lives.iter().position(|life| life.epoch == epoch).unwrap_or_else(|| {
            self.lives.truncate(LIVES_MAX - 1);
            self.lives.push_front(Life::new(epoch, seq));
            0
        });
        #[expect(clippy::indexing_slicing, reason = "just found, or just put there")]
        &mut self.lives[index]
    }
}

impl Place {
    fn compare(&mut self, message: Fingerprint, source: Source) -> Witness {
        let is_taken = source == Source::Ack && std::mem::replace(&mut self.is_acked, true);
        if (self.message == message && !is_taken) || self.witness == Witness::Contradicted {
            self.charged += u32::from(matches!(source, Source::Delivery));
            return self.witness;
        }
        let charged = u64::from(self.charged);
        let (repeats, reordered) = match self.witness {
            Witness::Repeats => (charged, 0),
            Witness::Reordered => (0, charged),
            Witness::Agrees | Witness::Contradicts { .. } | Witness::Contradicted => (0, 0),
        };
        self.witness = Witness::Contradicted;
        Witness::Contradicts { repeats, reordered }
    }
}

impl Life {
    fn new(epoch: Epoch, seq: u64) -> Self {
        Self {
            epoch,
            high_water: seq,
            first_place: seq,
            places: VecDeque::new(),
            senders: FxHashMap::default(),
            timeline: Timeline::default(),
            deletions: VecDeque::new(),
        }
    }

    /// The index of a position, which is remembered from now on.
    fn place(&mut self, seq: u64) -> Option<usize> {
        let offset = usize::try_from(seq.checked_sub(self.first_place)?).ok()?;
        if offset < self.places.len() {
            return Some(offset);
        }
        if offset >= self.places.len() + PLACES_MAX {
            // It is so far ahead that none of the remembered positions stays.
            self.places.clear();
            self.first_place = seq;
        }
        while self.first_place + self.places.len() as u64 <= seq {
            if self.places.len() == PLACES_MAX {
                self.places.pop_front();
                self.first_place += 1;
            }
            self.places.push_back(None);
        }
        Some(self.places.len() - 1)
    }

    fn judge_sender(&mut self, seq: u64, message: Fingerprint) -> Witness {
        if message.sender == Fingerprint::UNMARKED.sender {
            // Messages of people, and changes of messages, have no numbers.
            return Witness::Agrees;
        }
        let number = u64::from(message.number);
        let sender = self
            .senders
            .entry((message.run, message.sender))
            .or_insert_with(|| Sender { numbers: Sequence::after(number.saturating_sub(1)), newest_seq: 0 });
        let is_newest_number = match sender.numbers.observe(number) {
            Arrival::Next | Arrival::Skipped(_) => true,
            Arrival::Late | Arrival::BeforeBase => false,
            Arrival::Twice => return Witness::Repeats,
        };
        let is_newest_place = seq > sender.newest_seq;
        sender.newest_seq = sender.newest_seq.max(seq);
        if is_newest_number == is_newest_place { Witness::Agrees } else { Witness::Reordered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(1);

    fn message(sender: u32, number: u32) -> Fingerprint {
        Fingerprint { run: 1, sender, number }
    }

    impl RoomRecord {
        fn delivered(&mut self, seq: u64, message: Fingerprint) -> Witness {
            self.witness(EPOCH, seq, message, Source::Delivery)
        }
    }

    #[test]
    fn the_same_place_holds_the_same_message_for_everybody() {
        let mut room = RoomRecord::default();
        assert_eq!(room.delivered(5, message(1, 1)), Witness::Agrees);
        assert_eq!(room.delivered(5, message(1, 1)), Witness::Agrees);
        assert_eq!(room.delivered(5, message(2, 1)), Witness::Contradicts { repeats: 0, reordered: 0 });
        assert_eq!(room.delivered(5, message(1, 1)), Witness::Contradicted, "a place is contradicted once");
        assert_eq!(room.high_water(EPOCH), Some(5));
    }

    #[test]
    fn messages_of_other_people_repeat_nothing_and_a_bots_message_in_their_place_contradicts_them() {
        let mut room = RoomRecord::default();
        for seq in [5, 6, 6, 5] {
            assert_eq!(room.delivered(seq, Fingerprint::UNMARKED), Witness::Agrees);
        }
        let contradicts = Witness::Contradicts { repeats: 0, reordered: 0 };
        assert_eq!(room.witness(EPOCH, 5, message(1, 1), Source::Ack), contradicts);
        assert_eq!(room.delivered(6, message(1, 2)), contradicts);
        room.delivered(7, message(1, 3));
        assert_eq!(room.delivered(7, Fingerprint::UNMARKED), contradicts);
    }

    #[test]
    fn a_message_in_two_places_is_a_repetition_for_every_receiver() {
        let mut room = RoomRecord::default();
        room.delivered(5, message(1, 1));
        assert_eq!(room.delivered(6, message(1, 1)), Witness::Repeats);
        assert_eq!(room.delivered(6, message(1, 1)), Witness::Repeats);
    }

    #[test]
    fn what_was_called_a_repetition_is_taken_back_where_others_got_another_message() {
        let mut room = RoomRecord::default();
        room.delivered(5, message(1, 1));
        room.witness(EPOCH, 6, message(1, 1), Source::Ack);
        room.delivered(6, message(1, 1));
        assert_eq!(room.delivered(6, message(2, 7)), Witness::Contradicts { repeats: 1, reordered: 0 });
    }

    #[test]
    fn messages_of_one_sender_keep_their_order_whoever_sees_them_first() {
        let mut room = RoomRecord::default();
        assert_eq!(room.delivered(5, message(1, 1)), Witness::Agrees);
        assert_eq!(room.delivered(7, message(1, 3)), Witness::Agrees);
        // Another, slower receiver shows what the first one missed.
        assert_eq!(room.delivered(6, message(1, 2)), Witness::Agrees);
        assert_eq!(room.delivered(8, message(1, 5)), Witness::Agrees);
        assert_eq!(room.delivered(9, message(1, 4)), Witness::Reordered);
        assert_eq!(room.delivered(10, message(2, 9)), Witness::Agrees, "senders do not concern each other");
    }

    #[test]
    fn each_life_of_a_room_is_judged_by_itself() {
        let mut room = RoomRecord::default();
        room.delivered(100, message(1, 1));
        assert_eq!(room.witness(Epoch(2), 1, message(1, 1), Source::Delivery), Witness::Agrees);
        assert_eq!((room.high_water(EPOCH), room.high_water(Epoch(2))), (Some(100), Some(1)));
        for epoch in 3..3 + LIVES_MAX as u64 {
            room.reach(Epoch(epoch), 1);
        }
        assert_eq!(room.high_water(EPOCH), None);
    }

    #[test]
    fn what_a_room_remembers_is_bounded() {
        let mut room = RoomRecord::default();
        for seq in 1..=5_000 {
            room.delivered(seq, message(1, u32::try_from(seq).unwrap()));
        }
        room.delivered(1_000_000_000, message(2, 1));
        assert!(room.lives[0].places.len() <= PLACES_MAX);
        assert_eq!(room.delivered(1, message(9, 9)), Witness::Agrees, "forgotten places are not judged");
    }
}
