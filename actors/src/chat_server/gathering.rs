//! Records of the log that wait in the `ChatServer` for later ones.
//!
//! A message to a large room costs one write per member, and a write with thirty messages costs hardly more than a write
//! with one. On a server without other nodes, the messages that arrive while a hub writes share its next writes. On a
//! node these messages must pass the log first. So a record with a message to a large room waits until the hubs have
//! written the last such message and read their sockets, and then for the records with what they have read. If the writes
//! take long, it first waits a little for clients that answer what they have just been sent.

use std::time::Duration;

use super::state::gathering::Writes;
use crate::clock::Instant;

/// The approximate time of one write (`docs/performance.md`). A record waits for others no longer than the writes take
/// that this can save.
const WRITE: Duration = Duration::from_micros(5);

/// The clients have this part of the time of the writes to answer.
const PART_FOR_CLIENTS: u32 = 4;

/// The shortest wait for clients: the timers are no finer.
const CLIENTS_WAIT_MIN: Duration = Duration::from_millis(1);

/// The longest wait for the hubs. They may have no member of the room any more.
const WRITTEN_WITHIN: Duration = Duration::from_millis(20);

/// What happens to the events that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// They are applied now.
    Apply,
    /// They wait for a later event, and for this time at most.
    WaitAtMost(Duration),
    /// They wait as before.
    Wait,
}

/// The events of the log that wait, and what they wait for.
#[derive(Debug)]
pub(super) struct Gathering<T> {
    /// In their order. They still count as waiting in the mailbox.
    events: Vec<T>,
    /// The work of the hubs for the first of them.
    writes: Writes,
    awaited: Awaited,
    /// The number of hubs that write a message to a large room, and the time at which they began.
    writing: Option<(usize, Instant)>,
}

/// What the events wait for.
#[derive(Debug, Clone, Copy)]
enum Awaited {
    /// The hubs, which write.
    Hubs,
    /// Clients, which answer what the hubs have written.
    Clients,
    /// The record of this node with this counter.
    Record(u64),
}

impl<T> Default for Gathering<T> {
    fn default() -> Self {
        Self { events: Vec::new(), writes: Writes::default(), awaited: Awaited::Hubs, writing: None }
    }
}

impl<T> Gathering<T> {
    /// Whether an event waits. All later ones wait behind it.
    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Adds the first event: a record that costs these writes. `to_come`: the counter of this node's newest record, if
    /// it is still to come after this one.
    pub(super) fn begin(&mut self, event: T, writes: Writes, to_come: Option<u64>, now: Instant) -> Next {
        self.events.push(event);
        self.writes = writes;
        let began = self.writing.map(|(_, began)| began);
        if began.is_some_and(|began| now.saturating_duration_since(began) < WRITTEN_WITHIN) {
            self.awaited = Awaited::Hubs;
            Next::WaitAtMost(WRITTEN_WITHIN)
        } else {
            self.wait_for(to_come)
        }
    }

    /// Adds a later event. `is_since` says whether it is this node's record with a counter, or a later one.
    pub(super) fn add(&mut self, event: T, is_since: impl Fn(u64) -> bool) -> Next {
        self.events.push(event);
        match self.awaited {
            Awaited::Record(counter) if is_since(counter) => Next::Apply,
            Awaited::Record(_) | Awaited::Hubs | Awaited::Clients => Next::Wait,
        }
    }

    /// A hub has written, and has read its sockets since. `to_come` is about the last event that waits.
    pub(super) fn written(&mut self, to_come: impl Fn(&T) -> Option<u64>) -> Next {
        let Some((hubs, _)) = &mut self.writing else { return Next::Wait };
        *hubs = hubs.saturating_sub(1);
        if *hubs > 0 {
            return Next::Wait;
        }
        self.writing = None;
        let Some(last) = self.events.last().filter(|_| matches!(self.awaited, Awaited::Hubs)) else {
            return Next::Wait;
        };
        let (to_come, for_clients) = (to_come(last), self.writes_take() / PART_FOR_CLIENTS);
        if to_come.is_none() && for_clients >= CLIENTS_WAIT_MIN {
            self.awaited = Awaited::Clients;
            return Next::WaitAtMost(for_clients);
        }
        self.wait_for(to_come)
    }

    /// The time of a wait is over.
    pub(super) fn time_is_up(&mut self, to_come: impl Fn(&T) -> Option<u64>) -> Next {
        match (self.events.last(), self.awaited) {
            (Some(last), Awaited::Clients) => {
                let to_come = to_come(last);
                self.wait_for(to_come)
            }
            (Some(_), Awaited::Hubs | Awaited::Record(_)) | (None, _) => Next::Apply,
        }
    }

    fn writes_take(&self) -> Duration {
        WRITE * self.writes.most_on_one_hub
    }

    fn wait_for(&mut self, to_come: Option<u64>) -> Next {
        let Some(counter) = to_come else { return Next::Apply };
        self.awaited = Awaited::Record(counter);
        Next::WaitAtMost(self.writes_take())
    }

    /// Ends the wait: the returned events are applied, and the hubs write then.
    pub(super) fn end(&mut self, now: Instant) -> Vec<T> {
        if self.has_events() {
            self.writing = Some((self.writes.hubs, now));
        }
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const WRITES: Writes = Writes { most_on_one_hub: 1_000, hubs: 2 };
    const SAVED: Duration = Duration::from_millis(5);

    fn after_a_message(now: Instant) -> Gathering<u64> {
        let mut gathering = Gathering::default();
        assert_eq!(gathering.begin(1, WRITES, None, now), Next::Apply, "nobody writes and nothing is to come");
        assert_eq!(gathering.end(now), [1]);
        gathering
    }

    #[test]
    fn a_record_waits_for_the_records_of_this_node_that_are_to_come() {
        let now = clock::now();
        let mut gathering = Gathering::default();
        assert_eq!(gathering.begin(1, WRITES, Some(3), now), Next::WaitAtMost(SAVED));
        assert_eq!(gathering.add(2, |counter| 2 >= counter), Next::Wait);
        assert_eq!(gathering.add(3, |counter| 3 >= counter), Next::Apply);
        assert_eq!(gathering.end(now), [1, 2, 3]);
        assert!(!gathering.has_events());
    }

    #[test]
    fn a_record_that_comes_while_the_hubs_write_waits_for_them_and_for_what_they_read_then() {
        let now = clock::now();
        let few = Writes { most_on_one_hub: 200, hubs: 2 };
        for (writes, to_come, next) in [(few, None, Next::Apply), (WRITES, Some(3), Next::WaitAtMost(SAVED))] {
            let mut gathering = after_a_message(now);
            assert_eq!(gathering.begin(2, writes, Some(2), now), Next::WaitAtMost(WRITTEN_WITHIN));
            assert_eq!(gathering.written(|_| to_come), Next::Wait, "the other hub still writes");
            assert_eq!(gathering.written(|_| to_come), next);
            assert_eq!(gathering.add(3, |counter| 3 >= counter), to_come.map_or(Next::Wait, |_| Next::Apply));
            assert_eq!(gathering.end(now), [2, 3]);
        }
    }

    #[test]
    fn after_long_writes_a_record_waits_for_clients_that_answer_and_for_their_records() {
        let now = clock::now();
        for (to_come, next) in [(None, Next::Apply), (Some(3), Next::WaitAtMost(SAVED))] {
            let mut gathering = after_a_message(now);
            gathering.begin(2, WRITES, None, now);
            assert_eq!(gathering.written(|_| None), Next::Wait);
            assert_eq!(gathering.written(|_| None), Next::WaitAtMost(SAVED / PART_FOR_CLIENTS));
            assert_eq!(gathering.time_is_up(|_| to_come), next);
            assert_eq!(gathering.time_is_up(|_| to_come), Next::Apply, "it waits once for each");
        }
    }

    #[test]
    fn a_record_that_comes_when_the_hubs_have_written_is_applied_at_once() {
        let now = clock::now();
        let mut gathering = after_a_message(now);
        assert_eq!((gathering.written(|_| None), gathering.written(|_| None)), (Next::Wait, Next::Wait));
        assert_eq!(gathering.begin(2, WRITES, None, now), Next::Apply);
    }

    #[test]
    fn hubs_that_never_write_are_waited_for_once_and_not_for_long() {
        let now = clock::now();
        let mut gathering = after_a_message(now);
        assert_eq!(gathering.begin(2, WRITES, None, now + WRITTEN_WITHIN), Next::Apply);
    }
}
