//! Which records count.
//!
//! A record counts if it is the next one of a life of a node that has begun and is not out. Every other record is void,
//! for every node in the same way: so a node may write a record twice, and what a node that is out still writes changes
//! nothing.

use std::collections::BTreeMap;

use super::record::{Incarnation, LogEntry, LogPosition, Record};

/// How long a life that is out is remembered, in milliseconds of the log's clock: longer than any record of it can be
/// under way.
const OUT_REMEMBERED_MS: u64 = 3_600_000;

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Its entries count.
    Counts,
    /// It was read before.
    Repeated,
    /// Records of the same life before it are missing: they were lost, and have to be written again from this one on.
    Gap {
        /// The first that is missing.
        expected: u64,
    },
    /// Its life is out.
    Out,
    /// Its life has not begun.
    Unknown,
}

/// One life of a node, as its records tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The node's name.
    pub node: Box<str>,
    /// The newest record that counted.
    pub counter: u64,
    /// Since when nothing of it counts, by the log's clock.
    pub out_since: Option<u64>,
}

/// What all nodes know of each other from the log.
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

    /// Takes the record at a position, and the log's time for it. Returns what becomes of it, and the time at which its
    /// entries happen: that never goes back, whatever the log's clock does.
    pub fn read(&mut self, position: LogPosition, at: u64, record: &Record) -> (Admission, u64) {
        debug_assert!(position > self.position, "the log is read in order");
        self.position = position;
        self.at = self.at.max(at);
        let admission = self.admit(record);
        if admission == Admission::Counts {
            for entry in &record.entries {
                if let LogEntry::Out { incarnation } = entry {
                    self.end(*incarnation);
                }
            }
        }
        (admission, self.at)
    }

    fn admit(&mut self, record: &Record) -> Admission {
        let Some(life) = self.lives.get_mut(&record.incarnation) else {
            let Some(LogEntry::Begin { node }) = record.entries.first() else { return Admission::Unknown };
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

    fn end(&mut self, incarnation: Incarnation) {
        if let Some(life) = self.lives.get_mut(&incarnation).filter(|life| life.out_since.is_none()) {
            life.out_since = Some(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(incarnation: u64) -> Record {
        record(incarnation, 1, vec![LogEntry::Begin { node: "a".into() }])
    }

    fn record(incarnation: u64, counter: u64, entries: Vec<LogEntry>) -> Record {
        Record { incarnation: Incarnation(incarnation), counter, entries }
    }

    /// What becomes of each record, read one after the other a millisecond apart.
    fn read(replica: &mut Replica, records: &[Record]) -> Vec<Admission> {
        let one = |record| {
            let next = LogPosition(replica.position.0 + 1);
            replica.read(next, next.0, record).0
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
        let out = record(2, 2, vec![LogEntry::Out { incarnation: Incarnation(1) }]);
        let records = [begin(1), begin(2), out, record(1, 2, Vec::new()), begin(1), begin(3)];
        let mut replica = Replica::default();
        let expected = [
            Admission::Counts,
            Admission::Counts,
            Admission::Counts,
            Admission::Out,
            Admission::Out,
            Admission::Counts,
        ];
        assert_eq!(read(&mut replica, &records), expected);
        let alive: Vec<_> = replica.alive().map(|(incarnation, _)| incarnation.0).collect();
        assert_eq!(alive, [2, 3]);
    }

    #[test]
    fn the_time_of_entries_never_goes_back() {
        let mut replica = Replica::default();
        assert_eq!(replica.read(LogPosition(1), 1_000, &begin(1)).1, 1_000);
        assert_eq!(replica.read(LogPosition(2), 900, &record(1, 2, Vec::new())).1, 1_000);
        assert_eq!(replica.read(LogPosition(3), 1_001, &record(1, 3, Vec::new())).1, 1_001);
    }
}
