//! Handling of the frames that a bot receives.

use std::time::Duration;

use actix::{Context, StreamHandler};
use actix_http::ws::Item;
use awc::error::WsProtocolError;
use awc::ws::{self, Frame};
use starling_protocol::{
    Ack, DeletedEvent, EditedEvent, ErrorCode, JoinedEvent, ReactionEvent, Refusal, RoomName, ServerEvent, Welcome,
};

use super::fragments::TooLarge;
use super::in_flight::{Addressee, Outgoing, Request};
use super::link::{Greeting, Link};
use super::{Bot, Changeable, PAUSE_DEFAULT};
use crate::agenda::Errand;
use crate::census::BotState;
use crate::clock::Nanos;
use crate::connect_error::{HAD_TO_LEAVE, UNREADABLE_WELCOME};
use crate::dialect::Dialect;
use crate::judgement::OTHER_DIALECT;
use crate::ledger::{RoomChange, Standing, Verdict};
use crate::marker::{Marker, Names, Reading};
use crate::timing::Timing;
use crate::wire::{self, Delivery, Incoming};

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
enum Useless {
    #[error("WebSocket: {0}")]
    TooLarge(#[from] TooLarge),
    /// The bot had to leave its home room. The server has said why with an error, unless the room was dropped.
    #[error("{HAD_TO_LEAVE}")]
    HadToLeave,
}

impl StreamHandler<Result<Frame, WsProtocolError>> for Bot {
    fn handle(&mut self, frame: Result<Frame, WsProtocolError>, ctx: &mut Context<Self>) {
        if !matches!(self.session.link, Link::Open(_)) {
            // It came together with the frame for which the bot has dropped the connection.
            return;
        }
        self.session.link.note_life();
        let heard = match frame {
            Ok(Frame::Text(text)) => self.hear(&text),
            Ok(Frame::Continuation(item)) => self.hear_part(&item),
            Ok(Frame::Binary(data)) if self.is_plain() => self.hear(&data),
            Ok(Frame::Binary(_)) => return self.error("binary frame"),
            Ok(Frame::Ping(payload)) => return self.session.link.send(ws::Message::Pong(payload)),
            Ok(Frame::Pong(_)) => return,
            Ok(Frame::Close(reason)) => return self.closed(reason, ctx),
            Err(WsProtocolError::Io(error)) => return self.lost(&format!("connection: {}", error.kind()), ctx),
            Err(error) => return self.lost(&format!("WebSocket: {error}"), ctx),
        };
        if let Err(useless) = heard {
            self.lost(&useless.to_string(), ctx);
        }
    }

    fn finished(&mut self, ctx: &mut Context<Self>) {
        self.lost("connection ended", ctx);
    }
}

impl Bot {
    fn hear_part(&mut self, item: &Item) -> Result<(), Useless> {
        self.session.fragments.join(item)?.map_or(Ok(()), |whole| self.hear(&whole))
    }

    fn hear(&mut self, frame: &[u8]) -> Result<(), Useless> {
        self.worker.stats.borrow_mut().counters.bytes_received += frame.len() as u64;
        if self.is_plain() {
            return Ok(self.hear_plainly(frame)?);
        }
        match wire::read(frame) {
            Ok(Incoming::Delivery(delivery)) => self.delivered(&delivery),
            Ok(Incoming::Event(event)) => self.told(*event)?,
            Err(error) => {
                log::debug!("{}: not an event: {error}", self.identity.name);
                self.does_not_understand(frame, "not an event");
            }
        }
        self.keep_time();
        Ok(())
    }

    /// Handles a frame that does not belong to the bot's dialect. Before the welcome, it is reported once, as an error
    /// about the dialect; later, as the error `what`.
    pub(super) fn does_not_understand(&mut self, frame: &[u8], what: &str) {
        let Some(greeting) = self.session.link.greeting().filter(|greeting| **greeting != Greeting::Welcomed) else {
            return self.error(what);
        };
        if std::mem::replace(greeting, Greeting::Misunderstood) == Greeting::Misunderstood {
            return;
        }
        let ours = self.worker.dialect;
        match Dialect::of_greeting(frame) {
            Some(theirs) if theirs == ours => self.error(UNREADABLE_WELCOME),
            Some(theirs) => self.error(&format!("the server speaks {theirs}, {OTHER_DIALECT}{ours}")),
            None => self.error(&format!("the server does not speak BOT_DIALECT={ours}")),
        }
    }

    fn told(&mut self, event: ServerEvent<'_>) -> Result<(), Useless> {
        match event {
            // What was not answered by the end of the run is counted as not done.
            ServerEvent::Ack(_) | ServerEvent::Error(_) if self.worker.is_over.get() => {}
            // The bot has left and only awaits the answer to its close frame.
            ServerEvent::Welcome(_) if self.session.link.is_leaving() => {}
            ServerEvent::Joined(joined) if self.session.link.is_leaving() => self.may_visit_too_late(&joined),
            ServerEvent::Welcome(welcome) => self.welcomed(&welcome),
            ServerEvent::Message(message) if message.deleted => {
                self.place_was_taken(message.room.as_ref(), message.seq.map(|seq| seq.0), message.at, None);
            }
            ServerEvent::Edited(EditedEvent { room, seq, of, client_id, text, at, .. }) => {
                let names = Names { from: client_id.as_str(), to: "" };
                let is_altered = room.is_some() && matches!(Marker::read(&text, names), Reading::Altered);
                if is_altered {
                    self.worker.ledger.borrow_mut().altered();
                }
                let change = RoomChange::edited(of.0, client_id.as_str(), !text.is_empty());
                self.place_was_taken(room.as_ref(), Some(seq.0), at, Some(&change));
            }
            ServerEvent::Deleted(DeletedEvent { room, seq, of, client_id, at, .. }) => {
                let change = RoomChange::deleted(of.0, client_id.as_str());
                self.place_was_taken(room.as_ref(), Some(seq.0), at, Some(&change));
            }
            ServerEvent::Reaction(ReactionEvent { room, seq, of, client_id, emoji, removed, at, .. }) => {
                let change = RoomChange::reaction(of.0, client_id.as_str(), emoji.as_str(), removed);
                self.place_was_taken(room.as_ref(), Some(seq.0), at, Some(&change));
            }
            ServerEvent::Message(message) => self.delivered(&Delivery {
                from: message.client_id.as_str(),
                text: &message.text,
                room: message.room.as_ref().map(starling_protocol::RoomName::as_str),
                seq: message.seq.map(|seq| seq.0),
                to: message.to.as_ref().map(starling_protocol::ClientId::as_str),
                at: message.at,
            }),
            ServerEvent::Ack(ack) => self.acked(&ack),
            ServerEvent::Joined(joined) => self.joined(&joined),
            ServerEvent::Error(refusal) => self.refused(&refusal),
            ServerEvent::Closing { reconnect_after_ms, .. } => {
                self.session.link.note_closing(Duration::from_millis(reconnect_after_ms));
            }
            ServerEvent::Left { room, .. } if room == self.worker.roster.room(self.identity.room).name => {
                return Err(Useless::HadToLeave);
            }
            ServerEvent::Left { id, room } => self.visited(id.as_ref(), &room),
            ServerEvent::Pong { id, at } => self.time_was_told(id.as_ref(), at),
            ServerEvent::Read(read) => self.was_told_of_read(&read),
            // A bot does not request these.
            ServerEvent::Presence(_)
            | ServerEvent::Typing(_)
            | ServerEvent::Settings(_)
            | ServerEvent::Members(_)
            | ServerEvent::Rooms { .. }
            | ServerEvent::History(_) => {}
        }
        Ok(())
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        self.link_is_welcomed(Duration::from_millis(welcome.heartbeat_ms));
        self.conduct.changeable = Changeable::default();
        self.session.way_back.keep_key(welcome.key);
        // A token may assign another name than the bot asked for. Its messages are delivered under the assigned name.
        if self.identity.name != welcome.client_id {
            self.identity.name.clone_from(&welcome.client_id);
        }
        let mut ledger = self.worker.ledger.borrow_mut();
        let is_new = ledger.resume_point(self.identity.number, self.identity.room).is_none();
        if is_new && let Some(first) = &welcome.first_room {
            let standing = Standing { epoch: first.epoch, seq: first.seq.0, recovered: true };
            ledger.entered(self.identity.number, self.identity.room, standing, self.worker.now());
            self.reading.home.begin_anew();
        }
        drop(ledger);
        self.finds_inbox(welcome.inbox.as_ref());
        self.note_whether_back();
        self.ask_for_missed();
        self.withdraw_settled(welcome.first_room.as_ref().map(|room| room.epoch));
        self.send_again();
        self.plan_move();
        self.speak();
    }

    fn joined(&mut self, joined: &JoinedEvent) {
        match &joined.room {
            Some(room) if *room != self.worker.roster.room(self.identity.room).name => {
                self.visits(room, joined);
            }
            _ => self.was_told_of_missed(joined),
        }
    }

    fn delivered(&mut self, delivery: &Delivery<'_>) {
        if self.state == BotState::Gone {
            // The bot has left its rooms and only awaits the answer to its close frame.
            return;
        }
        let worker = &self.worker;
        let names = Names { from: delivery.from, to: delivery.to.unwrap_or_default() };
        let message = match Marker::read(delivery.text, names) {
            // A bot marks each of its messages.
            Reading::Unmarked if worker.roster.has(delivery.from) => Reading::Altered,
            reading @ (Reading::Marked(_) | Reading::Altered | Reading::Unmarked) => reading,
        };
        let timing = if let Reading::Marked(marker) = &message { self.timing(marker) } else { Timing::Untimed };
        let mut ledger = worker.ledger.borrow_mut();
        let verdict = match (delivery.room, delivery.seq) {
            (Some(name), Some(seq)) => {
                let room = worker.roster.room(self.identity.room);
                if name == room.name.as_str() {
                    if !self.reading.home.hears(seq, delivery.at) {
                        return;
                    }
                    self.conduct.changeable.heard = Some(seq);
                    ledger.room_message(
                        self.identity.number,
                        self.identity.room,
                        room.tag,
                        seq,
                        &message,
                        timing.exact(),
                    )
                } else if let Some(visited) = self.conduct.visit.room()
                    && name == worker.roster.room(visited).name.as_str()
                {
                    let tag = worker.roster.room(visited).tag;
                    ledger.room_message(self.identity.number, visited, tag, seq, &message, timing.exact())
                } else {
                    ledger.wrong_room()
                }
            }
            (_, seq) => {
                if seq.is_some_and(|seq| !self.reading.inbox.hears(seq, delivery.at)) {
                    return;
                }
                match &message {
                    Reading::Marked(marker) => ledger.private_message(self.identity.number, seq, marker),
                    Reading::Altered => ledger.altered_private_message(self.identity.number, seq),
                    Reading::Unmarked if delivery.to == Some(self.identity.name.as_str()) => {
                        ledger.unmarked_private_message(self.identity.number, seq)
                    }
                    Reading::Unmarked => ledger.misdelivered(),
                }
            }
        };
        worker.stats.borrow_mut().delivery_came(timing, verdict == Verdict::Counts);
    }

    /// A change of a message arrived, or a message that was deleted: only the place of that is known.
    fn place_was_taken(&mut self, room: Option<&RoomName>, seq: Option<u64>, at: u64, change: Option<&RoomChange<'_>>) {
        let (Some(seq), false) = (seq, self.state == BotState::Gone) else { return };
        let (bot, home) = (self.identity.number, self.identity.room);
        let worker = &self.worker;
        let mut ledger = worker.ledger.borrow_mut();
        let Some(name) = room else {
            if self.reading.inbox.hears(seq, at) {
                ledger.unmarked_private_message(bot, Some(seq));
            }
            return;
        };
        let is_home = *name == worker.roster.room(home).name;
        let visited = self.conduct.visit.room().filter(|room| *name == worker.roster.room(*room).name);
        let Some(room) = is_home.then_some(home).or(visited) else {
            ledger.wrong_room();
            return;
        };
        if is_home && !self.reading.home.hears(seq, at) {
            return;
        }
        match change {
            Some(change) => drop(ledger.room_change(bot, room, seq, change)),
            None => ledger.room_place(bot, room, seq),
        }
    }

    /// The delivery time of a message to this bot, without the waits that are the bots' own.
    pub(super) fn timing(&self, marker: &Marker) -> Timing {
        if marker.planned == Nanos::UNPLANNED || self.identity.kind.reads_slowly() {
            return Timing::Untimed;
        }
        let now = self.worker.now();
        // Both bots may have waited at the same time, so this is the longer wait and not the sum.
        let own_wait = |planned| self.attendance.own_wait(planned).max(marker.own_wait.duration());
        if self.worker.has_our_clock(marker) {
            return Timing::Exact(now.since(marker.planned).saturating_sub(own_wait(marker.planned)));
        }
        let both = self.worker.on_server(now).zip(marker.on_server);
        both.map_or(Timing::Untimed, |(here, planned)| {
            let apart = here.since(planned);
            let planned = Nanos(now.0.saturating_sub(apart.latency.as_nanos().try_into().unwrap_or(u64::MAX)));
            Timing::Remote(apart.less(own_wait(planned)))
        })
    }

    fn acked(&mut self, ack: &Ack) {
        self.worker.stats.borrow_mut().counters.acked_as_duplicates += u64::from(ack.duplicate);
        let Some((_, request)) = self.awaited(&ack.id) else { return self.error("ack of nothing") };
        let answered = match request {
            Request::Message(message) => self.message_acked(ack, message),
            Request::Change(change) => self.change_acked(ack, change),
            Request::Read { .. } | Request::Join(_) | Request::Leave(_) => Err("ack of nothing"),
        };
        match answered {
            Ok(()) => self.has_done(Some(&ack.id), request),
            // An ack that does not say where the message is promises nothing: the message is still unanswered.
            Err(kind) => self.error(kind),
        }
    }

    /// Handles the ack of a message.
    ///
    /// # Errors
    /// The kind of the error, if the ack does not say where the message is.
    fn message_acked(&mut self, ack: &Ack, message: Outgoing) -> Result<(), &'static str> {
        let (bot, room) = (self.identity.number, self.identity.room);
        match message.to {
            Addressee::Room => {
                let seq = self.place_in_home(ack)?;
                self.worker.ledger.borrow_mut().room_acked(bot, room, seq, message.number, message.planned);
                self.conduct.changeable.own = Some((seq, message));
            }
            Addressee::Friend(friend) => {
                let friend = self.worker.roster.friend(bot, friend);
                if ack.to.as_ref() != Some(&self.worker.roster.name(friend)) {
                    return Err("ack of another receiver");
                }
                self.worker.ledger.borrow_mut().private_acked(bot, friend, message.number);
            }
        }
        Ok(())
    }

    /// Records that the server accepted a request, and, for a message, the time since its planned time without the
    /// bot's own wait.
    pub(super) fn was_taken(&self, request: Request) {
        let worker = &self.worker;
        worker.unanswered.set(worker.unanswered.get() - 1);
        let mut stats = worker.stats.borrow_mut();
        stats.counters.acked += 1;
        if let Some(message) = request.message().filter(|message| message.planned != Nanos::UNPLANNED) {
            stats.ack.record(message.latency(worker.now()));
        }
    }

    /// Handles the answer to a request.
    pub(super) fn answered(&mut self) {
        if self.attendance.is_departing() && self.is_answered() {
            return self.enter(self.worker.now(), Errand::Part);
        }
        self.speak();
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.error(refusal.code.as_str());
        let Some(id) = &refusal.id else { return };
        let is_resume = self.resume_was_refused(id);
        let is_temporary = !self.conduct.behaviour.ignores_limits() && passes(refusal);
        if is_temporary || is_resume {
            let pause = refusal.retry_after_ms.map_or(PAUSE_DEFAULT, Duration::from_millis);
            self.speech.pause(self.worker.now().after(pause));
        }
        if let Some((serial, request)) = self.awaited(id) {
            self.speech.answered(serial);
            if is_temporary {
                self.speech.postpone(request);
                let worker = &self.worker;
                worker.unanswered.set(worker.unanswered.get() - 1);
                worker.deferred.set(worker.deferred.get() + 1);
                worker.stats.borrow_mut().counters.refused_for_now += 1;
            } else {
                self.was_refused(self.is_provoked(refusal.code, request));
                self.visit_was_refused(request);
            }
        }
        self.answered();
    }

    /// Whether there is a reason to refuse a request for good.
    fn is_provoked(&self, code: ErrorCode, request: Request) -> bool {
        match request {
            // Its sender floods, or its receiver may be away.
            Request::Message(message) => self.is_message_provoked(code, message),
            Request::Change(change) => self.is_change_provoked(code, change),
            // The visit has ended meanwhile, because the room was dropped.
            Request::Leave(room) => self.conduct.visit.room() != Some(room),
            Request::Read { .. } | Request::Join(_) => false,
        }
    }

    fn is_message_provoked(&self, code: ErrorCode, message: Outgoing) -> bool {
        if self.conduct.behaviour.ignores_limits() {
            return true;
        }
        let Addressee::Friend(friend) = message.to else { return false };
        if code != ErrorCode::NoSuchClient {
            return false;
        }
        // If the friend turns out to have been there, the refusal counts against the server in the end.
        let friend = self.worker.roster.friend(self.identity.number, friend);
        self.worker.presence.is_said_to_be_away(friend, message.planned);
        true
    }

    /// Counts a final refusal of a request.
    pub(super) fn was_refused(&self, is_provoked: bool) {
        self.worker.unanswered.set(self.worker.unanswered.get() - 1);
        let counters = &mut self.worker.stats.borrow_mut().counters;
        counters.refused += 1;
        counters.refused_unprovoked += u64::from(!is_provoked);
    }
}

/// Whether the server takes the frame later, on the same connection.
fn passes(refusal: &Refusal) -> bool {
    matches!(refusal.code, ErrorCode::RateLimited | ErrorCode::Unavailable) || refusal.retry_after_ms.is_some()
}
