//! The times at which a bot is wanted, and those at which it is absent.

use std::time::Duration;

use crate::clock::Nanos;

/// A time in which a bot was away by its own choice, which is not the server's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Absence {
    from: Nanos,
    until: Nanos,
}

impl Absence {
    /// Returns how much of it lies after a point in time.
    pub(super) fn after(self, time: Nanos) -> Duration {
        self.until.since(self.from.max(time))
    }
}

/// The attendance of a bot.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Whether the profile wants it now.
    is_wanted: bool,
    /// The time at which the profile dismissed it, while it awaits the answers to its messages.
    departs_at: Option<Nanos>,
    /// The time at which it was due to connect first, until it is connected.
    awaited_since: Option<Nanos>,
    /// The time at which it lost its connection, or was due to return, until it has received the messages that it
    /// missed.
    missed_since: Option<Nanos>,
    /// Its newest rest. Messages planned before the end of the rest are timed from that end.
    rest: Absence,
    /// The random part of the pause after its newest failure, until it is welcomed. If the next attempt fails as well,
    /// the server was away all the time, and the pause does not count as the bot's own.
    pause: Option<Absence>,
    /// The random part of the pause before its last welcome: the server may have been available then, but the bot did
    /// not try.
    waited: Absence,
    /// Whether it has lost its connection since its last welcome.
    was_cut_off: bool,
    /// Whether it was connected before.
    has_been_here: bool,
}

impl Attendance {
    /// Notes that the profile wants it. Returns whether that is new.
    pub(super) fn want(&mut self) -> bool {
        self.departs_at = None;
        !std::mem::replace(&mut self.is_wanted, true)
    }

    /// Notes that the profile no longer wants it from this time on. With `None`, it leaves at once. Returns whether
    /// that is new.
    pub(super) fn dismiss(&mut self, departs_at: Option<Nanos>) -> bool {
        self.departs_at = departs_at;
        std::mem::replace(&mut self.is_wanted, false)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    pub(super) fn departs_at(&self) -> Option<Nanos> {
        self.departs_at
    }

    /// Whether it only awaits the answers to its messages before it leaves.
    pub(super) fn is_departing(&self) -> bool {
        self.departs_at.is_some()
    }

    /// Notes the time at which it was due to connect.
    pub(super) fn await_since(&mut self, since: Nanos) {
        self.awaited_since = Some(since);
    }

    /// Takes the time since which it is awaited.
    pub(super) fn take_awaited(&mut self) -> Option<Nanos> {
        self.awaited_since.take()
    }

    /// Notes that it failed to connect or lost its connection, and tries again at the end of this pause.
    pub(super) fn pause(&mut self, from: Nanos, until: Nanos) {
        self.pause = Some(Absence { from, until });
    }

    /// The earliest and the planned end of its current pause.
    pub(super) fn pauses(&self) -> Option<(Nanos, Nanos)> {
        self.pause.map(|pause| (pause.from, pause.until))
    }

    /// Notes an attempt to connect, which may come before the end of the pause.
    pub(super) fn tries(&mut self, now: Nanos) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now);
        }
    }

    /// Returns how long the bot was away by its own choice since something was planned.
    pub(super) fn own_wait(&self, planned: Nanos) -> Duration {
        self.rest.after(planned) + self.waited.after(planned)
    }

    /// Its own wait before its last welcome.
    pub(super) fn waited(&self) -> Absence {
        self.waited
    }

    /// Notes a welcome. Returns whether it has returned after a loss, and whether this is its first welcome.
    pub(super) fn welcome(&mut self) -> (bool, bool) {
        self.waited = self.pause.take().unwrap_or_default();
        (std::mem::take(&mut self.was_cut_off), !std::mem::replace(&mut self.has_been_here, true))
    }

    /// Notes the loss of its connection. If it has not caught up since an earlier loss, the earlier time stays.
    pub(super) fn cut_off(&mut self, now: Nanos) {
        self.was_cut_off = true;
        self.missed_since.get_or_insert(now);
    }

    /// Notes that it leaves by its own choice until this time.
    pub(super) fn rest_until(&mut self, back_at: Nanos) {
        self.rest = Absence { from: Nanos::default(), until: back_at };
        // A message planned before the rest was also planned before any earlier pause.
        self.waited = Absence::default();
        self.missed_since = Some(back_at);
    }

    pub(super) fn back_at(&self) -> Nanos {
        self.rest.until
    }

    pub(super) fn missed_since(&self) -> Option<Nanos> {
        self.missed_since
    }

    /// Takes the time since which it has missed messages, because it has caught up.
    pub(super) fn take_missed(&mut self) -> Option<Nanos> {
        self.missed_since.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pause_before_the_attempt_that_succeeds_is_the_bots_own() {
        let ns = Duration::from_nanos;
        let mut attendance = Attendance::default();
        attendance.cut_off(Nanos(10));
        attendance.pause(Nanos(10), Nanos(14));
        attendance.tries(Nanos(14));
        // The server is still away.
        attendance.pause(Nanos(15), Nanos(25));
        assert_eq!(attendance.own_wait(Nanos(0)), ns(0), "the pause does not count yet");
        attendance.tries(Nanos(25));
        attendance.welcome();
        let waits: Vec<Duration> =
            [0, 12, 15, 20, 25, 30].into_iter().map(|planned| attendance.own_wait(Nanos(planned))).collect();
        assert_eq!(waits, [10, 10, 10, 5, 0, 0].map(ns));
        // It reconnects before its pause is over; then it rests, and all messages are timed from the end of the rest.
        attendance.pause(Nanos(40), Nanos(60));
        attendance.tries(Nanos(50));
        attendance.welcome();
        assert_eq!(attendance.own_wait(Nanos(30)), ns(10));
        attendance.rest_until(Nanos(90));
        assert_eq!(attendance.own_wait(Nanos(30)), ns(60));
    }

    #[test]
    fn what_is_missed_counts_from_the_first_lost_connection_until_it_is_told() {
        let mut attendance = Attendance::default();
        assert_eq!(attendance.welcome(), (false, true));
        attendance.cut_off(Nanos(3));
        assert_eq!(attendance.welcome(), (true, false));
        attendance.cut_off(Nanos(5));
        assert_eq!((attendance.take_missed(), attendance.missed_since()), (Some(Nanos(3)), None));
    }
}
