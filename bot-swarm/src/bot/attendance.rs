//! When a bot is to be there, and since when it is not.

use std::time::Duration;

use crate::clock::Nanos;

/// A time in which a bot was away of its own accord; none of the server's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Absence {
    from: Nanos,
    until: Nanos,
}

impl Absence {
    /// How much of it lies after a point in time.
    pub(super) fn after(self, time: Nanos) -> Duration {
        self.until.since(self.from.max(time))
    }
}

/// How a bot comes and goes.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    /// Whether the profile wants it at the moment.
    is_wanted: bool,
    /// When the profile wanted it to go, while it awaits the answers to its messages.
    departs_at: Option<Nanos>,
    /// When it was to connect first, until it is connected.
    awaited_since: Option<Nanos>,
    /// When it lost its connection, or was to be back, until it has been told what it missed.
    missed_since: Option<Nanos>,
    /// Its newest rest; what came before the end of that is timed from there.
    rest: Absence,
    /// The random part of the pause after its newest failure, until it is welcomed. Where the next attempt fails as well, the
    /// server was away meanwhile, and the pause was nobody's choice.
    pause: Option<Absence>,
    /// The random part of the pause before it was welcomed last: the server may have been there, and was not asked.
    waited: Absence,
    /// Whether it lost its connection since it was welcomed last.
    was_cut_off: bool,
    /// Whether it was connected before.
    has_been_here: bool,
}

impl Attendance {
    /// The profile wants it. Answers whether that is new.
    pub(super) fn want(&mut self) -> bool {
        self.departs_at = None;
        !std::mem::replace(&mut self.is_wanted, true)
    }

    /// The profile does not want it any more, from this time on; `None`: and it is to go at once. Answers whether that
    /// is new.
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

    /// Whether it only awaits the answers to its messages before it goes.
    pub(super) fn is_departing(&self) -> bool {
        self.departs_at.is_some()
    }

    /// It was to connect at this time.
    pub(super) fn await_since(&mut self, since: Nanos) {
        self.awaited_since = Some(since);
    }

    /// Takes since when it was awaited.
    pub(super) fn take_awaited(&mut self) -> Option<Nanos> {
        self.awaited_since.take()
    }

    /// It failed to connect, or lost its connection: it tries again at the end of this pause.
    pub(super) fn pause(&mut self, from: Nanos, until: Nanos) {
        self.pause = Some(Absence { from, until });
    }

    /// The earliest and the planned end of the pause that it makes.
    pub(super) fn pauses(&self) -> Option<(Nanos, Nanos)> {
        self.pause.map(|pause| (pause.from, pause.until))
    }

    /// It tries to connect, possibly before the end of its pause.
    pub(super) fn tries(&mut self, now: Nanos) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now);
        }
    }

    /// How long the bot was away of its own accord since something was planned.
    pub(super) fn own_wait(&self, planned: Nanos) -> Duration {
        self.rest.after(planned) + self.waited.after(planned)
    }

    /// What it had waited of its own accord before it was welcomed last.
    pub(super) fn waited(&self) -> Absence {
        self.waited
    }

    /// It was welcomed. Answers whether it comes back, and whether it is here for the first time.
    pub(super) fn welcome(&mut self) -> (bool, bool) {
        self.waited = self.pause.take().unwrap_or_default();
        (std::mem::take(&mut self.was_cut_off), !std::mem::replace(&mut self.has_been_here, true))
    }

    /// It lost its connection. One that had not been told yet what it missed has missed it since before.
    pub(super) fn cut_off(&mut self, now: Nanos) {
        self.was_cut_off = true;
        self.missed_since.get_or_insert(now);
    }

    /// It goes by its own will, to be back at this time.
    pub(super) fn rest_until(&mut self, back_at: Nanos) {
        self.rest = Absence { from: Nanos::default(), until: back_at };
        // What came before the rest came before any earlier pause as well.
        self.waited = Absence::default();
        self.missed_since = Some(back_at);
    }

    pub(super) fn back_at(&self) -> Nanos {
        self.rest.until
    }

    pub(super) fn missed_since(&self) -> Option<Nanos> {
        self.missed_since
    }

    /// Takes since when it missed something: it has been told.
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
        assert_eq!(attendance.own_wait(Nanos(0)), ns(0), "nobody knows yet");
        attendance.tries(Nanos(25));
        attendance.welcome();
        let waits: Vec<Duration> =
            [0, 12, 15, 20, 25, 30].into_iter().map(|planned| attendance.own_wait(Nanos(planned))).collect();
        assert_eq!(waits, [10, 10, 10, 5, 0, 0].map(ns));
        // It comes back before its pause is over; then a rest begins, from whose end all is timed.
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
