//! What the bots of one worker have to do and when: one timer for all of them.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::sync::Notify;

use crate::clock::Nanos;

/// What a bot has to do at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// Come: it is wanted from now on.
    Come,
    /// Connect again.
    Connect,
    /// Send what is due by the plan, or what had to wait.
    Speak,
    /// See whether anything came from the server of late.
    CheckPulse,
    /// Expect everything from now on, where no server says since when.
    Listen,
    /// Ask the server for its time, for all bots of the worker.
    AskTime,
    /// Read some more, for a bot that reads slowly.
    Read,
    /// Do what its behaviour wants beside talking.
    Move,
    /// Go: it is not wanted any more. What is unanswered is awaited for a moment.
    Depart,
    /// Await nothing any more, and go.
    Part,
    /// Count what is still to be said of the plan, which ends.
    Settle,
    /// Give up what is not done, and count it.
    GiveUp,
    /// Say goodbye and close, because the run is over.
    Leave,
}

/// An errand of one bot at its time.
///
/// Ordered by time first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Appointment {
    /// When.
    pub due: Nanos,
    /// Whose: the bot's place in its worker.
    pub bot: u32,
    /// What the bot is to do then.
    pub errand: Errand,
}

/// The appointments of all bots of one worker.
///
/// Bots enter theirs, the ticker takes those that are due. An appointment cannot be withdrawn; the bot knows by its
/// time whether it still means anything.
#[derive(Debug, Default)]
pub struct Agenda {
    appointments: RefCell<BinaryHeap<Reverse<Appointment>>>,
    earlier: Notify,
}

impl Agenda {
    /// Adds an appointment; it is brought at its time, or as soon after as the worker can.
    pub fn enter(&self, appointment: Appointment) {
        let mut appointments = self.appointments.borrow_mut();
        let is_first = appointments.peek().is_none_or(|Reverse(first)| appointment.due < first.due);
        appointments.push(Reverse(appointment));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// When the next appointment is.
    pub fn next_due(&self) -> Option<Nanos> {
        self.appointments.borrow().peek().map(|Reverse(first)| first.due)
    }

    /// Takes the next appointment if its time has come.
    pub fn take(&self, now: Nanos) -> Option<Appointment> {
        let mut appointments = self.appointments.borrow_mut();
        if appointments.peek().is_none_or(|Reverse(first)| first.due > now) {
            return None;
        }
        appointments.pop().map(|Reverse(first)| first)
    }

    /// Waits until an appointment is entered that is earlier than all before.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn at(due: u64, bot: u32) -> Appointment {
        Appointment { due: Nanos(due), bot, errand: Errand::Speak }
    }

    #[test]
    fn appointments_are_taken_in_the_order_of_their_times_and_not_before() {
        let agenda = Agenda::default();
        for appointment in [at(30, 1), at(10, 2), at(20, 3)] {
            agenda.enter(appointment);
        }
        assert_eq!(agenda.next_due(), Some(Nanos(10)));
        assert_eq!(agenda.take(Nanos(9)), None);
        let taken: Vec<u32> = std::iter::from_fn(|| agenda.take(Nanos(29))).map(|a| a.bot).collect();
        assert_eq!(taken, [2, 3]);
        assert_eq!(agenda.next_due(), Some(Nanos(30)));
    }

    #[test]
    fn only_an_earlier_appointment_wakes_the_ticker() {
        let agenda = Agenda::default();
        agenda.enter(at(20, 1));
        assert!(agenda.earlier().now_or_never().is_some());
        agenda.enter(at(30, 2));
        assert!(agenda.earlier().now_or_never().is_none());
        agenda.enter(at(10, 3));
        assert!(agenda.earlier().now_or_never().is_some());
    }
}
