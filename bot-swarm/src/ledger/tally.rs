//! The sums of a ledger.

use std::ops::AddAssign;

/// The expected and received deliveries, and all faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Deliveries that the bots had to receive; [`ledger`](crate::ledger) defines how they are counted.
    pub expected: u64,
    /// Those that arrived.
    pub received: u64,
    /// Those that did not arrive.
    pub lost: u64,
    /// Lost messages that the server reported as gone: `"recovered":false`, or a new epoch.
    pub lost_and_told: u64,
    /// Deliveries of a message that the receiver had already received.
    pub twice: u64,
    /// Deliveries that came after later ones of the room or of their sender.
    pub out_of_order: u64,
    /// Deliveries of a room that the receiver is not in, or to which the message was not sent.
    pub wrong_room: u64,
    /// Private messages that arrived at a client that is neither sender nor receiver.
    pub misdelivered: u64,
    /// Positions of a room (`seq`) at which deliveries and acks name different messages.
    pub contradictions: u64,
    /// Deliveries of a bot's message with a different text, sender or receiver.
    pub altered: u64,
    /// Texts of deleted messages that arrived after a resume behind the deletion.
    pub resurrected: u64,
    /// Read positions that went back, or that a later connection was not told.
    pub unread: u64,
    /// Acknowledged private messages that may or may not be due; they are not in `expected`. If the server keeps none:
    /// those to or from a bot that lost its connection. If it keeps them: those that wait for a bot that is away at the
    /// end.
    pub private_unknown: u64,
}

impl Tally {
    /// The names and counts of all faults.
    pub fn faults(&self) -> [(&'static str, u64); 9] {
        [
            ("lost", self.lost),
            ("twice", self.twice),
            ("out_of_order", self.out_of_order),
            ("wrong_room", self.wrong_room),
            ("misdelivered", self.misdelivered),
            ("contradictions", self.contradictions),
            ("altered", self.altered),
            ("resurrected", self.resurrected),
            ("unread", self.unread),
        ]
    }

    /// Whether nothing was lost, doubled, reordered, misdelivered or altered.
    pub fn is_clean(&self) -> bool {
        self.faults().iter().all(|(_, count)| *count == 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        // Counts of places are as large as the numbers that a server claims.
        let sum = |ours: &mut u64, theirs: u64| *ours = ours.saturating_add(theirs);
        sum(&mut self.expected, other.expected);
        sum(&mut self.received, other.received);
        sum(&mut self.lost, other.lost);
        sum(&mut self.lost_and_told, other.lost_and_told);
        sum(&mut self.twice, other.twice);
        sum(&mut self.out_of_order, other.out_of_order);
        sum(&mut self.wrong_room, other.wrong_room);
        sum(&mut self.misdelivered, other.misdelivered);
        sum(&mut self.contradictions, other.contradictions);
        sum(&mut self.altered, other.altered);
        sum(&mut self.resurrected, other.resurrected);
        sum(&mut self.unread, other.unread);
        sum(&mut self.private_unknown, other.private_unknown);
    }
}
