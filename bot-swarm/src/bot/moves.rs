//! How a bot comes and goes: as the profile wants, and as its behaviour wants.

use std::time::Duration;

use actix::Context;
use starling_protocol::{ClientCommand, MessageId, RoomName};

use super::link::Link;
use super::{Bot, PART_AFTER, Visit};
use crate::agenda::Errand;
use crate::behaviour::Move;
use crate::census::BotState;
use crate::clock::Nanos;
use crate::ledger::Standing;

/// The `id` of the frames by which a bot visits rooms.
const VISIT_ID: &str = "visit";

impl Bot {
    /// The profile wants the bot from now on.
    pub(super) fn come(&mut self, planned: Nanos, ctx: &mut Context<Self>) {
        if self.worker.quiet_since.get().is_some_and(|quiet_since| planned > quiet_since) {
            return;
        }
        if self.attendance.want() {
            self.join_crowd();
            self.begin_plan(planned);
        }
        let is_first = self.state == BotState::Waiting;
        self.worker.stats.borrow_mut().counters.wanted += u64::from(is_first);
        if matches!(self.session.link, Link::Gone) {
            self.session.link = Link::Down;
        }
        if matches!(self.session.link, Link::Down) {
            self.attendance.await_since(planned);
            self.enter_state(BotState::Connecting);
            self.connect(ctx);
        }
    }

    /// The profile does not want the bot any more.
    pub(super) fn depart(&mut self, planned: Nanos, ctx: &mut Context<Self>) {
        if self.attendance.dismiss(Some(planned)) {
            self.leave_crowd();
        }
        self.forgive_flood();
        self.speak();
        if self.is_answered() || !self.session.link.is_up() {
            self.leave(ctx);
        } else {
            self.enter(self.worker.now().after(PART_AFTER), Errand::Part);
        }
    }

    /// Whether nothing that the bot said, or has still to say, waits for an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.speech.is_done(self.plan_end(self.worker.now()))
    }

    /// The bot is one of those to whom messages of its room come, unless what comes to it is not timed.
    fn join_crowd(&self) {
        if !self.conduct.behaviour.reads_slowly() {
            self.worker.crowds.come(self.identity.room);
        }
    }

    pub(super) fn leave_crowd(&self) {
        if !self.conduct.behaviour.reads_slowly() {
            self.worker.crowds.go(self.identity.room);
        }
    }

    /// Goes, if it is still to go.
    pub(super) fn part(&mut self, ctx: &mut Context<Self>) {
        if self.attendance.is_departing() {
            self.leave(ctx);
        }
    }

    /// Asks the behaviour what to do next, and makes a note of when.
    pub(super) fn plan_move(&mut self) {
        if self.conduct.next_move.is_some() {
            return;
        }
        let next = self.conduct.behaviour.next_move(&self.worker.habits, &mut self.rng);
        if let Some((wait, what)) = next {
            let due = self.worker.now().after(wait);
            self.conduct.next_move = Some((due, what));
            self.enter(due, Errand::Move);
        }
    }

    /// Does what the behaviour wanted.
    pub(super) fn make_move(&mut self, due: Nanos, ctx: &mut Context<Self>) {
        let Some((_, next)) = self.conduct.next_move.take_if(|(noted, _)| *noted == due) else { return };
        let is_free = self.session.link.is_up() && self.attendance.is_wanted() && self.is_caught_up();
        if is_free && self.worker.quiet_since.get().is_none() {
            match next {
                Move::Hop => self.hop(),
                // It plans its next move when it is back.
                Move::Depart { politely, rest } => return self.rest(politely, rest, ctx),
            }
        }
        self.plan_move();
    }

    fn hop(&mut self) {
        match self.conduct.visit {
            Visit::In(room) => self.ask_to_visit(room, |room| ClientCommand::Leave { room }),
            Visit::None => self.visit_another(None),
            // The answer is still to come.
            Visit::Asked(_) => {}
        }
    }

    fn visit_another(&mut self, but: Option<u32>) {
        let Some(room) = self.worker.roster.room_to_visit(self.identity.room, but, &mut self.rng) else { return };
        self.conduct.visit = Visit::Asked(room);
        self.ask_to_visit(room, |room| ClientCommand::Join { room, resume: None, presence: false });
    }

    fn ask_to_visit(&self, room: u32, command: impl FnOnce(RoomName) -> ClientCommand<'static>) {
        let name = self.worker.roster.room(room).name.clone();
        self.ask(MessageId::parse(VISIT_ID).ok(), command(name));
    }

    /// The server let the bot into a room that it visits.
    pub(super) fn visits(&mut self, room: &RoomName, standing: Standing) {
        let Visit::Asked(asked) = self.conduct.visit else { return };
        if self.worker.roster.room(asked).name == *room {
            self.conduct.visit = Visit::In(asked);
            self.worker.ledger.borrow_mut().entered(self.identity.number, asked, standing);
        }
    }

    /// The server let the bot out of a room that it visited. It visits another.
    pub(super) fn visited(&mut self, room: &RoomName) {
        let Visit::In(visited) = self.conduct.visit else { return };
        if self.worker.roster.room(visited).name == *room {
            self.end_visit();
            self.visit_another(Some(visited));
        }
    }

    /// The bot is in the visited room no more.
    pub(super) fn end_visit(&mut self) {
        if let Visit::In(room) = std::mem::replace(&mut self.conduct.visit, Visit::None) {
            self.worker.ledger.borrow_mut().left(self.identity.number, room);
        }
    }

    /// The server refused what the bot asked for under this id.
    pub(super) fn visit_was_refused(&mut self, id: &MessageId) {
        if id.as_str() == VISIT_ID && matches!(self.conduct.visit, Visit::Asked(_)) {
            self.conduct.visit = Visit::None;
        }
    }

    /// Goes by its own will, to come back after a while.
    fn rest(&mut self, politely: bool, rest: Duration, ctx: &mut Context<Self>) {
        self.end_visit();
        self.worker.ledger.borrow_mut().rests(self.identity.number, self.identity.room);
        self.enter_state(BotState::Resting);
        let back_at = self.worker.now().after(rest);
        self.attendance.rest_until(back_at);
        self.reading.home.must_resume();
        self.reading.inbox.must_resume();
        if politely {
            self.say_goodbye();
        } else {
            self.drop_link(ctx);
        }
        self.enter(back_at, Errand::Connect);
    }

    /// Lets a slow bot read some more.
    pub(super) fn read_on(&mut self, due: Nanos) {
        let bytes_per_second = self.worker.habits.slow_bytes_per_second;
        // When the swarm has fallen silent, whatever waits is read.
        let is_over = self.worker.quiet_since.get().is_some();
        if let Some(next) = self.session.link.read_on(due, self.worker.now(), bytes_per_second, is_over) {
            self.enter(next, Errand::Read);
        }
    }
}
