//! A bot's connection: how it is made, how it is lost, and how it ends.

use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt as _, AsyncContext as _, Context, SpawnHandle, WrapFuture as _};
use actix_codec::Framed;
use awc::BoxedSocket;
use awc::error::{ConnectError, SendRequestError, WsClientError};
use awc::ws;

use super::socket::Socket;
use super::{Bot, Membership};
use crate::agenda::Errand;
use crate::census::BotState;
use crate::clock::Nanos;

/// Largest frame that a bot takes: a full page of history of messages of the largest size most servers allow.
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How long a server may take to end a connection that it has closed.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// How long a server may take to welcome a bot after the handshake.
const WELCOME_DEADLINE: Duration = Duration::from_secs(10);

/// What a bot's connection is to it at the moment.
pub(super) enum Link {
    /// There is none; an errand will make one.
    Down,
    /// On the way.
    Connecting(SpawnHandle),
    /// There is one.
    Open(OpenLink),
    /// There was one, and there will be none.
    Gone,
}

/// A connection.
pub(super) struct OpenLink {
    socket: Socket,
    inbound: SpawnHandle,
    outflow: SpawnHandle,
    /// Whether the server has welcomed the bot.
    is_welcomed: bool,
    /// Whether the bot has said goodbye.
    is_leaving: bool,
    /// Why the server closes, once it has said so.
    closed_for: Option<String>,
    /// Whether anything came since the pulse was last checked.
    is_alive: bool,
    /// When the pulse is checked next, and how often.
    pulse_due: Nanos,
    pulse_interval: Duration,
    /// What the server asked for when it announced that it will close.
    reconnect_after: Duration,
}

impl Link {
    /// Whether messages may be sent.
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Open(link) if link.is_welcomed && !link.is_leaving && link.closed_for.is_none())
    }

    /// Whether the socket takes another message.
    pub(super) fn has_room(&self) -> bool {
        matches!(self, Self::Open(link) if link.socket.has_room())
    }

    /// Gives a frame to the socket, if there is one.
    pub(super) fn send(&self, message: ws::Message) {
        if let Self::Open(link) = self
            && let Err(error) = link.socket.send(message)
        {
            log::error!("a frame could not be encoded: {error}");
        }
    }

    /// Something came.
    pub(super) fn note_life(&mut self) {
        if let Self::Open(link) = self {
            link.is_alive = true;
        }
    }

    /// The server will close, and said when to come back.
    pub(super) fn note_closing(&mut self, reconnect_after: Duration) {
        if let Self::Open(link) = self {
            link.reconnect_after = reconnect_after;
        }
    }
}

impl Bot {
    /// Connects, if there is no connection. `planned` is when it was to be.
    pub(super) fn connect(&mut self, planned: Nanos, ctx: &mut Context<Self>) {
        if !matches!(self.link, Link::Down) {
            return;
        }
        if self.key.is_none() {
            self.awaited_since.get_or_insert(planned);
            self.enter_state(BotState::Connecting);
        }
        let worker = &self.worker;
        let room = (!worker.roster.is_lobby_only()).then(|| &worker.roster.room(self.room).name);
        let url = worker.endpoint.url(room, &self.name, self.key);
        let request = worker.client.ws(url).max_frame_size(FRAME_BYTES_MAX);
        let attempt = request.connect().into_actor(self).map(|result, bot, ctx| match result {
            Ok((_, framed)) => bot.open(framed, ctx),
            Err(error) => {
                bot.error(&describe(&error));
                bot.come_back(Duration::ZERO);
            }
        });
        self.link = Link::Connecting(ctx.spawn(attempt));
    }

    fn open(&mut self, framed: Framed<BoxedSocket, ws::Codec>, ctx: &mut Context<Self>) {
        let (socket, inbound, outflow) = Socket::open(framed, Rc::clone(&self.worker.read_buffers));
        let pulse_due = Nanos::now().after(WELCOME_DEADLINE);
        self.link = Link::Open(OpenLink {
            socket,
            inbound: ctx.add_stream(inbound),
            outflow: ctx.spawn(outflow),
            is_welcomed: false,
            is_leaving: false,
            closed_for: None,
            is_alive: false,
            pulse_due,
            pulse_interval: WELCOME_DEADLINE,
            reconnect_after: Duration::ZERO,
        });
        self.worker.open_links.set(self.worker.open_links.get() + 1);
        self.enter(pulse_due, Errand::CheckPulse);
    }

    /// The server's first word on a new connection. Its pings come every `heartbeat`.
    pub(super) fn link_is_welcomed(&mut self, heartbeat: Duration) {
        let now = Nanos::now();
        let Link::Open(link) = &mut self.link else { return };
        link.is_welcomed = true;
        // The server gives a client two heartbeats of silence; the bot gives the server a little more.
        link.pulse_interval = heartbeat.saturating_mul(5) / 2;
        link.pulse_due = now.after(link.pulse_interval);
        let pulse_due = link.pulse_due;
        self.enter(pulse_due, Errand::CheckPulse);
        self.backoff.reset();
        self.enter_state(BotState::Connected);
        let mut stats = self.worker.stats.borrow_mut();
        if self.key.is_some() {
            stats.counters.reconnects += 1;
        } else {
            stats.counters.ever_connected += 1;
        }
        if let Some(planned) = self.awaited_since.take() {
            stats.connect.record(now.since(planned));
        }
    }

    /// Gives a connection up from which nothing came for too long: the other end may be gone without a word.
    pub(super) fn check_pulse(&mut self, due: Nanos, ctx: &mut Context<Self>) {
        let Link::Open(link) = &mut self.link else { return };
        // An appointment of an earlier connection, or of before the welcome.
        if due < link.pulse_due {
            return;
        }
        if std::mem::take(&mut link.is_alive) && link.closed_for.is_none() {
            link.pulse_due = Nanos::now().after(link.pulse_interval);
            let pulse_due = link.pulse_due;
            self.enter(pulse_due, Errand::CheckPulse);
        } else {
            self.lost("no sign of life", ctx);
        }
    }

    /// The server closes the connection. The bot answers, and the server ends it.
    pub(super) fn closed(&mut self, reason: Option<ws::CloseReason>, ctx: &mut Context<Self>) {
        let Link::Open(link) = &mut self.link else { return };
        if link.is_leaving {
            return self.end(ctx);
        }
        let code = reason.as_ref().map(|reason| u16::from(reason.code));
        link.closed_for = Some(code.map_or("close without a code".to_owned(), |code| format!("close {code}")));
        link.is_alive = false;
        link.pulse_due = Nanos::now().after(END_DEADLINE);
        let pulse_due = link.pulse_due;
        self.link.send(ws::Message::Close(reason));
        self.enter(pulse_due, Errand::CheckPulse);
    }

    /// The connection is lost or useless; the bot will come back.
    pub(super) fn lost(&mut self, why: &str, ctx: &mut Context<Self>) {
        let Link::Open(link) = &mut self.link else { return };
        if link.is_leaving {
            return self.end(ctx);
        }
        let closed_for = link.closed_for.take();
        let reconnect_after = link.reconnect_after;
        if link.is_welcomed {
            self.worker.ledger.borrow_mut().interrupted(self.number, self.room);
            self.enter_state(BotState::Away);
        }
        self.error(closed_for.as_deref().unwrap_or(why));
        self.drop_link(ctx);
        self.come_back(reconnect_after);
    }

    fn come_back(&mut self, at_least: Duration) {
        self.link = Link::Down;
        self.membership = Membership::MustResume;
        self.paused_until = Nanos::default();
        let wait = self.backoff.next(at_least, &mut self.rng);
        self.enter(Nanos::now().after(wait), Errand::Connect);
    }

    /// Says goodbye; the connection ends when the server has answered.
    pub(super) fn leave(&mut self, ctx: &mut Context<Self>) {
        match &mut self.link {
            Link::Open(link) => {
                link.is_leaving = true;
                self.link.send(ws::Message::Close(Some(ws::CloseCode::Normal.into())));
            }
            Link::Connecting(attempt) => {
                ctx.cancel_future(*attempt);
                self.link = Link::Gone;
            }
            Link::Down | Link::Gone => self.link = Link::Gone,
        }
        self.enter_state(BotState::Gone);
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        self.drop_link(ctx);
        self.link = Link::Gone;
    }

    fn drop_link(&mut self, ctx: &mut Context<Self>) {
        let Link::Open(link) = std::mem::replace(&mut self.link, Link::Down) else { return };
        ctx.cancel_future(link.inbound);
        ctx.cancel_future(link.outflow);
        self.worker.open_links.set(self.worker.open_links.get() - 1);
    }
}

/// A connect error in few words, so that the same counts as the same.
fn describe(error: &WsClientError) -> String {
    if let WsClientError::InvalidResponseStatus(status) = error {
        return format!("HTTP {}", status.as_u16());
    }
    if let WsClientError::SendRequest(SendRequestError::Connect(ConnectError::Io(error))) = error {
        return format!("connect: {}", error.kind());
    }
    let is_timeout = matches!(
        error,
        WsClientError::SendRequest(SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout))
    );
    if is_timeout { "connect: timeout".to_owned() } else { format!("connect: {error}") }
}
