//! The inbound half of a connection: one actor on the worker thread that accepted it.
//!
//! A session decodes frames, limits their rate and turns them into requests to the `ChatServer`. It holds no room and
//! no name. It writes only pongs and some lines of the console itself: all other answers come from the `ChatServer`
//! through the hub, in the order of the frames.

pub mod frames;
mod inbound;

use std::any::Any;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use log::debug;
use starling_protocol::console::{self, ConsoleCommand};
use starling_protocol::{ClientCommand, CommandFrame, ErrorCode, MessageId, Refusal, RoomName, codec, limits};

use self::frames::{BadFrame, Incoming};
use self::inbound::{Inbound, Reading};
use crate::chat_server::command::{NotDecided, Request};
use crate::clock::{self, Instant};
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::frame::{self, Format};
use crate::hub::{Closing, FromHub, LocalHub, SentToSession, SessionHandle};
use crate::ids::SessionId;
use crate::metrics::{ActorKind, DisconnectReason, Limit, Mailbox};
use crate::moderation::{self, Act};
use crate::rate_limit::RateLimit;
use crate::socket::ReadHalf;

/// The time in which a client that sends too fast is counted once.
pub(crate) const LIMITED_SPAN: Duration = Duration::from_secs(10);

/// One connection's life in the chat, from the answer to its handshake to its end.
///
/// However it ends, by its client, by its hub or by a panic, its drop removes it from the chat and from the hub.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    hub: LocalHub,
    reading: Rc<Reading>,
    frames: RateLimit,
    /// `None` until the first `join` after the handshake, to save memory: most connections never send one.
    joins: Option<Box<RateLimit>>,
    /// The time at which the client was last counted as one that sends too fast.
    limited_at: Option<Instant>,
    /// The pong for the newest ping, if pings arrive faster than the rate limit; usually `None`.
    late_pong: Option<Box<Bytes>>,
    /// Counts the connection against the limit of connections, until it is dropped.
    _permit: Box<dyn Any>,
}

/// The content of a frame.
#[derive(Debug)]
enum Asked {
    Command(ClientCommand<'static>),
    /// An invalid frame.
    Nonsense(Refusal),
    /// A decision that a person has typed, and its reason.
    Decide(Act, Box<str>),
    /// The settings of a room, for a person.
    Settings(RoomName),
    /// The console's help, which the session answers itself.
    Help,
    /// The console's request to close the connection.
    Quit,
}

impl Session {
    /// Starts the session of a connection that the `ChatServer` has accepted.
    ///
    /// `unread` is the data that the client sent after its handshake. `permit` is dropped when the session ends. Must
    /// run on the thread of the hub.
    pub fn start(hub: &LocalHub, id: SessionId, socket: impl Into<ReadHalf>, unread: BytesMut, permit: impl Any) {
        let now = clock::now();
        let config = Arc::clone(hub.config());
        let reading = Rc::new(Reading::new(config.session_credits, hub.metrics().credits()));
        let session = Self {
            id,
            hub: hub.clone(),
            reading: Rc::clone(&reading),
            frames: RateLimit::per_second(config.messages_per_second, config.burst, now),
            joins: None,
            limited_at: None,
            late_pong: None,
            _permit: Box::new(permit),
        };
        let mailbox = Mailbox::new(hub.metrics().mailboxes(ActorKind::Session));
        let inbound = Inbound::new(hub.clone(), id, socket.into(), unread, reading);
        let address = Self::create(|ctx| {
            ctx.add_stream(inbound);
            session
        });
        hub.open(id, SessionHandle::new(address.downgrade().recipient(), mailbox));
    }

    /// Closes the connection once all commands that the client has sent so far are answered. Later frames are ignored.
    fn close(&mut self, closing: Closing, ctx: &mut Context<Self>) {
        // At once, not when the hub confirms the close: later frames of the same read must be ignored too.
        self.reading.close();
        self.send_late_pong();
        let answered = self.reading.all_answered().into_actor(self);
        ctx.spawn(answered.map(move |(), session, _| session.hub.close(session.id, closing)));
    }

    fn on_text(&mut self, text: &str, read_at: Instant, ctx: &mut Context<Self>) {
        // Taken first, so that the credit is returned here if the frame leads to no request.
        let Some(mut credit) = self.reading.take_credit() else { return };
        self.hub.metrics().frame_received(text.len());
        let is_line = console::is_line(text);
        let (id, asked) = if is_line { (None, self.read_line(text)) } else { self.read_json(text) };
        let limited = self.limit(&asked, read_at);
        if limited.is_err() {
            self.count_limited(read_at);
        }
        let request = match (limited, asked) {
            (Err(refusal), _) | (Ok(()), Asked::Nonsense(refusal)) => Request::Refused(refusal),
            // After the rate limit: verifying a token costs more than reading it.
            (Ok(()), Asked::Command(command)) => self.request(command),
            (Ok(()), Asked::Decide(act, reason)) => {
                return self.decide(act, reason, Ticket::new(read_at, credit), ctx);
            }
            (Ok(()), Asked::Settings(room)) => return self.tell_settings(room, Ticket::new(read_at, credit), ctx),
            (Ok(()), Asked::Help) => return self.hub.offer_lines(self.id, console::HELP),
            (Ok(()), Asked::Quit) => return self.close(Closing::by_client(), ctx),
        };
        let message_bytes = text.len() * if is_line { LINE_GROWTH } else { MESSAGE_GROWTH };
        credit.expect_answer(answer_bytes(&request, message_bytes, self.hub.config()));
        self.hub.chat().ask(self.id, id, request, Ticket::new(read_at, credit));
    }

    /// Refuses a frame that exceeds a rate limit.
    fn limit(&mut self, asked: &Asked, read_at: Instant) -> Result<(), Refusal> {
        let hub = &self.hub;
        let too_often = |limit: Limit, what: &'static str| {
            move |wait: Duration| {
                hub.metrics().refused_by(limit);
                // Rounded up, so that a client that waits for exactly this time is not refused again.
                let retry_after_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                Refusal::new(ErrorCode::RateLimited, what).retry_after_ms(retry_after_ms)
            }
        };
        self.frames.take(read_at).map_err(too_often(Limit::MessagesPerSecond, "too many frames"))?;
        if matches!(asked, Asked::Command(ClientCommand::Join { .. })) {
            let most = hub.config().joins_per_minute;
            let full = || Box::new(RateLimit::new(most, Duration::from_mins(1), most, read_at));
            self.joins
                .get_or_insert_with(full)
                .take(read_at)
                .map_err(too_often(Limit::JoinsPerMinute, "too many joins"))?;
        }
        Ok(())
    }

    fn count_limited(&mut self, now: Instant) {
        if self.limited_at.is_none_or(|at| now.saturating_duration_since(at) >= LIMITED_SPAN) {
            self.limited_at = Some(now);
            self.hub.metrics().limited();
        }
    }

    /// Answers in the format that the client uses: JSON or lines.
    fn speak(&self, format: Format) {
        if self.hub.format(self.id) != format {
            self.hub.set_format(self.id, format);
            self.hub.chat().watch_presence(self.id, format == Format::Text);
        }
    }

    fn read_json(&self, text: &str) -> (Option<MessageId>, Asked) {
        self.speak(Format::Json);
        match codec::decode_command(text) {
            Ok(CommandFrame { id, command }) => (id, Asked::Command(command.into_owned())),
            Err(mut refusal) => (refusal.id.take(), Asked::Nonsense(refusal)),
        }
    }

    fn read_line(&self, line: &str) -> Asked {
        self.speak(Format::Text);
        let room = self.hub.current_room(self.id);
        match console::parse_line(line, &room) {
            Ok(ConsoleCommand::Command(command)) => Asked::Command(command.into_owned()),
            Ok(ConsoleCommand::Operate { command, words }) => {
                match moderation::typed::decision(command, words, room.name()) {
                    Ok((act, reason)) => Asked::Decide(act, reason),
                    Err(refusal) => Asked::Nonsense(refusal),
                }
            }
            Ok(ConsoleCommand::Settings { room }) => Asked::Settings(room),
            Ok(ConsoleCommand::Help) => Asked::Help,
            Ok(ConsoleCommand::Quit) => Asked::Quit,
            Err(refusal) => Asked::Nonsense(refusal),
        }
    }

    /// Asks the chat for a decision, and tells the person its outcome. The later lines do not wait for it.
    fn decide(&self, act: Act, reason: Box<str>, ticket: Ticket, ctx: &mut Context<Self>) {
        let (hub, id) = (self.hub.clone(), self.id);
        let done = moderation::typed::done(&act);
        // A setting is one of the current room.
        let room = hub.current_room(id);
        let told = async move {
            match hub.chat().decide_in_chat(id, act, reason).await {
                // Who is still in the room has the line of its members already.
                Ok(Ok(decided)) if decided.is_told && hub.current_room(id) == room => Ok(None),
                Ok(Ok(decided)) => {
                    let exempt = if decided.is_exempt { moderation::typed::EXEMPT } else { "" };
                    Ok(Some(format!("* {done}{exempt}")))
                }
                Ok(Err(NotDecided::Ineffective(why))) => {
                    let text = format!("{why}{}", moderation::typed::advice(&why, room.name()));
                    Err(Refusal::new(NotDecided::from(why).error_code(), text))
                }
                Ok(Err(why)) => Err(Refusal::new(why.error_code(), why.to_string())),
                Err(why) => Err(Refusal::new(ErrorCode::Unavailable, format!("{why}: perhaps {done}"))),
            }
        };
        self.tell_later(told, ticket, ctx);
    }

    /// Asks the chat for the settings of a room, and tells the person all of them.
    fn tell_settings(&self, room: RoomName, ticket: Ticket, ctx: &mut Context<Self>) {
        let (chat, id) = (self.hub.chat().clone(), self.id);
        let told = async move {
            let settings = chat.own_settings(id, room.clone()).await;
            let settings = settings.map_err(|why| Refusal::new(ErrorCode::Unavailable, why.to_string()))??;
            Ok(Some(console::settings_line(&room, &settings)))
        };
        self.tell_later(told, ticket, ctx);
    }

    /// Tells a person a line, or a refusal, once it is known.
    fn tell_later(
        &self,
        told: impl Future<Output = Result<Option<String>, Refusal>> + 'static,
        ticket: Ticket,
        ctx: &mut Context<Self>,
    ) {
        let told = told.into_actor(self).map(move |outcome, session, _| match outcome {
            Ok(line) => {
                if let Some(line) = line {
                    session.hub.offer_lines(session.id, &line);
                }
                drop(ticket);
            }
            // The chat counts refusals in a row.
            Err(refusal) => session.hub.chat().ask(session.id, None, Request::Refused(refusal), ticket),
        });
        ctx.spawn(told);
    }

    /// Makes a request of a command. Refuses a message that is too large, and verifies a token.
    fn request(&self, command: ClientCommand<'static>) -> Request {
        let config = self.hub.config();
        let most = config.message_bytes as usize;
        if let Some(text) = command.text().filter(|text| text.len() > most) {
            let text = format!("the message has {} bytes, {most} are allowed", text.len());
            return Request::Refused(Refusal::new(ErrorCode::MessageTooLarge, text));
        }
        if let ClientCommand::Hello { client_id, key, token: Some(token) } = &command
            && let Some(tokens) = &config.tokens
        {
            return match tokens.verify(token) {
                Ok(claims) => Request::Proven { claims: Arc::new(claims), client_id: client_id.clone(), key: *key },
                Err(bad) => Request::Refused(Refusal::new(ErrorCode::Unauthorized, bad.to_string())),
            };
        }
        Request::Command(command)
    }

    /// Answers a ping. If pings come faster than the rate limit, only the newest is answered, when the limit allows it:
    /// one pong answers all earlier pings (RFC 6455, 5.5.3).
    fn on_ping(&mut self, payload: &Bytes, read_at: Instant, ctx: &mut Context<Self>) {
        let pong = frame::pong(payload);
        match self.frames.take(read_at) {
            Ok(()) => {
                self.late_pong = None;
                self.hub.offer_frame(self.id, pong);
            }
            Err(wait) => {
                if self.late_pong.replace(Box::new(pong)).is_none() {
                    // It does not ask the limit again, because a steady stream of texts could take every token.
                    ctx.run_later(wait, |session, _| session.send_late_pong());
                }
            }
        }
    }

    fn send_late_pong(&mut self) {
        if let Some(pong) = self.late_pong.take() {
            self.hub.offer_frame(self.id, *pong);
        }
    }
}

/// Space for all fields of an answer except lists and texts: names, numbers, and an `id` with every character escaped.
const FIELDS_BYTES: usize = 1_024;

/// Most bytes of a name in a list, quoted.
const LISTED_NAME_BYTES: usize = limits::NAME_BYTES_MAX + 3;

/// Most bytes of a room in a list: its name and its numbers.
const LISTED_ROOM_BYTES: usize = limits::NAME_BYTES_MAX + 64;

/// The growth of a message on its way back to its sender: about as long as it was, plus its `ack`.
const MESSAGE_GROWTH: usize = 2;

/// The growth of a line on its way back: a line break becomes the header of a frame and an indent.
const LINE_GROWTH: usize = 8;

/// The most bytes that the answer to a request may have; `message_bytes` is for a message that comes back.
fn answer_bytes(request: &Request, message_bytes: usize, config: &ChatConfig) -> u32 {
    let bytes = match request {
        Request::Command(
            ClientCommand::History { .. }
            | ClientCommand::InboxHistory { .. }
            | ClientCommand::Join { resume: Some(_), .. }
            | ClientCommand::JoinInbox { resume: Some(_), .. },
        ) => config.page_bytes(),
        Request::Command(ClientCommand::Members { .. }) => limits::MEMBERS_LISTED_MAX * LISTED_NAME_BYTES,
        Request::Command(ClientCommand::Rooms) => limits::ROOMS_LISTED_MAX * LISTED_ROOM_BYTES,
        Request::Command(ClientCommand::Message(_) | ClientCommand::Change(_)) => message_bytes,
        Request::Command(
            ClientCommand::Join { .. }
            | ClientCommand::JoinInbox { .. }
            | ClientCommand::Hello { .. }
            | ClientCommand::Leave { .. }
            | ClientCommand::Typing { .. }
            | ClientCommand::Read { .. }
            | ClientCommand::Ping,
        )
        | Request::Proven { .. }
        | Request::Refused(_) => 0,
    };
    u32::try_from(bytes + FIELDS_BYTES).unwrap_or(u32::MAX)
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<SentToSession> for Session {
    type Result = ();

    fn handle(&mut self, SentToSession { message, in_mailbox }: SentToSession, ctx: &mut Context<Self>) {
        drop(in_mailbox);
        match message {
            FromHub::Closing => {
                self.reading.close();
                self.hub.chat().close_session(self.id);
            }
            FromHub::CloseWhenAnswered(closing) if !self.reading.is_closing() => self.close(closing, ctx),
            FromHub::CloseWhenAnswered(_) => {}
            FromHub::Stop => ctx.stop(),
        }
    }
}

impl StreamHandler<Result<Incoming, BadFrame>> for Session {
    fn handle(&mut self, item: Result<Incoming, BadFrame>, ctx: &mut Context<Self>) {
        if self.reading.is_closing() {
            // Frames of a closing session are ignored; their credit is returned.
            drop(self.reading.take_credit());
            return;
        }
        let read_at = self.reading.read_at();
        let stage = Arc::clone(&self.hub.worker().session);
        let started = clock::now();
        if item.is_ok() {
            stage.waited(started.saturating_duration_since(read_at), 1);
        }
        match item {
            Ok(Incoming::Text(text)) => self.on_text(&text, read_at, ctx),
            Ok(Incoming::Ping(payload)) => self.on_ping(&payload, read_at, ctx),
            Ok(Incoming::Nothing) => {}
            Ok(Incoming::Close) => self.close(Closing::by_client(), ctx),
            Err(BadFrame { code, reason }) => {
                debug!("{:?} sent a bad frame: {reason}", self.id);
                self.close(Closing::by_server(code, reason), ctx);
            }
        }
        stage.worked(started.elapsed());
    }

    /// The client has ended its side but may still read, so its commands are answered before the session ends.
    fn finished(&mut self, ctx: &mut Context<Self>) {
        if self.hub.client_ended(self.id) {
            return ctx.stop();
        }
        // The stream kept the session alive. Now this future does, until the hub stops the session after the last
        // write.
        ctx.spawn(pending().into_actor(self));
        if !self.reading.is_closing() {
            self.close(Closing::lost(), ctx);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hub.metrics().session_panicked();
            self.hub.close_failed(self.id);
        }
        self.hub.chat().close_session(self.id);
        self.hub.unregister(self.id, DisconnectReason::Lost);
    }
}
