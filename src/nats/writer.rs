//! The records that are not in the log yet: which to write next, which are acknowledged, and which are lost.
//!
//! Records are written in order, a bounded number ahead of their acknowledgements. Once one may not have reached the
//! log, no further one is written: the oldest of them is tried until it is acknowledged, and then the chat writes all
//! again. A record that reaches the log twice counts once, so a try is harmless.

use starling_actors::clock::Instant;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

/// The largest number of written records without an acknowledgement. NATS drops more than 10,000 for one stream.
const RECORDS_MAX: usize = 1_024;

/// Most bytes that are written and not acknowledged, but for a single record.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A record is lost if no acknowledgement comes for this long.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);

/// The log counts as written for this long after an acknowledgement, while others are due.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// The interval at which a lost record is tried.
const TRY_INTERVAL: Duration = Duration::from_millis(100);

/// The outcome of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// The log can be written.
    Written,
    /// The log can be written again. Records that were written before may be missing.
    WrittenAgain,
    /// It is of a record that counts as lost.
    Late,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Writer {
    waiting: VecDeque<Bytes>,
    /// Of consecutive numbers, the last of which is before `next`.
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: usize,
    /// The number of the next write.
    next: u64,
    /// The newest acknowledgement, or the write since which one is due.
    progress: Instant,
    lost: Option<Lost>,
}

#[derive(Debug)]
struct InFlight {
    record: Bytes,
    is_acknowledged: bool,
}

/// Records are lost, and the log is tried with the oldest of them.
#[derive(Debug)]
struct Lost {
    record: Bytes,
    /// The number of the first try.
    since: u64,
    tried: Option<Instant>,
}

impl Writer {
    pub(super) fn new(now: Instant) -> Self {
        let (waiting, in_flight) = (VecDeque::new(), VecDeque::new());
        Self { waiting, in_flight, in_flight_bytes: 0, next: 1, progress: now, lost: None }
    }

    /// Queues a record. While records are lost it is dropped: the chat writes it again.
    pub(super) fn write(&mut self, record: Bytes) {
        if self.lost.is_none() {
            self.waiting.push_back(record);
        }
    }

    /// The next record that may be written, with the number of this write.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u64, Bytes)> {
        let number = self.next;
        let record = if let Some(lost) = &mut self.lost {
            if lost.tried.is_some_and(|tried| now.saturating_duration_since(tried) < TRY_INTERVAL) {
                return None;
            }
            lost.tried = Some(now);
            lost.record.clone()
        } else {
            let bytes = self.waiting.front()?.len();
            let is_full = self.in_flight.len() >= RECORDS_MAX || self.in_flight_bytes + bytes > BYTES_MAX;
            if is_full && !self.in_flight.is_empty() {
                return None;
            }
            if self.in_flight.is_empty() {
                self.progress = now;
            }
            let record = self.waiting.pop_front()?;
            self.in_flight.push_back(InFlight { record: record.clone(), is_acknowledged: false });
            self.in_flight_bytes += bytes;
            record
        };
        self.next += 1;
        Some((number, record))
    }

    /// The write of this number is acknowledged.
    pub(super) fn acknowledged(&mut self, number: u64, now: Instant) -> Acknowledged {
        if let Some(lost) = &self.lost {
            if number < lost.since {
                return Acknowledged::Late;
            }
            self.lost = None;
            return Acknowledged::WrittenAgain;
        }
        let Some(written) = self.find(number) else { return Acknowledged::Late };
        written.is_acknowledged = true;
        self.progress = now;
        while self.in_flight.front().is_some_and(|written| written.is_acknowledged) {
            let done = self.in_flight.pop_front();
            self.in_flight_bytes -= done.map_or(0, |done| done.record.len());
        }
        Acknowledged::Written
    }

    fn find(&mut self, number: u64) -> Option<&mut InFlight> {
        let first = self.next - self.in_flight.len() as u64;
        let index = number.checked_sub(first).and_then(|index| usize::try_from(index).ok())?;
        self.in_flight.get_mut(index)
    }

    /// The write of this number was refused. Returns whether records are lost by it.
    pub(super) fn refused(&mut self, number: u64) -> bool {
        self.lost.is_none() && self.find(number).is_some() && self.lose()
    }

    /// The connection has ended, and acknowledgements with it. Returns whether records are lost by it.
    pub(super) fn disconnected(&mut self) -> bool {
        self.lose()
    }

    /// Time has passed. Returns whether records are lost by it.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let is_late = now.saturating_duration_since(self.progress) >= ACKNOWLEDGED_WITHIN;
        is_late && self.lose()
    }

    /// Whether the log takes what is written: nothing is lost, and an acknowledgement that is due came a short time ago.
    pub(super) fn is_written(&self, now: Instant) -> bool {
        let is_due = !self.in_flight.is_empty();
        self.lost.is_none() && (!is_due || now.saturating_duration_since(self.progress) < WRITTEN_WITHIN)
    }

    /// Whether nothing waits and everything is acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.lost.is_none() && self.waiting.is_empty() && self.in_flight.is_empty()
    }

    fn lose(&mut self) -> bool {
        // The records after it are written again, too.
        let Some(oldest) = self.in_flight.pop_front() else { return false };
        self.lost = Some(Lost { record: oldest.record, since: self.next, tried: None });
        self.waiting.clear();
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use starling_actors::clock;

    use super::*;

    /// Something by which records are lost.
    type Loss = fn(&mut Writer, Instant) -> bool;

    fn record(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn writable(writer: &mut Writer, now: Instant) -> Vec<(u64, Bytes)> {
        std::iter::from_fn(|| writer.next(now)).collect()
    }

    #[test]
    fn records_are_written_in_order_and_a_bounded_number_ahead() {
        let now = clock::now();
        let mut writer = Writer::new(now);
        for _ in 0..RECORDS_MAX + 2 {
            writer.write(record("a"));
        }
        assert_eq!(writable(&mut writer, now).len(), RECORDS_MAX);
        assert_eq!(writer.acknowledged(2, now), Acknowledged::Written);
        assert_eq!(writer.next(now), None, "the oldest is not acknowledged");
        assert_eq!(writer.acknowledged(1, now), Acknowledged::Written);
        let numbers: Vec<u64> = writable(&mut writer, now).iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1_025, 1_026]);
        assert_eq!(writer.acknowledged(1, now), Acknowledged::Late);
    }

    #[test]
    fn bytes_are_bounded_and_one_large_record_is_written_alone() {
        let now = clock::now();
        let mut writer = Writer::new(now);
        let large = Bytes::from(vec![0; BYTES_MAX + 1]);
        writer.write(large.clone());
        writer.write(record("a"));
        assert_eq!(writable(&mut writer, now), [(1, large)]);
        writer.acknowledged(1, now);
        assert_eq!(writable(&mut writer, now), [(2, record("a"))]);
        assert!(!writer.is_idle());
        writer.acknowledged(2, now);
        assert!(writer.is_idle());
    }

    #[test]
    fn after_a_loss_the_oldest_lost_record_is_tried_until_it_is_acknowledged() {
        let now = clock::now();
        let late = now + ACKNOWLEDGED_WITHIN;
        let cases: [(&str, Loss); 3] = [
            ("refused", |writer, _| writer.refused(3)),
            ("disconnected", |writer, _| writer.disconnected()),
            ("no answer", Writer::tick),
        ];
        for (what, lose) in cases {
            let mut writer = Writer::new(now);
            for text in ["a", "b", "c"] {
                writer.write(record(text));
            }
            assert_eq!(writable(&mut writer, now).len(), 3);
            writer.acknowledged(1, now);
            writer.write(record("d"));
            assert!(lose(&mut writer, late), "{what}");
            assert!(!writer.disconnected() && !writer.tick(late + ACKNOWLEDGED_WITHIN), "{what}: once");
            writer.write(record("e"));
            assert_eq!(writable(&mut writer, late), [(4, record("b"))], "{what}");
            assert!(!writer.is_written(late), "{what}");
            assert_eq!(writer.acknowledged(2, late), Acknowledged::Late, "{what}: of before the loss");
            assert!(!writer.refused(4), "{what}");
            assert_eq!(writable(&mut writer, late + TRY_INTERVAL), [(5, record("b"))], "{what}");
            assert_eq!(writer.acknowledged(5, late), Acknowledged::WrittenAgain, "{what}");
            assert!(writer.is_idle(), "{what}: the chat writes all again");
            writer.write(record("b"));
            assert_eq!(writable(&mut writer, late), [(6, record("b"))], "{what}");
        }
    }

    #[test]
    fn a_slow_log_that_makes_progress_loses_nothing() {
        let mut now = clock::now();
        let mut writer = Writer::new(now);
        for _ in 0..10 {
            writer.write(record("a"));
        }
        assert_eq!(writable(&mut writer, now).len(), 10);
        for number in 1..=10 {
            now += ACKNOWLEDGED_WITHIN.mul_f64(0.9);
            assert!(!writer.tick(now));
            assert_eq!(writer.acknowledged(number, now), Acknowledged::Written);
        }
        writer.write(record("a"));
        let later = now + 10 * ACKNOWLEDGED_WITHIN;
        assert!(writer.is_written(later), "nothing is due");
        assert_eq!(writable(&mut writer, later).len(), 1);
        assert!(!writer.tick(later), "the time in which nothing was due does not count");
        assert!(writer.is_written(later), "it is due for no time");
        assert!(!writer.is_written(later + WRITTEN_WITHIN));
    }
}
