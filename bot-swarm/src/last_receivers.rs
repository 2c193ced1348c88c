//! The time of each message's last receipt, over all threads of a process and all processes of a host.
//!
//! Every receiver knows the position of a message: its room, epoch and `seq`. Each thread notes the longest latency
//! that it saw for a position; the longest of all threads and processes is that of the last receiver.
//!
//! At most [`MESSAGES_MAX`] messages are kept. Above that, half of them are dropped: those whose hash has a certain bit
//! set. The hash is the same in every process, so all processes keep the same messages. From then on, one message of
//! two (of four, of eight) is kept, and counts as two (four, eight).

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bytes::{Buf as _, BufMut as _};
use rustc_hash::FxHashMap;
use starling_protocol::Epoch;

use crate::latencies::Latencies;

/// The most messages that are kept: as many as a hash table of 16,384 slots holds.
pub const MESSAGES_MAX: usize = 14_336;

/// The size of a packed message, in bytes: its key, a latency and a time in microseconds.
const PACKED: usize = 8 + LATENCY_BYTES + TIME_BYTES;
const LATENCY_BYTES: usize = 5;
const TIME_BYTES: usize = 6;

/// The bit of a packed time that marks a judged latency.
const JUDGED: u64 = 1 << 47;

/// A hash of a message's position in its room. It is the same in every process and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlaceKey(u64);

impl PlaceKey {
    /// The key of a position. `room` is the room's number in a swarm; `tag` stands for its name in markers.
    pub fn of(room: u32, tag: u32, epoch: Epoch, seq: u64) -> Self {
        let room = (u64::from(tag) << 32) | u64::from(room);
        Self(mix(mix(mix(room) ^ epoch.0) ^ seq))
    }

    fn is_kept_at(self, halvings: u32) -> bool {
        self.0.trailing_zeros() >= halvings
    }
}

/// Distributes the bits of a number over all 64 (the finalizer of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The last receipt of a message so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReceipt {
    /// The time from the planned time of the message to its last receipt so far.
    pub latency: Duration,
    /// The start of the second of this receipt, since the start of the run.
    pub at: Duration,
    /// Whether it counts for the whole run, because it was not in the warm-up.
    pub is_judged: bool,
    /// Whether [`LastReceivers::settle`] has reported it.
    is_settled: bool,
}

/// The last receivers of a sample of messages.
#[derive(Debug, Clone, Default)]
pub struct LastReceivers {
    /// The number of times that the sample was halved.
    halvings: u32,
    receipts: FxHashMap<PlaceKey, LastReceipt>,
}

impl LastReceivers {
    /// Notes a receipt, or a message that will not arrive.
    pub fn note(&mut self, place: PlaceKey, latency: Duration) {
        self.add(place, LastReceipt { latency, at: Duration::ZERO, is_judged: true, is_settled: false });
    }

    fn add(&mut self, place: PlaceKey, receipt: LastReceipt) {
        if !place.is_kept_at(self.halvings) {
            return;
        }
        if let Some(known) = self.receipts.get_mut(&place) {
            if receipt.latency > known.latency {
                *known = LastReceipt { is_settled: known.is_settled, ..receipt };
            }
            return;
        }
        self.receipts.insert(place, receipt);
        while self.receipts.len() > MESSAGES_MAX {
            self.halve_to(self.halvings + 1);
        }
    }

    /// Applies halvings until there are at least this many.
    fn halve_to(&mut self, halvings: u32) {
        if halvings > self.halvings {
            self.halvings = halvings;
            self.receipts.retain(|place, _| place.is_kept_at(halvings));
        }
    }

    fn add_all(&mut self, other: &Self, change: impl Fn(LastReceipt) -> LastReceipt) {
        self.halve_to(other.halvings);
        for (place, receipt) in &other.receipts {
            self.add(*place, change(*receipt));
        }
    }

    /// Adds the receipts of another thread in the same time.
    pub fn merge(&mut self, other: &Self) {
        self.add_all(other, |receipt| receipt);
    }

    /// Adds the receipts of a second that began at `at`.
    pub fn merge_second(&mut self, other: &Self, at: Duration, is_judged: bool) {
        self.add_all(other, |receipt| LastReceipt { at, is_judged, ..receipt });
    }

    /// Adds the receipts of another process, whose run began `later` than this one.
    pub fn merge_process(&mut self, other: &Self, later: Duration) {
        self.add_all(other, |receipt| LastReceipt { at: receipt.at + later, ..receipt });
    }

    /// The number of messages for which one kept message counts.
    pub fn one_of(&self) -> u64 {
        1 << self.halvings
    }

    /// The number of kept messages.
    pub fn len(&self) -> usize {
        self.receipts.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }

    /// All kept receipts, in the order of time.
    pub fn by_time(&self) -> ByTime {
        let mut receipts: Vec<LastReceipt> = self.receipts.values().copied().collect();
        receipts.sort_unstable_by_key(|receipt| receipt.at);
        ByTime { receipts, one_of: self.one_of() }
    }

    /// The latencies of selected receipts, each with the number of messages for which it counts.
    pub fn latencies(&self, wanted: impl Fn(&LastReceipt) -> bool) -> Latencies {
        let mut latencies = Latencies::default();
        for receipt in self.receipts.values().filter(|receipt| wanted(receipt)) {
            latencies.record_many(receipt.latency, self.one_of());
        }
        latencies
    }

    /// Adds to `latencies` the judged messages without a receipt since the given time, unless they were reported
    /// before.
    pub fn settle(&mut self, since: Duration, latencies: &mut Latencies) {
        let count = self.one_of();
        for receipt in self.receipts.values_mut().filter(|receipt| !receipt.is_settled && receipt.at < since) {
            receipt.is_settled = true;
            if receipt.is_judged {
                latencies.record_many(receipt.latency, count);
            }
        }
    }

    /// All kept receipts as text; [`unpack`](Self::unpack) reverses this.
    pub fn pack(&self) -> String {
        let mut places: Vec<_> = self.receipts.iter().collect();
        places.sort_unstable_by_key(|(place, _)| place.0);
        let mut packed = Vec::with_capacity(places.len() * PACKED);
        for (place, receipt) in places {
            packed.put_u64(place.0);
            packed.put_uint(micros(receipt.latency, 8 * LATENCY_BYTES), LATENCY_BYTES);
            let judged = if receipt.is_judged { JUDGED } else { 0 };
            packed.put_uint(micros(receipt.at, 47) | judged, TIME_BYTES);
        }
        BASE64_STANDARD_NO_PAD.encode(packed)
    }

    /// Reads the text of [`pack`](Self::pack), with one message kept of `one_of`. `None` if it is invalid.
    pub fn unpack(one_of: u64, text: &str) -> Option<Self> {
        let packed = BASE64_STANDARD_NO_PAD.decode(text).ok()?;
        if !one_of.is_power_of_two() || packed.len() % PACKED != 0 {
            return None;
        }
        let mut last = Self { halvings: one_of.trailing_zeros(), receipts: FxHashMap::default() };
        for mut message in packed.chunks_exact(PACKED) {
            let place = PlaceKey(message.get_u64());
            let latency = Duration::from_micros(message.get_uint(LATENCY_BYTES));
            let time = message.get_uint(TIME_BYTES);
            let (at, is_judged) = (Duration::from_micros(time & !JUDGED), time & JUDGED != 0);
            last.add(place, LastReceipt { latency, at, is_judged, is_settled: true });
        }
        Some(last)
    }
}

/// The last receipts of a sample of messages, in the order of time.
#[derive(Debug, Clone, Default)]
pub struct ByTime {
    receipts: Vec<LastReceipt>,
    one_of: u64,
}

impl ByTime {
    /// The latencies of messages whose last receipt was in a second that began from `from` until before `until`; `None`
    /// if there are none. Times count in whole microseconds.
    pub fn between(&self, from: Duration, until: Duration) -> Option<Latencies> {
        let before =
            |time: Duration| self.receipts.partition_point(|receipt| receipt.at.as_micros() < time.as_micros());
        let receipts = self.receipts.get(before(from)..before(until)).filter(|receipts| !receipts.is_empty())?;
        let mut latencies = Latencies::default();
        for receipt in receipts {
            latencies.record_many(receipt.latency, self.one_of);
        }
        Some(latencies)
    }
}

/// Whole microseconds, limited to the largest number of this many bits.
fn micros(duration: Duration, bits: usize) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min((1 << bits) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: fn(&LastReceipt) -> bool = |_| true;

    fn place(seq: u64) -> PlaceKey {
        PlaceKey::of(0, 7, Epoch(1), seq)
    }

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The receipts of one thread.
    fn seen(seqs: impl Iterator<Item = u64>, latency: impl Fn(u64) -> Duration) -> LastReceivers {
        let mut last = LastReceivers::default();
        seqs.for_each(|seq| last.note(place(seq), latency(seq)));
        last
    }

    #[test]
    fn the_last_receiver_is_the_slowest_of_all_threads() {
        let mut last = seen(1..=2, |seq| millis(10 * seq));
        last.note(place(1), millis(5));
        last.merge(&seen(2..=3, |seq| millis(100 * seq)));
        let latencies = Latencies::of(&[[10_000, 1], [200_000, 1], [300_000, 1]]);
        assert_eq!(last.latencies(ALL).steps(), latencies.steps());
        for other in [PlaceKey::of(1, 7, Epoch(1), 1), PlaceKey::of(0, 8, Epoch(1), 1), PlaceKey::of(0, 7, Epoch(2), 1)]
        {
            assert_ne!(other, place(1));
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_all_processes_keep_the_same_messages() {
        let count = 100_000;
        let few = seen(1..=count, |_| millis(1));
        assert!(few.len() <= MESSAGES_MAX && few.len() > MESSAGES_MAX / 3, "{}", few.len());
        assert_eq!(few.one_of(), 8);
        // Another process with a third of the messages, of which it keeps a larger share.
        let more = seen((1..=count).step_by(3), |_| millis(2));
        assert_eq!(more.one_of(), 4);
        for (mut sum, other) in [(few.clone(), &more), (more.clone(), &few)] {
            sum.merge(other);
            assert_eq!((sum.one_of(), sum.len()), (8, few.len()));
            let counts: Vec<u64> = sum.latencies(ALL).iter().map(|(_, count)| count).collect();
            assert_eq!(counts.iter().sum::<u64>(), 8 * few.len() as u64);
            let slow = counts.last().copied().unwrap_or_default() as f64 / 8.0 / few.len() as f64;
            assert!((slow - 1.0 / 3.0).abs() < 0.03, "{slow}");
        }
        let estimated = few.latencies(ALL).count() as f64;
        assert!((estimated / count as f64 - 1.0).abs() < 0.05, "{estimated}");
    }

    #[test]
    fn what_is_packed_is_read_as_it_was_written() {
        let mut last = LastReceivers::default();
        last.merge_second(&seen(1..=10, millis), millis(1_500), false);
        last.merge_second(&seen(10..=50_000, |seq| millis(seq % 50)), millis(2_500), true);
        let read = LastReceivers::unpack(last.one_of(), &last.pack()).unwrap();
        assert_eq!((read.one_of(), read.pack()), (last.one_of(), last.pack()));
        assert_eq!(read.latencies(|receipt| receipt.is_judged).steps(), last.latencies(|r| r.is_judged).steps());
        for (from, until) in [(0, 2_000), (2_000, 3_000), (1_500, 2_500), (3_000, 9_000), (9, 1)] {
            let between = |last: &LastReceivers| {
                last.by_time().between(millis(from), millis(until)).map(|between| between.steps())
            };
            assert_eq!(between(&read), between(&last));
        }
        for (one_of, text) in [(3, ""), (0, ""), (1, "AAAA"), (1, "?")] {
            assert!(LastReceivers::unpack(one_of, text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_message_is_settled_once_and_only_when_nobody_gets_it_any_more() {
        let mut last = LastReceivers::default();
        last.merge_second(&seen(1..=2, |_| millis(1)), millis(0), true);
        last.merge_second(&seen(2..=2, |_| millis(9)), millis(1_000), true);
        let mut settled = Latencies::default();
        let mut counts = [1_000, 2_000, 3_000].map(|since| {
            last.settle(millis(since), &mut settled);
            settled.count()
        });
        counts.sort_unstable();
        assert_eq!((counts, settled.steps().len()), ([1, 2, 2], 2));
    }
}
