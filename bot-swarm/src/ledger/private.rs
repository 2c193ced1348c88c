//! Private messages: what was acknowledged to the sender against what arrived at the two names.

use rustc_hash::{FxHashMap, FxHashSet};

use super::sequence::{Arrival, Sequence};
use super::tally::Tally;

/// The messages of one bot to another. Each side's worker fills its half; merged, they can be compared.
#[derive(Debug, Clone, Default)]
struct Flow {
    acked: Sequence,
    echoed: Sequence,
    received: Sequence,
}

/// All private messages that concern the bots of one worker, or, merged, of the swarm.
#[derive(Debug, Default)]
pub struct PrivateBook {
    flows: FxHashMap<(u32, u32), Flow>,
    interrupted: FxHashSet<u32>,
    acked: u64,
    arrived: u64,
}

impl PrivateBook {
    /// Takes note that the server took a message.
    pub fn acked(&mut self, sender: u32, receiver: u32, number: u32) {
        let arrival = self.flow(sender, receiver).acked.observe(number.into());
        self.acked += u64::from(arrival != Arrival::Twice);
    }

    /// Takes note that the sender got its own message.
    pub fn echoed(&mut self, sender: u32, receiver: u32, number: u32) -> Arrival {
        let arrival = self.flow(sender, receiver).echoed.observe(number.into());
        self.arrived += u64::from(arrival != Arrival::Twice);
        arrival
    }

    /// Takes note that the receiver got a message.
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

    /// Takes note that a bot lost its connection: what was under way to it may be gone.
    pub fn interrupted(&mut self, bot: u32) {
        self.interrupted.insert(bot);
    }

    /// Deliveries that acknowledged messages make (two each), minus those that arrived. Negative where a delivery
    /// came before its ack, or where this worker has the receivers and another the senders.
    pub fn outstanding(&self) -> i64 {
        2 * i64::try_from(self.acked).unwrap_or(i64::MAX / 2) - i64::try_from(self.arrived).unwrap_or(i64::MAX)
    }

    /// Whether any bot lost its connection.
    pub fn any_interrupted(&self) -> bool {
        !self.interrupted.is_empty()
    }

    /// Adds what another worker knows.
    pub fn merge(&mut self, other: Self) {
        for (pair, theirs) in other.flows {
            let ours = self.flows.entry(pair).or_default();
            // Acks and echoes arrive at the sender, messages at the receiver: each half is known to one worker only.
            if theirs.acked.newest() > 0 || theirs.echoed.newest() > 0 {
                (ours.acked, ours.echoed) = (theirs.acked, theirs.echoed);
            }
            if theirs.received.newest() > 0 {
                ours.received = theirs.received;
            }
        }
        self.interrupted.extend(other.interrupted);
        self.acked += other.acked;
        self.arrived += other.arrived;
    }

    /// The sums, after all workers' books are merged.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for ((sender, receiver), flow) in &self.flows {
            for (end, arrived) in [(sender, &flow.echoed), (receiver, &flow.received)] {
                let missing = flow.acked.count_not_in(arrived);
                let known = if self.interrupted.contains(end) {
                    tally.private_unknown += missing;
                    flow.acked.count() - missing
                } else {
                    tally.lost += missing;
                    flow.acked.count()
                };
                tally.expected += known;
                tally.received += flow.acked.count() - missing;
            }
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
