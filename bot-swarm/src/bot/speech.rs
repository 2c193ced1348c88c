//! The messages of a bot, and its other requests: planned, postponed and unanswered.

use std::collections::VecDeque;

use super::attendance::Absence;
use super::in_flight::{Addressee, InFlight, Outgoing, Request};
use crate::clock::Nanos;
use crate::marker::OwnWait;
use crate::plan::Plan;

/// The next message of a bot's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A message planned for this time.
    Message(Nanos),
    /// No message before this time.
    NotBefore(Nanos),
    /// No more messages.
    Nothing,
}

/// A message that has no number yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    pub(super) to: Addressee,
    pub(super) planned: Nanos,
    /// How long the bot itself has delayed it since then.
    pub(super) own_wait: OwnWait,
    pub(super) bytes: u32,
}

/// The unfinished messages of a bot.
#[derive(Debug, Default)]
pub(super) struct Speech {
    plan: Option<Plan>,
    /// Messages of the plan that were due when the swarm became quiet, and are not sent.
    owed: u64,
    in_flight: InFlight,
    /// Requests whose connection was lost before their answer, at a server that does not detect repetitions.
    in_doubt: Vec<Request>,
    /// Temporarily refused requests; they are sent again before any new message.
    postponed: VecDeque<Request>,
    paused_until: Nanos,
    /// The earliest appointment to speak that is entered and not delivered.
    speaks_at: Option<Nanos>,
    /// The numbers of messages that it has sent to its room, and to each of its friends.
    room_number: u32,
    friend_numbers: Box<[u32]>,
}

impl Speech {
    /// A bot with this many friends and no plan yet.
    pub(super) fn new(friends: u32) -> Self {
        Self { friend_numbers: vec![0; friends as usize].into(), ..Self::default() }
    }

    /// The number of its friends.
    pub(super) fn friends(&self) -> u32 {
        u32::try_from(self.friend_numbers.len()).unwrap_or_default()
    }

    /// Replaces its plan.
    pub(super) fn follow(&mut self, plan: Option<Plan>) {
        self.plan = plan;
    }

    /// Takes its plan away.
    pub(super) fn take_plan(&mut self) -> Option<Plan> {
        self.plan.take()
    }

    /// The number of planned messages that were due at this time and are not sent.
    pub(super) fn overdue(&self, end: Nanos) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.overdue(end))
    }

    /// Takes the next planned message that is due before `end`.
    pub(super) fn next(&mut self, end: Nanos, rng: &mut fastrand::Rng) -> Next {
        let Some(plan) = &mut self.plan else { return Next::Nothing };
        plan.take(end, rng).map_or_else(|| Next::NotBefore(plan.due()), Next::Message)
    }

    /// Counts the messages that were due at this time as owed. Returns their number.
    pub(super) fn owe(&mut self, end: Nanos) -> u64 {
        self.owed = self.overdue(end);
        self.owed
    }

    /// Reduces the owed messages by one, or to none. Returns the difference.
    pub(super) fn owe_less(&mut self, is_all: bool) -> u64 {
        let less = if is_all { self.owed } else { self.owed.min(1) };
        self.owed -= less;
        less
    }

    /// Pauses until this time, or until a later one that is already set.
    pub(super) fn pause(&mut self, until: Nanos) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Ends a pause: it does not apply to a new connection.
    pub(super) fn end_pause(&mut self) {
        self.paused_until = Nanos::default();
    }

    /// The end of the pause. `None` if there is none.
    pub(super) fn pauses_until(&self, now: Nanos) -> Option<Nanos> {
        (now < self.paused_until).then_some(self.paused_until)
    }

    /// Notes an appointment to speak. Returns whether the caller must enter it, because no earlier one is entered.
    pub(super) fn appoint(&mut self, due: Nanos) -> bool {
        let is_earliest = self.speaks_at.is_none_or(|earliest| due < earliest);
        if is_earliest {
            self.speaks_at = Some(due);
        }
        is_earliest
    }

    /// Notes that an appointment to speak was delivered.
    pub(super) fn appointment_came(&mut self, due: Nanos) {
        // The ticker may deliver it late.
        self.speaks_at = self.speaks_at.filter(|earliest| *earliest > due);
    }

    /// Adds an absence of the bot's own choice to the wait of each message that is to be sent again.
    pub(super) fn has_waited(&mut self, absence: Absence) {
        for request in self.in_flight.iter_mut().chain(&mut self.postponed) {
            if let Request::Message(message) = request
                && message.planned != Nanos::UNPLANNED
            {
                message.own_wait = message.own_wait.and(absence.after(message.planned));
            }
        }
    }

    /// Gives a message its number and adds it to the unanswered ones. Returns its serial number, too.
    pub(super) fn begin(&mut self, draft: Draft) -> (u64, Outgoing) {
        let Draft { to, planned, own_wait, bytes } = draft;
        let count = match to {
            Addressee::Room => Some(&mut self.room_number),
            Addressee::Friend(friend) => self.friend_numbers.get_mut(friend as usize),
        };
        let number = count.map_or(0, |count| {
            *count += 1;
            *count
        });
        let message = Outgoing { to, number, planned, own_wait, bytes };
        (self.in_flight.add(Request::Message(message)), message)
    }

    /// Adds a request other than a new message to the unanswered ones. Returns its serial number.
    pub(super) fn ask(&mut self, request: Request) -> u64 {
        self.in_flight.add(request)
    }

    /// Whether another request may be sent.
    pub(super) fn may_begin(&self) -> bool {
        !self.in_flight.is_full()
    }

    /// All unanswered requests, with their serial numbers.
    pub(super) fn under_way(&self) -> Vec<(u64, Request)> {
        self.in_flight.iter().collect()
    }

    /// The request of this serial number. `None`: it is answered, or never was sent.
    pub(super) fn awaits_answer(&self, serial: u64) -> Option<Request> {
        self.in_flight.get(serial)
    }

    /// Takes the request with this serial number, because it was answered. `None` if it had been answered before.
    pub(super) fn answered(&mut self, serial: u64) -> Option<Request> {
        self.in_flight.take(serial)
    }

    /// Takes the first answered request whose serial number satisfies the condition. `None` if there is none.
    pub(super) fn answered_where(&mut self, is_wanted: impl Fn(u64) -> bool) -> Option<Request> {
        self.in_flight.take_where(is_wanted)
    }

    /// Takes the unanswered requests that satisfy the condition, and the postponed ones.
    pub(super) fn withdraw(&mut self, is_wanted: impl Fn(Request) -> bool) -> (Vec<Request>, Vec<Request>) {
        let (postponed, kept) = self.postponed.drain(..).partition(|request| is_wanted(*request));
        self.postponed = kept;
        (self.in_flight.take_all(is_wanted), postponed.into())
    }

    /// Keeps a request to send it again later.
    pub(super) fn postpone(&mut self, request: Request) {
        self.postponed.push_back(request);
    }

    /// Takes the first postponed request.
    pub(super) fn take_postponed(&mut self) -> Option<Request> {
        self.postponed.pop_front()
    }

    /// Whether nothing that was due at this time waits to be sent or answered.
    pub(super) fn is_done(&self, end: Nanos) -> bool {
        self.in_flight.iter().next().is_none() && self.postponed.is_empty() && self.overdue(end) == 0
    }

    /// Gives up sending the unanswered messages again, because they could arrive twice. Calls `tell` for each.
    pub(super) fn doubt_all(&mut self, tell: impl FnMut(Outgoing)) {
        let given_up = self.in_flight.take_all(|_| true);
        given_up.iter().filter_map(|request| request.message()).for_each(tell);
        self.in_doubt.extend(given_up);
    }

    /// All requests that are sent and not answered, or postponed.
    pub(super) fn unanswered(&mut self) -> Vec<Request> {
        let under_way = self.in_flight.iter().map(|(_, request)| request);
        under_way.chain(self.postponed.iter().copied()).chain(std::mem::take(&mut self.in_doubt)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft { to: Addressee::Room, planned: Nanos(0), own_wait: OwnWait::default(), bytes: 48 }
    }

    #[test]
    fn each_addressee_has_numbers_of_its_own() {
        let mut speech = Speech::new(2);
        let numbers: Vec<u32> = [Addressee::Room, Addressee::Friend(1), Addressee::Room, Addressee::Friend(0)]
            .into_iter()
            .map(|to| speech.begin(Draft { to, ..draft() }).1.number)
            .collect();
        assert_eq!(numbers, [1, 1, 2, 1]);
    }

    #[test]
    fn of_appointments_only_an_earlier_one_is_entered() {
        let mut speech = Speech::new(0);
        let entered: Vec<bool> = [5, 7, 3].into_iter().map(|due| speech.appoint(Nanos(due))).collect();
        assert_eq!(entered, [true, false, true]);
        // The appointment at 5 is still to come, and is outdated.
        speech.appointment_came(Nanos(3));
        assert!(speech.appoint(Nanos(9)));
        speech.appointment_came(Nanos(5));
        assert!(!speech.appoint(Nanos(10)));
    }

    #[test]
    fn a_bot_is_done_when_everything_is_answered() {
        let mut speech = Speech::new(0);
        assert!(speech.is_done(Nanos(1)));
        let (serial, message) = speech.begin(draft());
        assert!(!speech.is_done(Nanos(1)));
        let request = Request::Message(message);
        assert_eq!(speech.answered(serial), Some(request));
        speech.postpone(request);
        assert!(!speech.is_done(Nanos(1)));
        assert_eq!(speech.take_postponed(), Some(request));
        assert!(speech.is_done(Nanos(1)));
    }
}
