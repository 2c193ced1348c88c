//! Opening, losing and closing a bot's connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use actix::fut::ActorFuture;
use actix::{ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use actix_codec::Framed;
use awc::BoxedSocket;
use awc::http::header::AUTHORIZATION;
use awc::ws;
use starling_protocol::{CloseCode, limits};

use super::Bot;
use super::fragments::Fragments;
use super::link::{Greeting, Link, OpenLink};
use super::socket::{FRAME_BYTES_MAX, Outflow, Socket};
use crate::agenda::Errand;
use crate::census::BotState;
use crate::clock::Nanos;
use crate::connect_error::{self, NO_WELCOME};
use crate::foreign::Foreign;

/// The time that a server has to end a connection after its close frame.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// The pause of a bot that the server has banned: longer than any run.
const NEVER: Duration = Duration::from_hours(100 * 365 * 24);

/// The time that a server has to welcome a bot after the handshake.
const WELCOME_DEADLINE: Duration = Duration::from_secs(10);

/// Writes the bot's frames while the connection lives, and lets the bot continue when the outbox has room again.
struct Writing(Outflow);

impl ActorFuture<Bot> for Writing {
    type Output = ();

    fn poll(self: Pin<&mut Self>, bot: &mut Bot, _: &mut Context<Bot>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        while ready!(self.0.poll_room(cx)).is_ok() {
            bot.speak();
        }
        Poll::Ready(())
    }
}

impl Bot {
    /// Connects, if there is no connection and the bot is wanted.
    pub(super) fn connect(&mut self, ctx: &mut Context<Self>) {
        if !matches!(self.session.link, Link::Down) || !self.attendance.is_wanted() {
            return;
        }
        if self.state == BotState::Resting && self.worker.quiet_since.get().is_some() {
            // The end of the run waits for bots that are away, and not for one that rests.
            return;
        }
        self.attendance.tries(self.worker.now());
        if self.state == BotState::Resting {
            // From now on it counts as away instead of resting.
            self.enter_state(BotState::Away);
            self.worker.ledger.borrow_mut().interrupted(self.identity.number, self.identity.room);
        }
        let worker = &self.worker;
        // A connection that names no room is in the lobby.
        let room = Some(&worker.roster.room(self.identity.room).name).filter(|room| room.as_str() != limits::LOBBY);
        let url =
            worker.endpoint.url(self.session.way_back.server(), room, &self.identity.name, self.session.way_back.key());
        let mut request = worker.client.ws(url).max_frame_size(FRAME_BYTES_MAX);
        if let Some(subprotocol) = worker.dialect.foreign().and_then(Foreign::subprotocol) {
            request = request.protocols([subprotocol]);
        }
        for (name, value) in &worker.headers.0 {
            request = request.header(name.clone(), value.clone());
        }
        if let Some(token) = worker.tokens.header(self.identity.number, &self.identity.name) {
            request = request.set_header(AUTHORIZATION, token);
        }
        let attempt = request.connect().into_actor(self).map(|result, bot, ctx| match result {
            Ok((_, framed)) => bot.open(framed, ctx),
            Err(error) => {
                bot.error(&connect_error::describe(&error));
                bot.session.way_back.try_another();
                bot.come_back(connect_error::retry_after(&error));
            }
        });
        self.session.link = Link::Connecting(ctx.spawn(attempt));
    }

    fn open(&mut self, framed: Framed<BoxedSocket, ws::Codec>, ctx: &mut Context<Self>) {
        let is_slow = self.identity.kind.reads_slowly();
        let (socket, inbound, outflow) = Socket::open(framed, Rc::clone(&self.worker.read_buffers), is_slow);
        self.session.fragments = Fragments::default();
        let now = self.worker.now();
        let pulse_due = now.after(WELCOME_DEADLINE);
        self.session.link = Link::Open(OpenLink {
            socket,
            inbound: ctx.add_stream(inbound),
            outflow: ctx.spawn(Writing(outflow)),
            greeting: Greeting::Awaited,
            is_leaving: false,
            closed_for: None,
            is_alive: false,
            pulse_due,
            pulse_interval: WELCOME_DEADLINE,
            reconnect_after: Duration::ZERO,
            reads_at: now,
        });
        if is_slow {
            self.enter(now, Errand::Read);
        }
        self.worker.open_links.set(self.worker.open_links.get() + 1);
        self.enter(pulse_due, Errand::CheckPulse);
        if self.is_plain() {
            self.greet_plainly();
        }
    }

    /// Handles the server's welcome on a new connection. Its pings come every `heartbeat`.
    pub(super) fn link_is_welcomed(&mut self, heartbeat: Duration) {
        let now = self.worker.now();
        let Link::Open(link) = &mut self.session.link else { return };
        link.greeting = Greeting::Welcomed;
        // The server allows a client two heartbeats of silence; the bot allows the server a little more.
        link.pulse_interval = heartbeat.saturating_mul(5) / 2;
        link.pulse_due = now.after(link.pulse_interval);
        let pulse_due = link.pulse_due;
        self.enter(pulse_due, Errand::CheckPulse);
        self.session.way_back.note_return();
        if !self.identity.kind.reads_slowly() {
            // A bot that reads slowly learns late that it was closed.
            self.worker.presence.came(self.identity.number, now);
        }
        let (is_return, is_first) = self.attendance.welcome();
        let mut stats = self.worker.stats.borrow_mut();
        stats.counters.reconnects += u64::from(is_return);
        stats.counters.ever_connected += u64::from(is_first);
        let waited = self.attendance.waited();
        if let Some(planned) = self.attendance.take_awaited() {
            stats.connect.record(now.since(planned).saturating_sub(waited.after(planned)));
        }
        drop(stats);
        self.speech.has_waited(waited);
    }

    /// Drops a connection on which nothing came for too long: the other end may have vanished silently.
    pub(super) fn check_pulse(&mut self, due: Nanos, ctx: &mut Context<Self>) {
        let Link::Open(link) = &mut self.session.link else { return };
        // An outdated appointment: of an earlier connection, or from before the welcome.
        if due < link.pulse_due {
            return;
        }
        if link.greeting != Greeting::Welcomed {
            return self.lost(NO_WELCOME, ctx);
        }
        if std::mem::take(&mut link.is_alive) && link.closed_for.is_none() {
            link.pulse_due = self.worker.now().after(link.pulse_interval);
            let pulse_due = link.pulse_due;
            self.enter(pulse_due, Errand::CheckPulse);
            if let Some(heartbeat) = self.worker.dialect.foreign().and_then(Foreign::heartbeat) {
                self.session.link.send(heartbeat);
            }
        } else {
            self.lost("no sign of life", ctx);
        }
    }

    /// Handles the server's close frame. The bot answers it, and the server ends the connection.
    pub(super) fn closed(&mut self, reason: Option<ws::CloseReason>, ctx: &mut Context<Self>) {
        let Link::Open(link) = &mut self.session.link else { return };
        if link.is_leaving {
            return self.end(ctx);
        }
        let code = reason.as_ref().map(|reason| u16::from(reason.code));
        if code == Some(CloseCode::Banned.as_u16()) {
            link.reconnect_after = NEVER;
        }
        link.closed_for = Some(code.map_or("close without a code".to_owned(), |code| format!("close {code}")));
        link.is_alive = false;
        link.pulse_due = self.worker.now().after(END_DEADLINE);
        let pulse_due = link.pulse_due;
        self.worker.presence.was_cut_off(self.identity.number);
        self.session.link.send(ws::Message::Close(reason));
        self.enter(pulse_due, Errand::CheckPulse);
    }

    /// Handles a lost or useless connection; the bot reconnects later.
    pub(super) fn lost(&mut self, why: &str, ctx: &mut Context<Self>) {
        let Link::Open(link) = &mut self.session.link else { return };
        if link.is_leaving {
            return self.end(ctx);
        }
        let closed_for = link.closed_for.take();
        let reconnect_after = link.reconnect_after;
        if link.greeting == Greeting::Welcomed {
            let mut ledger = self.worker.ledger.borrow_mut();
            if self.identity.kind.reads_slowly() {
                // A slow bot provokes this loss: it starts again without resuming.
                ledger.left(self.identity.number, self.identity.room);
                ledger.disconnected(self.identity.number);
            } else {
                ledger.interrupted(self.identity.number, self.identity.room);
            }
            drop(ledger);
            self.worker.presence.was_cut_off(self.identity.number);
            self.enter_state(BotState::Away);
            self.attendance.cut_off(self.worker.now());
            self.end_visit();
        }
        self.error(closed_for.as_deref().unwrap_or(why));
        self.session.way_back.try_another();
        self.drop_link(ctx);
        self.come_back(reconnect_after);
    }

    fn come_back(&mut self, at_least: Duration) {
        self.session.link = Link::Down;
        self.session.listens_at = None;
        if self.attendance.is_departing() {
            self.enter(self.worker.now(), Errand::Part);
        }
        self.reading.home.must_resume();
        self.reading.inbox.must_resume();
        self.speech.end_pause();
        let wait = self.session.way_back.wait(at_least, &mut self.rng);
        let now = self.worker.now();
        let due = now.after(wait);
        self.attendance.pause(now.after(at_least), due);
        self.enter(due, Errand::Connect);
    }

    /// The swarm has become quiet. A bot that pauses before it reconnects does so early enough to return in time,
    /// unless the server requested the pause. Otherwise it would count as away although the server may be available.
    pub(super) fn hurry_back(&mut self) {
        let Some((earliest, due)) = self.attendance.pauses().filter(|_| matches!(self.session.link, Link::Down)) else {
            return;
        };
        let now = self.worker.now();
        let time_left = self.worker.says_until.get().unwrap_or(now).since(now);
        let sooner = now.after(time_left.mul_f64(self.rng.f64() / 2.0)).max(earliest);
        if sooner < due {
            self.enter(sooner, Errand::Connect);
        }
    }

    /// Sends a close frame; the connection ends when the server has answered.
    pub(super) fn say_goodbye(&mut self) {
        if let Link::Open(link) = &mut self.session.link {
            link.is_leaving = true;
            self.session.link.send(ws::Message::Close(Some(ws::CloseCode::Normal.into())));
        }
    }

    /// Leaves for good, or until the profile wants the bot again.
    pub(super) fn leave(&mut self, ctx: &mut Context<Self>) {
        let now = self.worker.now();
        self.give_up_plan(now);
        self.give_up_connecting(now);
        if self.attendance.dismiss(None) {
            self.leave_crowd();
        }
        self.end_visit();
        self.worker.presence.goes(self.identity.number);
        let mut ledger = self.worker.ledger.borrow_mut();
        ledger.left(self.identity.number, self.identity.room);
        ledger.disconnected(self.identity.number);
        drop(ledger);
        match &mut self.session.link {
            Link::Open(_) => self.say_goodbye(),
            Link::Connecting(attempt) => {
                ctx.cancel_future(*attempt);
                self.session.link = Link::Gone;
            }
            Link::Down | Link::Gone => self.session.link = Link::Gone,
        }
        self.enter_state(BotState::Gone);
    }

    /// Ends the connection after the close handshake.
    fn end(&mut self, ctx: &mut Context<Self>) {
        self.drop_link(ctx);
        if self.attendance.is_wanted() {
            // It rests, or the profile has wanted it again meanwhile.
            self.enter(self.attendance.back_at().max(self.worker.now()), Errand::Connect);
        } else {
            self.session.link = Link::Gone;
        }
    }

    pub(super) fn drop_link(&mut self, ctx: &mut Context<Self>) {
        let Link::Open(link) = std::mem::replace(&mut self.session.link, Link::Down) else { return };
        ctx.cancel_future(link.inbound);
        ctx.cancel_future(link.outflow);
        self.resign_as_timekeeper();
        self.worker.ledger.borrow_mut().peers.stops(self.identity.number);
        self.worker.open_links.set(self.worker.open_links.get() - 1);
    }
}
