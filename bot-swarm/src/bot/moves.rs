//! A bot comes and goes, as its profile and its behaviour decide.

use std::time::Duration;

use actix::Context;
use starling_protocol::{ClientCommand, JoinedEvent, MessageId, RoomName, Target};

use super::in_flight::{ChangeKind, Outgoing, Request};
use super::link::Link;
use super::{Bot, PART_AFTER, Visit};
use crate::agenda::Errand;
use crate::behaviour::Move;
use crate::census::BotState;
use crate::clock::Nanos;
use crate::ledger::Standing;

/// An editor deletes one message for so many edits and deletions.
const DELETIONS_ONE_IN: u8 = 4;

/// A reactor takes one reaction back for so many reactions.
const REMOVALS_ONE_IN: u8 = 4;

/// The emoji of reactors.
const EMOJIS: [&str; 4] = ["👍", "🎉", "👀", "👩\u{200d}💻"];

/// The `id` of the frames with which a bot says that it types.
const TYPING_ID: &str = "typing";

impl Bot {
    /// Starts to take part, because the profile wants the bot from now on.
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

    /// Leaves, because the profile no longer wants the bot.
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

    /// Whether no message of the bot waits to be sent, and no request to be answered.
    pub(super) fn is_answered(&self) -> bool {
        self.speech.is_done(self.plan_end(self.worker.now()))
    }

    /// Counts the bot as a receiver of its room's messages, unless its deliveries are not timed.
    fn join_crowd(&self) {
        if !self.identity.kind.reads_slowly() {
            self.worker.crowds.come(self.identity.room);
        }
    }

    pub(super) fn leave_crowd(&self) {
        if !self.identity.kind.reads_slowly() {
            self.worker.crowds.go(self.identity.room);
        }
    }

    /// Leaves if the bot is still dismissed.
    pub(super) fn part(&mut self, ctx: &mut Context<Self>) {
        if self.attendance.is_departing() {
            self.leave(ctx);
        }
    }

    /// Asks the behaviour for its next move, and enters an appointment for it.
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

    /// Makes the noted move.
    pub(super) fn make_move(&mut self, due: Nanos, ctx: &mut Context<Self>) {
        let Some((_, next)) = self.conduct.next_move.take_if(|(noted, _)| *noted == due) else { return };
        let is_here = self.session.link.is_up() && self.attendance.is_wanted() && self.is_caught_up();
        let may_ask = self.speech.may_begin() && self.speech.pauses_until(self.worker.now()).is_none();
        if is_here && may_ask && self.worker.quiet_since.get().is_none() {
            match next {
                Move::Hop => self.hop(),
                Move::ChangeOwn => self.change_own(),
                Move::React => self.react(),
                Move::Read => self.say_read(),
                Move::Type => self.say_typing(),
                // The bot plans its next move when it has returned.
                Move::Depart { politely, rest } => return self.rest(politely, rest, ctx),
            }
        }
        self.plan_move();
    }

    fn hop(&mut self) {
        match self.conduct.visit {
            Visit::In(room) => {
                self.conduct.visit = Visit::Leaving(room);
                self.request(Request::Leave(room));
            }
            Visit::None => self.visit_another(None),
            // The answer has not arrived yet.
            Visit::Asked(_) | Visit::Leaving(_) => {}
        }
    }

    /// Edits its newest message, or deletes it.
    fn change_own(&mut self) {
        let Some((of, message)) = self.conduct.changeable.own else { return };
        if self.rng.u8(0..DELETIONS_ONE_IN) == 0 {
            self.conduct.changeable.own = None;
            return self.request_change(of, ChangeKind::Delete);
        }
        let bytes = self.worker.habits.sizes.draw(&mut self.rng);
        self.request_change(of, ChangeKind::Edit(Outgoing { bytes, ..message }));
    }

    /// Reacts to the newest message of its room, or takes that back.
    fn react(&mut self) {
        let Some(of) = self.conduct.changeable.heard else { return };
        let Some(emoji) = EMOJIS.get(self.rng.usize(0..EMOJIS.len())) else { return };
        let remove = self.rng.u8(0..REMOVALS_ONE_IN) == 0;
        self.request_change(of, ChangeKind::React { emoji, remove });
    }

    /// Says that it has read the newest message of its room.
    fn say_read(&mut self) {
        let Some(seq) = self.conduct.changeable.heard else { return };
        if let Some(epoch) = self.home_epoch() {
            self.request(Request::Read { epoch, seq });
        }
    }

    /// Says that it types in its room.
    fn say_typing(&self) {
        if !self.is_plain() {
            self.worker.stats.borrow_mut().counters.typing_sent += 1;
            let room = self.worker.roster.room(self.identity.room).name.clone();
            self.ask(MessageId::parse(TYPING_ID).ok(), ClientCommand::Typing { target: Target::Room(room) });
        }
    }

    fn visit_another(&mut self, but: Option<u32>) {
        let Some(room) = self.worker.roster.room_to_visit(self.identity.room, but, &mut self.rng) else { return };
        self.conduct.visit = Visit::Asked(room);
        self.request(Request::Join(room));
    }

    /// Handles the server's consent to visit a room.
    pub(super) fn visits(&mut self, room: &RoomName, joined: &JoinedEvent) {
        let Visit::Asked(asked) = self.conduct.visit else { return };
        if self.worker.roster.room(asked).name == *room {
            self.conduct.visit = Visit::In(asked);
            let standing = Standing { epoch: joined.epoch, seq: joined.seq.0, recovered: true };
            self.worker.ledger.borrow_mut().entered(self.identity.number, asked, standing, self.worker.now());
            self.has_done(joined.id.as_ref(), Request::Join(asked));
        }
    }

    /// Handles a `joined` that comes while the bot leaves: a request for a visit is answered, but nobody visits.
    pub(super) fn may_visit_too_late(&mut self, joined: &JoinedEvent) {
        if let Visit::Asked(room) = self.conduct.visit {
            self.has_done(joined.id.as_ref(), Request::Join(room));
        }
    }

    /// Handles the end of a visit: the bot visits another room.
    pub(super) fn visited(&mut self, id: Option<&MessageId>, room: &RoomName) {
        let Some(visited) = self.conduct.visit.room() else { return };
        if self.worker.roster.room(visited).name == *room {
            self.end_visit();
            self.has_done(id, Request::Leave(visited));
            // A bot that is about to go would not get the answer.
            if !self.is_closing() {
                self.visit_another(Some(visited));
            }
        }
    }

    /// Notes that the bot is no longer in the visited room. A request to join one is sent again on its next connection.
    pub(super) fn end_visit(&mut self) {
        if let Some(room) = self.conduct.visit.room() {
            self.conduct.visit = Visit::None;
            self.worker.ledger.borrow_mut().left(self.identity.number, room);
        }
    }

    /// Handles the refusal of a request for good.
    pub(super) fn visit_was_refused(&mut self, request: Request) {
        self.conduct.visit = match (request, self.conduct.visit) {
            (Request::Join(_), Visit::Asked(_)) => Visit::None,
            (Request::Leave(_), Visit::Leaving(room)) => Visit::In(room),
            (_, visit) => visit,
        };
    }

    /// Leaves by its own choice, and returns after a while.
    fn rest(&mut self, politely: bool, rest: Duration, ctx: &mut Context<Self>) {
        self.end_visit();
        self.worker.presence.goes(self.identity.number);
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

    /// Lets a slow bot read more.
    pub(super) fn read_on(&mut self, due: Nanos) {
        let bytes_per_second = self.worker.habits.slow_bytes_per_second;
        // Once the swarm is quiet, the bot reads everything that waits.
        let is_over = self.worker.quiet_since.get().is_some();
        if let Some(next) = self.session.link.read_on(due, self.worker.now(), bytes_per_second, is_over) {
            self.enter(next, Errand::Read);
        }
    }
}

#[cfg(test)]
mod tests {
    use starling_protocol::Emoji;

    use super::*;

    #[test]
    fn a_reaction_is_told_to_everybody_as_the_reactor_writes_it() {
        for emoji in EMOJIS {
            assert_eq!(Emoji::parse(emoji).unwrap().as_str(), emoji);
        }
    }
}
