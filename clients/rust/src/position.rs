//! The position of a client in a room, and which messages follow it.

use starling_protocol::{Epoch, Resume, Seq};

/// The newest message that a client has of a room or of its inbox.
///
/// An application that stores the position with its own data can continue there after a restart, without a gap: see
/// [`Client::room_from`](crate::Client::room_from).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The `seq` of the message.
    pub seq: Seq,
    /// The epoch of the room's sequence numbers.
    pub epoch: Epoch,
    /// The `at` of the message, if it is known. The server compares it to detect a room that has the same epoch but was
    /// reset, for example to an older copy of its database.
    pub at: Option<u64>,
}

impl Position {
    pub(crate) fn resume(self) -> Resume {
        Resume { after: self.seq, epoch: Some(self.epoch), at: self.at }
    }
}

/// The relation of a message to a position.
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
