//! The connected bots, shared by all workers. It detects a server that answers `no_such_client` about a connected bot.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use crate::clock::Nanos;

/// The time after a bot's welcome from which a refusal counts as wrong: with several servers, each learns of the bot
/// from another one.
const KNOWN_AFTER: Duration = Duration::from_secs(2);

/// The presence of one bot, in 16 bytes.
#[derive(Debug, Default)]
struct Seat {
    /// The time since which it is connected, in nanoseconds; 0: it is not.
    since: AtomicU64,
    /// Messages to it that the server refused because it was away, although it was connected.
    refusals: AtomicU32,
}

/// The connected bots; shared by all workers.
#[derive(Debug, Clone)]
pub(crate) struct Presence(Arc<[Seat]>);

impl Presence {
    /// This many bots, none of them connected.
    pub(crate) fn new(bots: u32) -> Self {
        Self((0..bots).map(|_| Seat::default()).collect())
    }

    /// Notes that a bot was welcomed.
    pub(crate) fn came(&self, bot: u32, now: Nanos) {
        if let Some(seat) = self.seat(bot) {
            // After a second welcome on one connection, the time of the first one stays.
            let _was_here = seat.since.compare_exchange(0, now.0, Relaxed, Relaxed);
        }
    }

    /// Notes that a bot leaves by its own choice. Every refusal up to now was wrong.
    pub(crate) fn goes(&self, bot: u32) {
        if let Some(seat) = self.seat(bot) {
            seat.since.store(0, Relaxed);
        }
    }

    /// Notes that a bot lost its connection. The server may have known this before the bot did, so no refusal counts as
    /// wrong.
    pub(crate) fn was_cut_off(&self, bot: u32) {
        if let Some(seat) = self.seat(bot) {
            seat.since.store(0, Relaxed);
            seat.refusals.store(0, Relaxed);
        }
    }

    /// Notes that the server reported the receiver of a message as away. The message was planned at this time.
    pub(crate) fn is_said_to_be_away(&self, bot: u32, planned: Nanos) {
        let Some(seat) = self.seat(bot) else { return };
        let since = seat.since.load(Relaxed);
        if since > 0 && Nanos(since).after(KNOWN_AFTER) <= planned {
            seat.refusals.fetch_add(1, Relaxed);
        }
    }

    /// Takes the number of messages to a bot that were refused because it was away, although it was connected.
    pub(crate) fn take_refusals(&self, bot: u32) -> u64 {
        self.seat(bot).map_or(0, |seat| seat.refusals.swap(0, Relaxed)).into()
    }

    fn seat(&self, bot: u32) -> Option<&Seat> {
        self.0.get(bot as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Happens = fn(&Presence);

    #[test]
    fn a_refusal_is_wrong_where_the_receiver_was_there_all_the_time_and_stayed() {
        let known = Nanos(1).after(KNOWN_AFTER);
        let cases: [(&str, Happens, Happens, u64); 6] = [
            ("it is there, and stays", |p| p.came(0, Nanos(1)), |_| (), 1),
            ("it goes by its own will afterwards", |p| p.came(0, Nanos(1)), |p| p.goes(0), 1),
            ("it loses its connection afterwards", |p| p.came(0, Nanos(1)), |p| p.was_cut_off(0), 0),
            ("it was never there", |_| (), |_| (), 0),
            ("it has only just come", |p| p.came(0, Nanos(2)), |_| (), 0),
            (
                "it had gone",
                |p| {
                    p.came(0, Nanos(1));
                    p.goes(0);
                },
                |_| (),
                0,
            ),
        ];
        for (case, before, after, wrong) in cases {
            let presence = Presence::new(1);
            before(&presence);
            presence.is_said_to_be_away(0, known);
            after(&presence);
            assert_eq!(presence.take_refusals(0), wrong, "{case}");
            assert_eq!(presence.take_refusals(0), 0, "{case}: it is taken once");
        }
    }
}
