//! What a bot had planned and did not do: counted, and charged with the time from its plan to the end of the run.

use std::time::Duration;

use super::in_flight::{Addressee, Outgoing};
use super::link::{Greeting, Link};
use super::{Bot, Talk};
use crate::census::BotState;
use crate::clock::Nanos;
use crate::connect_error::{NO_REPLY, NO_WELCOME};
use crate::dialect::Dialect;
use crate::stats::NotDone;

impl Bot {
    /// Until when what is planned is still to be said: now, or when the bot was to fall silent or to go.
    pub(super) fn plan_end(&self, now: Nanos) -> Nanos {
        [self.worker.quiet_since.get(), self.attendance.departs_at()].into_iter().flatten().fold(now, Nanos::min)
    }

    /// Whether the bot may plan no more messages: it only says what was due before.
    pub(super) fn is_closing(&self) -> bool {
        self.attendance.is_departing() || self.worker.quiet_since.get().is_some()
    }

    /// The swarm has fallen silent: counts what is left to say, and says it.
    pub(super) fn settle(&mut self) {
        self.forgive_flood();
        let owed = self.speech.owe(self.plan_end(self.worker.now()));
        self.worker.left_to_say.set(self.worker.left_to_say.get() + owed);
        self.worker.has_answered();
        self.hurry_back();
        self.speak();
    }

    /// What a bot that ignores limits did not get said is nobody's debt.
    pub(super) fn forgive_flood(&mut self) {
        if self.conduct.behaviour.ignores_limits() {
            self.speech.follow(None);
        }
    }

    /// One message less is left to say; `is_all`: and no more are.
    pub(super) fn has_less_to_say(&mut self, is_all: bool) {
        let less = self.speech.owe_less(is_all);
        self.worker.left_to_say.set(self.worker.left_to_say.get() - less);
    }

    /// The run is over: whatever is not done counts as not done.
    pub(super) fn give_up(&mut self) {
        let now = self.worker.now();
        self.give_up_plan(now);
        for message in self.speech.unanswered() {
            let is_seen = self.is_seen(&message);
            self.charge(message.latency(now), message.planned, 1, true, is_seen);
        }
        self.give_up_connecting(now);
        self.tell_what_is_awaited();
        if let Some(since) = self.attendance.missed_since().filter(|_| self.state == BotState::Away) {
            self.worker.stats.borrow_mut().resume.record(now.since(since));
        }
        self.worker.has_answered();
    }

    /// Nothing more of the plan will be said.
    pub(super) fn give_up_plan(&mut self, now: Nanos) {
        self.forgive_flood();
        let end = self.plan_end(now);
        let Some(plan) = self.speech.take_plan() else { return };
        for (planned, count) in plan.backlog(end) {
            self.worker.stats.borrow_mut().counters.overdue += count;
            let own_wait = self.attendance.own_wait(planned);
            self.charge(now.since(planned).saturating_sub(own_wait), planned, count, false, false);
        }
        self.has_less_to_say(true);
    }

    /// A bot that was never welcomed since it was to come will not be.
    pub(super) fn give_up_connecting(&mut self, now: Nanos) {
        if let Some(planned) = self.attendance.take_awaited() {
            self.worker.stats.borrow_mut().connect.record(now.since(planned));
        }
    }

    /// Tells what the bot waited for in vain if it is on its way to the server: nobody else will.
    fn tell_what_is_awaited(&self) {
        let awaited = match &self.session.link {
            Link::Connecting(_) => NO_REPLY,
            Link::Open(link) if link.greeting == Greeting::Awaited && link.closed_for.is_none() => NO_WELCOME,
            Link::Open(_) | Link::Down | Link::Gone => return,
        };
        self.error(&format!("{awaited} by the end of the run"));
    }

    /// Whether a message that was not answered was seen by anybody here: then its deliveries are judged by themselves.
    fn is_seen(&self, message: &Outgoing) -> bool {
        let ledger = self.worker.ledger.borrow();
        match message.to {
            Addressee::Room => ledger.has_seen_in_room(self.identity.number, self.identity.room, message.number),
            Addressee::Friend(friend) => {
                let friend = self.worker.roster.friend(self.identity.number, friend);
                ledger.has_seen_private(self.identity.number, friend, message.number)
            }
        }
    }

    fn charge(&self, latency: Duration, planned: Nanos, messages: u64, is_sent: bool, is_seen: bool) {
        if planned == Nanos::UNPLANNED {
            return;
        }
        let receivers = match (self.worker.dialect, self.conduct.behaviour.talk()) {
            (Dialect::Echo, _) => 1,
            // Both names have it.
            (_, Talk::Friends) => 2,
            (_, Talk::Room | Talk::Silent) => self.worker.crowds.of(self.identity.room),
        };
        self.worker.stats.borrow_mut().not_done(NotDone {
            latency,
            messages,
            is_sent,
            is_acked: self.worker.dialect.answers(),
            deliveries: if is_seen { 0 } else { receivers },
            is_completed: !self.is_plain() && self.conduct.behaviour.talk() == Talk::Room,
        });
    }
}
