//! The position of a client in a room, and which messages follow it.

use starling_protocol::{Epoch, Resume, Seq};

/// The newest message that a client has of a room or of its inbox.
///
/// An application that stores the position beside its own data continues from there after a restart, without a gap: see
/// [`Client::room_from`](crate::Client::room_from).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The `seq` of the message.
    pub seq: Seq,
    /// The life of the room's sequence numbers.
    pub epoch: Epoch,
    /// The `at` of the message, if it is known. The server compares it, so that a room of the same epoch that was set
    /// back, for example to a copy of its database, does not pass for the old one.
    pub at: Option<u64>,
}

impl Position {
    pub(crate) fn resume(self) -> Resume {
        Resume { after: self.seq, epoch: Some(self.epoch), at: self.at }
    }
}

/// What a message is in relation to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    Next,
    /// The client has it already.
    Known,
    /// Messages before it are missing.
    Gap,
}

impl Position {
    pub(crate) fn follows(self, seq: Seq) -> Follows {
        match seq {
            seq if seq == self.seq.next() => Follows::Next,
            seq if seq <= self.seq => Follows::Known,
            _ => Follows::Gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_seq_follows() {
        let position = Position { seq: Seq(7), epoch: Epoch(1), at: None };
        assert_eq!(position.follows(Seq(7)), Follows::Known);
        assert_eq!(position.follows(Seq(8)), Follows::Next);
        assert_eq!(position.follows(Seq(9)), Follows::Gap);
    }
}
