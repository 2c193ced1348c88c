//! Planned work that a bot has not done: it is counted, and charged with the time from the plan to the end of the run.

use std::time::Duration;

use super::in_flight::{Addressee, Outgoing, Request};
use super::link::{Greeting, Link};
use super::{Bot, Talk};
use crate::census::BotState;
use crate::clock::Nanos;
use crate::connect_error::{NO_ANSWER, NO_REPLY, NO_WELCOME};
use crate::dialect::Dialect;
use crate::stats::NotDone;

impl Bot {
    /// The end of the plan: now, or the earlier time at which the swarm became quiet or the bot was dismissed.
    pub(super) fn plan_end(&self, now: Nanos) -> Nanos {
        [self.worker.quiet_since.get(), self.attendance.departs_at()].into_iter().flatten().fold(now, Nanos::min)
    }

    /// Whether the bot plans no new messages and only sends those that were due before.
    pub(super) fn is_closing(&self) -> bool {
        self.attendance.is_departing() || self.worker.quiet_since.get().is_some()
    }

    /// The swarm has become quiet: counts the messages that are still to be sent, and sends them.
    pub(super) fn settle(&mut self) {
        self.forgive_flood();
        let owed = self.speech.owe(self.plan_end(self.worker.now()));
        self.worker.left_to_say.set(self.worker.left_to_say.get() + owed);
        self.worker.has_answered();
        self.hurry_back();
        self.speak();
    }

    /// Drops the plan of a bot that ignores limits: its unsent messages do not count as missing.
    pub(super) fn forgive_flood(&mut self) {
        if self.conduct.behaviour.ignores_limits() {
            self.speech.follow(None);
        }
    }

    /// One message less is still to be sent; with `is_all`, none is.
    pub(super) fn has_less_to_say(&mut self, is_all: bool) {
        let less = self.speech.owe_less(is_all);
        self.worker.left_to_say.set(self.worker.left_to_say.get() - less);
    }

    /// Counts all unfinished work as not done, at the end of the run.
    pub(super) fn give_up(&mut self) {
        let now = self.worker.now();
        // It was connected, even if the server refused messages to it.
        let unprovoked = self.worker.presence.take_refusals(self.identity.number);
        self.worker.stats.borrow_mut().counters.refused_unprovoked += unprovoked;
        self.give_up_plan(now);
        // Only messages have a planned time; the worker has counted all requests that await their answer.
        for message in self.speech.unanswered().into_iter().filter_map(Request::message) {
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

    /// Counts the rest of the plan as not sent.
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

    /// Records the wait of a bot that no server has welcomed since it was due to come.
    pub(super) fn give_up_connecting(&mut self, now: Nanos) {
        if let Some(planned) = self.attendance.take_awaited() {
            self.worker.stats.borrow_mut().connect.record(now.since(planned));
        }
    }

    /// Reports the answer that a connecting bot has waited for in vain, because no other error does.
    fn tell_what_is_awaited(&self) {
        let awaited = match &self.session.link {
            Link::Connecting(_) if self.worker.dialing.tell_one() => NO_ANSWER,
            Link::Connecting(_) => NO_REPLY,
            Link::Open(link) if link.greeting == Greeting::Awaited && link.closed_for.is_none() => NO_WELCOME,
            Link::Open(_) | Link::Down | Link::Gone => return,
        };
        self.error(&format!("{awaited} by the end of the run"));
    }

    /// Whether any bot here has seen this unanswered message. If so, its deliveries are judged one by one.
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
            // Both the sender and the receiver receive it.
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
