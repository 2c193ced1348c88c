//! The sums of a ledger.

use std::ops::AddAssign;

/// What should have arrived, what did, and everything that was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Deliveries that the bots had a right to; [`ledger`](crate::ledger) says how they are counted.
    pub expected: u64,
    /// Those of them that arrived.
    pub received: u64,
    /// Those of them that did not.
    pub lost: u64,
    /// Those of the lost of which the server told that they were gone: `"recovered":false`, or a new epoch.
    pub lost_and_told: u64,
    /// Deliveries of a message that the receiver had already.
    pub twice: u64,
    /// Deliveries that came after later ones, of the room or of their sender.
    pub out_of_order: u64,
    /// Deliveries of a room in which the receiver is not, or to which the message was not sent.
    pub wrong_room: u64,
    /// Private messages that arrived at somebody who is neither sender nor receiver.
    pub misdelivered: u64,
    /// Places of a room (`seq`) in which deliveries and acks name different messages.
    pub contradictions: u64,
    /// Deliveries of a bot's message with another text, sender or receiver than the bot gave it.
    pub altered: u64,
    /// Acknowledged private messages of which it cannot be told whether they should have arrived; they are not in
    /// `expected`. Where the server keeps none: those to or from a bot that lost its connection. Where it keeps them: those
    /// that wait for a bot that is not there at the end.
    pub private_unknown: u64,
}

impl Tally {
    /// Everything that may be wrong, by its name, and how often it was.
    pub fn faults(&self) -> [(&'static str, u64); 7] {
        [
            ("lost", self.lost),
            ("twice", self.twice),
            ("out_of_order", self.out_of_order),
            ("wrong_room", self.wrong_room),
            ("misdelivered", self.misdelivered),
            ("contradictions", self.contradictions),
            ("altered", self.altered),
        ]
    }

    /// Whether nothing was lost, doubled, reordered, misdelivered or altered.
    pub fn is_clean(&self) -> bool {
        self.faults().iter().all(|(_, count)| *count == 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.expected += other.expected;
        self.received += other.received;
        self.lost += other.lost;
        self.lost_and_told += other.lost_and_told;
        self.twice += other.twice;
        self.out_of_order += other.out_of_order;
        self.wrong_room += other.wrong_room;
        self.misdelivered += other.misdelivered;
        self.contradictions += other.contradictions;
        self.altered += other.altered;
        self.private_unknown += other.private_unknown;
    }
}
