//! When a bot is to be there, and since when it is not.

use crate::clock::Nanos;

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
    /// When it is to be back from a rest; what came before it could have had is timed from then.
    back_at: Nanos,
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

    /// It was welcomed. Answers whether it comes back, and whether it is here for the first time.
    pub(super) fn welcome(&mut self) -> (bool, bool) {
        (std::mem::take(&mut self.was_cut_off), !std::mem::replace(&mut self.has_been_here, true))
    }

    /// It lost its connection. One that had not been told yet what it missed has missed it since before.
    pub(super) fn cut_off(&mut self, now: Nanos) {
        self.was_cut_off = true;
        self.missed_since.get_or_insert(now);
    }

    /// It goes by its own will, to be back at this time.
    pub(super) fn rest_until(&mut self, back_at: Nanos) {
        self.back_at = back_at;
        self.missed_since = Some(back_at);
    }

    pub(super) fn back_at(&self) -> Nanos {
        self.back_at
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
    fn what_is_missed_counts_from_the_first_lost_connection_until_it_is_told() {
        let mut attendance = Attendance::default();
        assert_eq!(attendance.welcome(), (false, true));
        attendance.cut_off(Nanos(3));
        assert_eq!(attendance.welcome(), (true, false));
        attendance.cut_off(Nanos(5));
        assert_eq!((attendance.take_missed(), attendance.missed_since()), (Some(Nanos(3)), None));
    }
}
