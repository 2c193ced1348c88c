//! The appointments of one worker's bots. One timer serves all of them.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tokio::sync::Notify;

use crate::clock::Nanos;

/// An action that a bot takes at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// Start to take part: the profile wants the bot from now on.
    Come,
    /// Connect again.
    Connect,
    /// Send the messages that are due by the plan, or were postponed.
    Speak,
    /// Check whether anything came from the server since the last check.
    CheckPulse,
    /// Expect every message from now on, with a server that does not tell where a connection begins.
    Listen,
    /// Ask the server for its time, for all bots of the worker.
    AskTime,
    /// Read more, for a bot that reads slowly.
    Read,
    /// Make the behaviour's next move.
    Move,
    /// Leave because the profile no longer wants the bot, after a short wait for unanswered messages.
    Depart,
    /// Leave without waiting for answers.
    Part,
    /// Count the planned messages that are still to be sent, because the plan ends.
    Settle,
    /// Give up and count everything that is not done.
    GiveUp,
    /// Say goodbye and close, because the run is over.
    Leave,
}

/// An errand of one bot at a given time.
///
/// Ordered by time first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Appointment {
    /// The time at which the errand is due.
    pub due: Nanos,
    /// The bot's index in its worker.
    pub bot: u32,
    /// The action.
    pub errand: Errand,
}

/// The appointments of all bots of one worker.
///
/// Bots enter their appointments; the ticker takes those that are due. An appointment cannot be withdrawn: the bot
/// compares its time with its own notes and ignores an outdated one.
#[derive(Debug, Default)]
pub struct Agenda {
    appointments: RefCell<BinaryHeap<Reverse<Appointment>>>,
    earlier: Notify,
}

impl Agenda {
    /// Adds an appointment. The ticker delivers it at its time, or as soon after that as the worker can.
    pub fn enter(&self, appointment: Appointment) {
        let mut appointments = self.appointments.borrow_mut();
        let is_first = appointments.peek().is_none_or(|Reverse(first)| appointment.due < first.due);
        appointments.push(Reverse(appointment));
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Returns the time of the next appointment.
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
