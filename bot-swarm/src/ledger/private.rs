//! Private messages: acknowledged messages are compared with those that arrived at the sender and the receiver.
//!
//! If the server keeps them, a lost connection excuses nothing: once the bot has its inbox again, all of them are due.

use rustc_hash::{FxHashMap, FxHashSet};
use starling_protocol::Epoch;

use super::inbox::Inbox;
use super::position::{Standing, Step};
use super::sequence::{Arrival, Sequence};
use super::tally::Tally;

/// The messages from one bot to another. Each side's worker fills its half; after merging, they can be compared.
#[derive(Debug, Clone, Default)]
struct Flow {
    acked: Sequence,
    echoed: Sequence,
    received: Sequence,
}

/// The acknowledged messages that were due at one bot, as their sender or their receiver.
#[derive(Debug, Default)]
struct End {
    received: u64,
    missing: u64,
}

/// All private messages of the bots of one worker, or, after merging, of the swarm.
#[derive(Debug, Default)]
pub struct PrivateBook {
    flows: FxHashMap<(u32, u32), Flow>,
    /// The inboxes of the bots, if the server keeps any.
    inboxes: FxHashMap<u32, Inbox>,
    /// Bots without a connection: messages in transit to them may be lost, or wait for their return.
    interrupted: FxHashSet<u32>,
    acked: u64,
    arrived: u64,
}

impl PrivateBook {
    /// Notes that the server accepted a message.
    pub fn acked(&mut self, sender: u32, receiver: u32, number: u32) {
        let arrival = self.flow(sender, receiver).acked.observe(number.into());
        self.acked += u64::from(arrival != Arrival::Twice);
    }

    /// Notes that the sender received its own message.
    pub fn echoed(&mut self, sender: u32, receiver: u32, number: u32) -> Arrival {
        let arrival = self.flow(sender, receiver).echoed.observe(number.into());
        self.arrived += u64::from(arrival != Arrival::Twice);
        arrival
    }

    /// Notes that the receiver received a message.
    pub fn received(&mut self, sender: u32, receiver: u32, number: u32) -> Arrival {
        let arrival = self.flow(sender, receiver).received.observe(number.into());
        self.arrived += u64::from(arrival != Arrival::Twice);
        arrival
    }

    /// Whether a message has arrived at its sender, or at its receiver.
    pub fn has_seen(&self, sender: u32, receiver: u32, number: u32) -> bool {
        let flow = self.flows.get(&(sender, receiver));
        flow.is_some_and(|flow| flow.echoed.contains(number.into()) || flow.received.contains(number.into()))
    }

    /// Notes that a bot lost its connection: messages in transit to it may be lost, or wait.
    pub fn interrupted(&mut self, bot: u32) {
        self.interrupted.insert(bot);
    }

    /// Notes that a bot has its inbox: all messages that it missed are to come.
    pub fn has_inbox(&mut self, bot: u32, standing: Standing) {
        self.interrupted.remove(&bot);
        match self.inboxes.get_mut(&bot) {
            Some(inbox) => inbox.stands_at(standing),
            None => drop(self.inboxes.insert(bot, Inbox::new(standing))),
        }
    }

    /// The position at which a bot resumes its inbox, see
    /// [`Ledger::inbox_resume_point`](super::Ledger::inbox_resume_point).
    pub(super) fn resume_point(&self, bot: u32) -> Option<(Epoch, u64)> {
        self.inboxes.get(&bot).map(Inbox::resume_point)
    }

    /// Notes that a message with this position in a bot's inbox arrived.
    pub(super) fn observe_place(&mut self, bot: u32, seq: u64) -> Step {
        self.inboxes.get_mut(&bot).map_or(Step::InOrder, |inbox| inbox.observe(seq))
    }

    /// The number of inbox messages that are missing although later ones arrived.
    pub(super) fn missing(&self) -> u64 {
        self.inboxes.values().map(Inbox::missing).sum()
    }

    /// The deliveries that acknowledged messages require (two each), minus those that arrived. Negative if a delivery
    /// arrived before its ack, or if this worker has the receivers and another the senders.
    pub fn outstanding(&self) -> i64 {
        2 * i64::try_from(self.acked).unwrap_or(i64::MAX / 2) - i64::try_from(self.arrived).unwrap_or(i64::MAX)
    }

    /// Whether deliveries may never come, see [`Ledger::may_lack_private`](super::Ledger::may_lack_private).
    pub(super) fn may_lack(&self, bots: u32) -> bool {
        !self.interrupted.is_empty() || (!self.inboxes.is_empty() && self.inboxes.len() < bots as usize)
    }

    /// Adds another worker's book.
    pub fn merge(&mut self, other: Self) {
        for (pair, theirs) in other.flows {
            let ours = self.flows.entry(pair).or_default();
            // Acks and echoes arrive at the sender, messages at the receiver: only one worker knows each half.
            if theirs.acked.newest() > 0 || theirs.echoed.newest() > 0 {
                (ours.acked, ours.echoed) = (theirs.acked, theirs.echoed);
            }
            if theirs.received.newest() > 0 {
                ours.received = theirs.received;
            }
        }
        self.inboxes.extend(other.inboxes);
        self.interrupted.extend(other.interrupted);
        self.acked += other.acked;
        self.arrived += other.arrived;
    }

    /// The sums, after all workers' books are merged.
    ///
    /// A missing message is missing by its number and, if there is an inbox, by its position. It is counted once: the
    /// larger of a bot's two counts is used.
    pub fn tally(&self) -> Tally {
        let mut ends: FxHashMap<u32, End> = self.inboxes.keys().map(|bot| (*bot, End::default())).collect();
        for ((sender, receiver), flow) in &self.flows {
            for (bot, arrived) in [(sender, &flow.echoed), (receiver, &flow.received)] {
                let end = ends.entry(*bot).or_default();
                let missing = flow.acked.count_not_in(arrived);
                end.missing += missing;
                end.received += flow.acked.count() - missing;
            }
        }
        let mut tally = Tally::default();
        for (bot, end) in ends {
            let inbox = self.inboxes.get(&bot);
            let never_came = inbox.is_none() && !self.inboxes.is_empty();
            let is_here = !never_came && !self.interrupted.contains(&bot);
            let by_place = inbox.map(|inbox| inbox.lost(is_here)).unwrap_or_default();
            let lost = if is_here { end.missing.max(by_place.count) } else { by_place.count };
            tally += Tally {
                expected: end.received + lost,
                received: end.received,
                lost,
                lost_and_told: by_place.told,
                private_unknown: end.missing.saturating_sub(lost),
                ..Tally::default()
            };
        }
        tally
    }

    fn flow(&mut self, sender: u32, receiver: u32) -> &mut Flow {
        self.flows.entry((sender, receiver)).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_acknowledged_private_message_is_due_at_its_sender_and_its_receiver() {
        let (mut senders, mut receivers) = (PrivateBook::default(), PrivateBook::default());
        for number in 1..=3 {
            senders.acked(1, 2, number);
            senders.echoed(1, 2, number);
        }
        for number in [1, 3] {
            receivers.received(1, 2, number);
        }
        assert_eq!(senders.outstanding() + receivers.outstanding(), 1);
        senders.merge(receivers);
        assert_eq!(senders.tally(), Tally { expected: 6, received: 5, lost: 1, ..Tally::default() });
    }

    #[test]
    fn a_refused_message_is_not_expected() {
        let mut book = PrivateBook::default();
        for number in [1, 3] {
            book.acked(1, 2, number);
            book.echoed(1, 2, number);
            book.received(1, 2, number);
        }
        assert_eq!(book.outstanding(), 0);
        assert_eq!(book.tally(), Tally { expected: 4, received: 4, ..Tally::default() });
    }

    #[test]
    fn what_was_under_way_to_a_broken_connection_is_not_called_lost() {
        let mut book = PrivateBook::default();
        book.acked(1, 2, 1);
        book.echoed(1, 2, 1);
        book.interrupted(2);
        assert_eq!(book.tally(), Tally { expected: 1, received: 1, private_unknown: 1, ..Tally::default() });
        assert!(book.tally().is_clean());
    }
}
