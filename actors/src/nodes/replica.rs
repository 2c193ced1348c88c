//! Decides which records count.
//!
//! A record counts if it is the next one of a life of a node that has begun and is not out. Every other record is void,
//! on all nodes alike. So a node may write a record twice, and the records of a node that was declared dead change
//! nothing.

use std::collections::BTreeMap;

use super::record::{Incarnation, LogEntry, LogPosition, Record};

/// How long a dead life is remembered, in milliseconds of the log's clock: longer than any of its records can be
/// in transit.
const OUT_REMEMBERED_MS: u64 = 3_600_000;

/// The longest time that an [`Out`](LogEntry::Out) may need to reach the log, in milliseconds of the log's clock. A
/// later one was written by a node that could not reach the log.
const OUT_VALID_MS: u64 = 2_000;

/// The status of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Its entries count.
    Counts,
    /// It was read before.
    Repeated,
    /// Earlier records of the same life were lost. They must be written again, beginning with the first missing one.
    Gap {
        /// The first missing record.
        expected: u64,
    },
    /// Its life was declared dead.
    Out,
    /// Its life has not begun.
    Unknown,
}

/// One life of a node, according to its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The node's name.
    pub node: Box<str>,
    /// The newest record that counted.
    pub counter: u64,
    /// The time from which its records do not count, by the log's clock.
    pub out_since: Option<u64>,
}

/// The nodes' common knowledge of each other, from the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replica {
    lives: BTreeMap<Incarnation, Life>,
    position: LogPosition,
    at: u64,
}

impl Replica {
    /// The newest record that was read.
    pub fn position(&self) -> LogPosition {
        self.position
    }

    /// The lives that are not out.
    pub fn alive(&self) -> impl Iterator<Item = (Incarnation, &Life)> {
        self.lives.iter().filter(|(_, life)| life.out_since.is_none()).map(|(incarnation, life)| (*incarnation, life))
    }

    /// The life with this number, if it has begun and is remembered.
    pub fn life(&self, incarnation: Incarnation) -> Option<&Life> {
        self.lives.get(&incarnation)
    }

    /// All lives that are remembered.
    pub fn lives(&self) -> impl Iterator<Item = (Incarnation, &Life)> {
        self.lives.iter().map(|(incarnation, life)| (*incarnation, life))
    }

    /// Restores the state of another node after this record.
    pub fn restore(&mut self, position: LogPosition, at: u64, lives: impl Iterator<Item = (Incarnation, Life)>) {
        (self.position, self.at) = (position, at);
        self.lives.extend(lives);
    }

    /// The newest time of the log, in milliseconds since the Unix epoch. It never goes back.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Reads the record at a position, with the log's time for it. Returns the record's status.
    pub fn read(&mut self, position: LogPosition, at: u64, record: &Record) -> Admission {
        debug_assert!(position > self.position, "the log is read in order");
        self.position = position;
        self.at = self.at.max(at);
        self.admit(record)
    }

    fn admit(&mut self, record: &Record) -> Admission {
        let Some(life) = self.lives.get_mut(&record.incarnation) else {
            let Some(LogEntry::Begin { node, .. }) = record.entries.first() else { return Admission::Unknown };
            if record.counter != 1 {
                return Admission::Unknown;
            }
            let at = self.at;
            self.lives.retain(|_, life| life.out_since.is_none_or(|since| at - since < OUT_REMEMBERED_MS));
            let life = Life { node: node.clone(), counter: 1, out_since: None };
            self.lives.insert(record.incarnation, life);
            return Admission::Counts;
        };
        let expected = life.counter + 1;
        if life.out_since.is_some() {
            Admission::Out
        } else if record.counter < expected {
            Admission::Repeated
        } else if record.counter > expected {
            Admission::Gap { expected }
        } else {
            life.counter = record.counter;
            Admission::Counts
        }
    }

    /// Ends a life, unless it has written since `counter`, or the writer of the entry last read the log too long before
    /// it. Returns whether the life has ended now.
    pub fn end(&mut self, incarnation: Incarnation, counter: u64, as_of: u64) -> bool {
        if self.at.saturating_sub(as_of) > OUT_VALID_MS {
            return false;
        }
        let alive = self.lives.get_mut(&incarnation).filter(|life| life.out_since.is_none());
        let Some(life) = alive.filter(|life| life.counter <= counter) else { return false };
        life.out_since = Some(self.at);
        true
    }
}

#[cfg(test)]
mod tests {
    use starling_protocol::Epoch;

    use super::*;

    fn begin(incarnation: u64) -> Record {
        record(incarnation, 1, vec![LogEntry::Begin { node: "a".into(), lobby: Epoch(1) }])
    }

    fn record(incarnation: u64, counter: u64, entries: Vec<LogEntry>) -> Record {
        Record { incarnation: Incarnation(incarnation), counter, entries }
    }

    /// What becomes of each record, read one after the other a millisecond apart.
    fn read(replica: &mut Replica, records: &[Record]) -> Vec<Admission> {
        let one = |record| {
            let next = LogPosition(replica.position.0 + 1);
            replica.read(next, next.0, record)
        };
        records.iter().map(one).collect()
    }

    #[test]
    fn a_record_counts_once_and_only_next_to_the_one_before() {
        let next = |counter| record(1, counter, Vec::new());
        let records = [next(1), begin(1), next(2), next(2), next(4), begin(1), next(3), next(4)];
        let expected = [
            Admission::Unknown,
            Admission::Counts,
            Admission::Counts,
            Admission::Repeated,
            Admission::Gap { expected: 3 },
            Admission::Repeated,
            Admission::Counts,
            Admission::Counts,
        ];
        assert_eq!(read(&mut Replica::default(), &records), expected);
    }

    #[test]
    fn nothing_of_a_life_that_is_out_counts_and_its_node_begins_another() {
        let mut replica = Replica::default();
        assert_eq!(read(&mut replica, &[begin(1), begin(2)]), [Admission::Counts; 2]);
        assert!(replica.end(Incarnation(1), 1, replica.at()));
        assert!(!replica.end(Incarnation(1), 1, replica.at()), "it was declared dead already");
        let records = [record(1, 2, Vec::new()), begin(1), begin(3)];
        assert_eq!(read(&mut replica, &records), [Admission::Out, Admission::Out, Admission::Counts]);
        let alive: Vec<_> = replica.alive().map(|(incarnation, _)| incarnation.0).collect();
        assert_eq!(alive, [2, 3]);
    }

    #[test]
    fn a_life_that_has_written_since_stays_and_so_does_one_that_a_node_without_the_log_misses() {
        let mut replica = Replica::default();
        assert_eq!(read(&mut replica, &[begin(1), record(1, 2, Vec::new())]), [Admission::Counts; 2]);
        assert!(!replica.end(Incarnation(1), 1, replica.at()), "it has written its second record since");
        replica.read(LogPosition(9), 100_000, &record(2, 5, Vec::new()));
        assert!(!replica.end(Incarnation(1), 2, 100_000 - OUT_VALID_MS - 1));
        assert!(replica.end(Incarnation(1), 2, 100_000 - OUT_VALID_MS));
    }

    #[test]
    fn the_time_of_the_log_never_goes_back() {
        let mut replica = Replica::default();
        for (position, at, expected) in [(1, 1_000, 1_000), (2, 900, 1_000), (3, 1_001, 1_001)] {
            replica.read(LogPosition(position), at, &record(1, position, Vec::new()));
            assert_eq!(replica.at(), expected);
        }
    }
}
