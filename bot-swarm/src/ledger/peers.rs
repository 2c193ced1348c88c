//! The messages that a bot must receive from a server that does not number them, judged by each sender's own numbering.
//!
//! A bot that has listened for a moment must receive every message that a bot of this process sends from then on. It
//! must receive its own messages only if they return to it and to nobody else. Messages that were in transit when it
//! began to listen are not judged, and a lost connection ends its judgement. Bots of other processes are judged from
//! their first message to their newest.

use rustc_hash::FxHashMap;

use super::sequence::{Arrival, Sequence};
use super::tally::Tally;
use super::verdict::Verdict;
use crate::marker::Marker;

/// The receivers of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// All other clients; the sender may receive it, too.
    All,
    /// Only its sender.
    Sender,
}

#[derive(Debug)]
struct Listener {
    /// The number of messages that each bot of this process had sent when this one began to listen.
    said_before: Box<[u32]>,
    /// The received numbers, by process run and sender.
    heard: FxHashMap<(u32, u32), Sequence>,
}

/// The deliveries between the bots of one worker and others.
#[derive(Debug)]
pub struct PeerBook {
    run: u32,
    audience: Audience,
    listeners: FxHashMap<u32, Listener>,
    tally: Tally,
}

impl PeerBook {
    /// An empty book of a process run.
    pub fn new(run: u32, audience: Audience) -> Self {
        Self { run, audience, listeners: FxHashMap::default(), tally: Tally::default() }
    }

    /// A bot listens from now on. `said`: the number of messages that each bot has sent.
    pub fn listens(&mut self, bot: u32, said: impl Fn(u32) -> u32, bots: u32) {
        let said_before = match self.audience {
            Audience::All => (0..bots).map(said).collect(),
            Audience::Sender => [said(bot)].into(),
        };
        self.listeners.insert(bot, Listener { said_before, heard: FxHashMap::default() });
    }

    /// A bot no longer listens: it left, or lost its connection.
    pub fn stops(&mut self, bot: u32) {
        if let Some(listener) = self.listeners.remove(&bot) {
            for heard in listener.heard.values() {
                self.tally += tally(heard, 0);
            }
        }
    }

    /// A message arrived.
    pub fn heard(&mut self, bot: u32, marker: &Marker) -> Verdict {
        let (is_own, is_of_this_run) = (marker.run == self.run && marker.sender == bot, marker.run == self.run);
        if self.audience == Audience::Sender && !is_own {
            self.tally.misdelivered += 1;
            return Verdict::Wrong;
        }
        let Some(listener) = self.listeners.get_mut(&bot) else { return Verdict::Counts };
        if self.audience == Audience::All && is_own {
            return Verdict::Counts;
        }
        let number = u64::from(marker.number);
        let before = if is_of_this_run { listener.before(self.audience, marker.sender) } else { None };
        let heard = listener.heard.entry((marker.run, marker.sender));
        let heard = heard.or_insert_with(|| Sequence::after(before.unwrap_or(number.saturating_sub(1))));
        match heard.observe(number) {
            Arrival::Next | Arrival::Skipped(_) | Arrival::BeforeBase => return Verdict::Counts,
            Arrival::Late => self.tally.out_of_order += 1,
            Arrival::Twice => self.tally.twice += 1,
        }
        Verdict::Wrong
    }

    /// The number of messages that are still to come until every listener has all that were sent.
    pub fn outstanding(&self, said: impl Fn(u32) -> u32) -> u64 {
        self.expected(&said).map(|(_, heard, target)| target.saturating_sub(heard.newest())).sum()
    }

    /// The faults of the server so far; lost messages may still come.
    pub fn findings(&self) -> Tally {
        let missing: u64 =
            self.listeners.values().flat_map(|listener| listener.heard.values()).map(Sequence::missing).sum();
        Tally { lost: self.tally.lost + missing, ..self.tally }
    }

    /// Closes the book. `said`: the number of messages that each bot has sent; `unpromised`: those that the server
    /// refused or may never have received, by sender and number. They are not expected.
    pub fn close(self, said: impl Fn(u32) -> u32, unpromised: &[(u32, u32)]) -> Tally {
        let mut of_sender: FxHashMap<u32, Vec<u64>> = FxHashMap::default();
        for (sender, number) in unpromised {
            of_sender.entry(*sender).or_default().push((*number).into());
        }
        let mut sum = self.tally;
        for (sender, heard, target) in self.expected(&said) {
            let mut tally = tally(&heard, target);
            let numbers = of_sender.get(&sender).map_or(&[][..], Vec::as_slice);
            let forgiven = numbers.iter().filter(|number| heard.lacks(**number, target)).count() as u64;
            tally.expected -= forgiven.min(tally.lost);
            tally.lost -= forgiven.min(tally.lost);
            sum += tally;
        }
        for (key, heard) in self.listeners.values().flat_map(|listener| &listener.heard) {
            if key.0 != self.run {
                sum += tally(heard, 0);
            }
        }
        sum
    }

    /// The senders of this process that each listener must hear: the sender, the numbers received, and the sender's
    /// newest.
    fn expected(&self, said: &impl Fn(u32) -> u32) -> impl Iterator<Item = (u32, Sequence, u64)> {
        self.listeners.iter().flat_map(move |(bot, listener)| {
            let senders = match self.audience {
                Audience::All => 0..u32::try_from(listener.said_before.len()).unwrap_or(u32::MAX),
                Audience::Sender => *bot..*bot + 1,
            };
            let others = senders.filter(move |sender| self.audience == Audience::Sender || sender != bot);
            others.map(move |sender| {
                let before = listener.before(self.audience, sender).unwrap_or_default();
                let heard = listener.heard.get(&(self.run, sender)).cloned();
                (sender, heard.unwrap_or_else(|| Sequence::after(before)), u64::from(said(sender)))
            })
        })
    }
}

impl Listener {
    fn before(&self, audience: Audience, sender: u32) -> Option<u64> {
        let index = if audience == Audience::All { sender as usize } else { 0 };
        self.said_before.get(index).map(|said| u64::from(*said))
    }
}

fn tally(heard: &Sequence, target: u64) -> Tally {
    let (expected, received) = (heard.expected_until(target), heard.count());
    Tally { expected, received, lost: expected - received, ..Tally::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use crate::marker::{MarkedTarget, OwnWait};

    const RUN: u32 = 7;

    fn said(sender: u32, number: u32) -> Marker {
        Marker {
            host: 0,
            run: RUN,
            sender,
            target: MarkedTarget::Room(1),
            number,
            planned: Nanos(5),
            on_server: None,
            own_wait: OwnWait::default(),
            is_again: false,
        }
    }

    #[test]
    fn a_listener_expects_what_others_say_from_then_on() {
        let mut book = PeerBook::new(RUN, Audience::All);
        book.listens(0, |sender| [0, 5, 0][sender as usize], 3);
        for (sender, number) in [(1, 5), (1, 6), (1, 8), (0, 1), (2, 1), (2, 1)] {
            book.heard(0, &said(sender, number));
        }
        let said = |sender: u32| [9, 8, 2][sender as usize];
        assert_eq!(book.outstanding(said), 1);
        let expected = Tally { expected: 5, received: 3, lost: 2, twice: 1, ..Tally::default() };
        assert_eq!(book.close(said, &[]), expected);
    }

    #[test]
    fn what_was_refused_is_expected_of_nobody_and_counts_where_it_came() {
        let mut book = PeerBook::new(RUN, Audience::All);
        book.listens(0, |_| 0, 3);
        for (sender, number) in [(1, 1), (1, 3), (1, 4), (2, 1)] {
            book.heard(0, &said(sender, number));
        }
        let said = |sender: u32| [0, 6, 2][sender as usize];
        // Of the first sender, 2 and 6 did not arrive, 3 arrived nevertheless; 5 was promised.
        let tally = book.close(said, &[(1, 2), (1, 3), (1, 6), (2, 2)]);
        assert_eq!(tally, Tally { expected: 5, received: 4, lost: 1, ..Tally::default() });
    }

    #[test]
    fn what_comes_late_is_out_of_order_and_not_lost() {
        let mut book = PeerBook::new(RUN, Audience::All);
        book.listens(0, |_| 0, 2);
        for number in [2, 1] {
            book.heard(0, &said(1, number));
        }
        assert_eq!(book.close(|_| 2, &[]), Tally { expected: 2, received: 2, out_of_order: 1, ..Tally::default() });
    }

    #[test]
    fn an_echo_comes_to_its_sender_alone() {
        let mut book = PeerBook::new(RUN, Audience::Sender);
        book.listens(1, |_| 3, 2);
        assert_eq!(book.heard(1, &said(1, 4)), Verdict::Counts);
        assert_eq!(book.heard(1, &said(0, 1)), Verdict::Wrong);
        let expected = Tally { expected: 2, received: 1, lost: 1, misdelivered: 1, ..Tally::default() };
        assert_eq!(book.close(|_| 5, &[]), expected);
    }

    #[test]
    fn who_stops_listening_expects_no_more_and_other_processes_are_judged_up_to_their_newest() {
        let mut book = PeerBook::new(RUN, Audience::All);
        book.listens(0, |_| 0, 2);
        book.listens(1, |_| 0, 2);
        book.heard(1, &said(0, 1));
        book.stops(1);
        for number in [7, 9] {
            book.heard(0, &Marker { run: RUN + 1, ..said(0, number) });
        }
        assert_eq!(book.close(|_| 1, &[]), Tally { expected: 5, received: 3, lost: 2, ..Tally::default() });
    }
}
