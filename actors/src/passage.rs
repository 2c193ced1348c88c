//! The times at which a message passed the stages on its way to the clients.
//!
//! Each part of a delivery's time is the difference of two offsets from the reading of its frame, so the parts always add
//! up to the whole.
//! [`Part`](crate::metrics::Part) names them.

use crate::clock::Instant;

/// The times at which a message passed the stages. One that it has not passed counts as the one before.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    read_at: Instant,
    /// The end of each part before the outbox.
    ends: [Instant; BEFORE_OUTBOX],
}

/// The number of parts before a message is offered to its receivers.
const BEFORE_OUTBOX: usize = 4;

impl Passage {
    /// The passage of a command that was read at this time.
    pub fn read_at(read_at: Instant) -> Self {
        Self { read_at, ends: [read_at; BEFORE_OUTBOX] }
    }

    /// The time at which the command's frame was read.
    pub fn begin(&self) -> Instant {
        self.read_at
    }

    /// The session has sent the command to the `ChatServer`.
    pub(crate) fn asked(&mut self, at: Instant) {
        self.end_from(0, at);
    }

    /// The `ChatServer` has taken the command out of its mailbox.
    pub(crate) fn taken(&mut self, at: Instant) {
        self.end_from(1, at);
    }

    /// The `ChatServer` delivers the message: `turn` began when the message was committed, and ends now.
    pub(crate) fn delivered(&mut self, turn: Instant, now: Instant) {
        self.end_from(2, turn);
        self.end_from(3, now);
    }

    fn end_from(&mut self, part: usize, at: Instant) {
        for later in self.ends.iter_mut().skip(part) {
            *later = (*later).max(at);
        }
    }

    /// Microseconds in the parts before the message was offered to a connection, in their order.
    pub(crate) fn before_outbox(&self, offered_at: Instant) -> [u32; 5] {
        let [session, waited, committed, decided] = self.ends.map(|end| end.micros_since(self.read_at));
        let offered = offered_at.micros_since(self.read_at).max(decided);
        [session, waited - session, committed - waited, decided - committed, offered - decided]
    }

    /// Microseconds until the kernel had the message, and those of them since it was offered to its connection.
    pub(crate) fn whole(&self, offered_at: Instant, written_at: Instant) -> (u32, u32) {
        let [.., decided] = self.ends;
        let offered = offered_at.max(decided);
        let written = written_at.max(offered).micros_since(self.read_at);
        let offered = offered.micros_since(self.read_at);
        (written, written - offered)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_parts_add_up_to_the_whole_whatever_stages_the_message_passed() {
        let start = crate::clock::now();
        let at = |micros| start + Duration::from_micros(micros);
        let client: &dyn Fn(&mut Passage) = &|passage| {
            passage.asked(at(10));
            passage.taken(at(30));
            passage.delivered(at(90), at(95));
        };
        let of_another_node: &dyn Fn(&mut Passage) = &|passage| passage.delivered(at(0), at(5));
        // Clocks of two threads may differ by less than a microsecond.
        let backwards: &dyn Fn(&mut Passage) = &|passage| {
            passage.asked(at(10));
            passage.taken(at(9));
            passage.delivered(at(9), at(11));
        };
        for (pass, expected) in
            [(client, [10, 20, 60, 5, 25]), (of_another_node, [0, 0, 0, 5, 115]), (backwards, [10, 0, 0, 1, 109])]
        {
            let mut passage = Passage::read_at(start);
            pass(&mut passage);
            let parts = passage.before_outbox(at(120));
            assert_eq!(parts, expected);
            let (whole, written) = passage.whole(at(120), at(150));
            assert_eq!((parts.iter().sum::<u32>() + written, whole), (150, 150));
        }
    }
}
