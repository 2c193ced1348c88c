//! The promises of the ledger, case by case.

mod private;
mod resumes;
mod rooms;

use super::*;
use crate::clock::Nanos;
use crate::marker::OwnWait;

const RUN: u32 = 77;
const ROOM: u32 = 0;
const TAG: u32 = 1_000;
const EPOCH: Epoch = Epoch(1);

fn said(sender: u32, number: u32) -> Marker {
    Marker {
        host: 0,
        run: RUN,
        sender,
        target: MarkedTarget::Room(TAG),
        number,
        planned: Nanos(0),
        on_server: None,
        own_wait: OwnWait::default(),
        is_again: false,
    }
}

fn whispered(sender: u32, receiver: u32, number: u32) -> Marker {
    Marker { target: MarkedTarget::Bot(receiver), ..said(sender, number) }
}

/// A ledger in which bots 0 to `bots - 1` joined the room at seq 10.
fn ledger(bots: u32) -> Ledger {
    let mut ledger = Ledger::new(RUN, Audience::All);
    for bot in 0..bots {
        ledger.entered(bot, ROOM, Standing { epoch: EPOCH, seq: 10, recovered: true }, Nanos(0));
    }
    ledger
}

impl Ledger {
    fn hears(&mut self, bot: u32, seq: u64, sender: u32, number: u32) -> Verdict {
        self.room_message(bot, ROOM, TAG, seq, &Reading::Marked(said(sender, number)), None)
    }

    fn comes_back(&mut self, bot: u32, epoch: Epoch, seq: u64, recovered: bool) {
        self.interrupted(bot, ROOM);
        // The tests number the epochs in their order.
        self.entered(bot, ROOM, Standing { epoch, seq, recovered }, Nanos(epoch.0));
    }

    fn has_inbox_at(&mut self, bot: u32, epoch: u64, seq: u64, recovered: bool) {
        self.has_inbox(bot, Standing { epoch: Epoch(epoch), seq, recovered });
    }

    /// Bot 0 writes to bot 1, gets the ack, and receives its own copy.
    fn whispers(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.private_acked(0, 1, number);
            let seq = Some(number.into());
            assert_eq!(self.private_message(0, seq, &whispered(0, 1, number)), Verdict::Counts);
        }
    }

    /// Bot 1 receives messages of bot 0, each at the position of its number.
    fn hears_in_private(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            self.private_message(1, Some(number.into()), &whispered(0, 1, number));
        }
    }

    fn sums(self) -> Tally {
        let targets = self.waters();
        let (mut tally, private) = self.close(&targets, |_| 0, &[]);
        tally += private.tally();
        tally
    }
}
