//! The inbound half of a connection: one actor on the worker thread that accepted it.
//!
//! A session decodes frames, limits their rate and turns them into requests to the `ChatServer`. It holds no room and
//! no name. It writes only pongs and some lines of the console itself: all other answers come from the `ChatServer`
//! through the hub, in the order of the frames.

mod context;
pub mod frames;
mod inbound;

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use log::debug;
use starling_protocol::console::{self, ConsoleCommand};
use starling_protocol::{ClientCommand, CommandFrame, ErrorCode, MessageId, Refusal, RoomName, codec, limits};
use tokio::time::{Sleep, sleep};

use self::context::{Polled, PolledContext};
use self::frames::BadFrame;
use self::inbound::{Inbound, Received};
use crate::chat_server::command::{NotDecided, Request};
use crate::clock::{self, Instant};
use crate::config::ChatConfig;
use crate::credits::{Credit, Ticket};
use crate::frame::{self, Format};
use crate::hub::{Closing, FromHub, LocalHub, SentToSession, SessionHandle};
use crate::ids::SessionId;
use crate::metrics::{ActorKind, DisconnectReason, Limit, Mailbox};
use crate::moderation::{self, Act};
use crate::rate_limit::RateLimit;
use crate::socket::ReadHalf;

/// The time in which a client that sends too fast is counted once.
pub(crate) const LIMITED_SPAN: Duration = Duration::from_secs(10);

/// Frames that a session handles before the other tasks of its thread have their turn.
const FRAMES_AT_ONCE: u32 = 16;

/// One connection's life in the chat, from the answer to its handshake to its end.
///
/// However it ends, by its client, by its hub or by a panic, its drop removes it from the chat and from the hub.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    hub: LocalHub,
    inbound: Inbound,
    frames: RateLimit,
    /// `None` until the first `join` after the handshake, to save memory: most connections never send one.
    joins: Option<Box<RateLimit>>,
    /// The time at which the client was last counted as one that sends too fast.
    limited_at: Option<Instant>,
    /// The pong for the newest ping, if pings arrive faster than the rate limit; usually `None`.
    late_pong: Option<Box<LatePong>>,
    /// How to close the connection, once all commands are answered.
    closing: Option<Box<Closing>>,
    /// Whether the client has ended its side.
    client_ended: bool,
    /// Counts the connection against the limit of connections, until it is dropped.
    _permit: Box<dyn Any>,
}

/// A pong that waits for the rate limit.
#[derive(Debug)]
struct LatePong {
    frame: Bytes,
    time: Pin<Box<Sleep>>,
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
        let config = hub.config();
        let session = Self {
            id,
            hub: hub.clone(),
            inbound: Inbound::new(hub.clone(), id, socket.into(), unread, now),
            frames: RateLimit::per_second(config.messages_per_second, config.burst, now),
            joins: None,
            limited_at: None,
            late_pong: None,
            closing: None,
            client_ended: false,
            _permit: Box::new(permit),
        };
        let mailbox = Mailbox::new(hub.metrics().mailboxes(ActorKind::Session));
        let address = context::run(session).downgrade().recipient();
        hub.open(id, SessionHandle::new(address, mailbox));
    }

    /// Closes the connection once all commands that the client has sent so far are answered. Later frames are ignored.
    fn close(&mut self, closing: Closing) {
        // At once, not when the hub confirms the close: later frames of the same read must be ignored too.
        self.inbound.close();
        self.send_late_pong();
        self.closing = Some(Box::new(closing));
    }

    fn poll_frames(&mut self, ctx: &mut PolledContext, cx: &mut task::Context<'_>) {
        for _ in 0..FRAMES_AT_ONCE {
            match self.inbound.poll_next(cx) {
                Poll::Ready(Some(received)) => self.on_frame(received),
                Poll::Ready(None) => return self.on_end(ctx),
                Poll::Pending => return,
            }
        }
        // Other sessions come first.
        cx.waker().wake_by_ref();
    }

    fn on_frame(&mut self, received: Result<Received, BadFrame>) {
        if self.inbound.is_closing() {
            return;
        }
        let read_at = self.inbound.read_at();
        let stage = Arc::clone(&self.hub.worker().session);
        let started = clock::now();
        if received.is_ok() {
            stage.waited(started.saturating_duration_since(read_at), 1);
        }
        match received {
            Ok(Received::Text(text, credit)) => self.on_text(&text, credit, read_at),
            Ok(Received::Ping(payload)) => self.on_ping(&payload, read_at),
            Ok(Received::Nothing) => {}
            Ok(Received::Close) => self.close(Closing::by_client()),
            Err(BadFrame { code, reason }) => {
                debug!("{:?} sent a bad frame: {reason}", self.id);
                self.close(Closing::by_server(code, reason));
            }
        }
        stage.worked(started.elapsed());
    }

    /// The client has ended its side but may still read, so its commands are answered before the session ends.
    fn on_end(&mut self, ctx: &mut PolledContext) {
        self.client_ended = true;
        if self.hub.client_ended(self.id) {
            return ctx.stop();
        }
        if !self.inbound.is_closing() {
            self.close(Closing::lost());
        }
    }

    fn on_text(&mut self, text: &str, mut credit: Credit, read_at: Instant) {
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
                return self.decide(act, reason, Ticket::new(read_at, credit));
            }
            (Ok(()), Asked::Settings(room)) => return self.tell_settings(room, Ticket::new(read_at, credit)),
            (Ok(()), Asked::Help) => return self.hub.offer_lines(self.id, console::HELP),
            (Ok(()), Asked::Quit) => return self.close(Closing::by_client()),
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
    fn decide(&self, act: Act, reason: Box<str>, ticket: Ticket) {
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
        self.tell_later(told, ticket);
    }

    /// Asks the chat for the settings of a room, and tells the person all of them.
    fn tell_settings(&self, room: RoomName, ticket: Ticket) {
        let (chat, id) = (self.hub.chat().clone(), self.id);
        let told = async move {
            let settings = chat.own_settings(id, room.clone()).await;
            let settings = settings.map_err(|why| Refusal::new(ErrorCode::Unavailable, why.to_string()))??;
            Ok(Some(console::settings_line(&room, &settings)))
        };
        self.tell_later(told, ticket);
    }

    /// Tells a person a line, or a refusal, once it is known.
    fn tell_later(&self, told: impl Future<Output = Result<Option<String>, Refusal>> + 'static, ticket: Ticket) {
        let (hub, id) = (self.hub.clone(), self.id);
        actix_rt::spawn(async move {
            match told.await {
                Ok(line) => {
                    if let Some(line) = line {
                        hub.offer_lines(id, &line);
                    }
                    drop(ticket);
                }
                // The chat counts refusals in a row.
                Err(refusal) => hub.chat().ask(id, None, Request::Refused(refusal), ticket),
            }
        });
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
    fn on_ping(&mut self, payload: &Bytes, read_at: Instant) {
        let pong = frame::pong(payload);
        if let Some(late) = &mut self.late_pong {
            late.frame = pong;
            return;
        }
        match self.frames.take(read_at) {
            Ok(()) => self.hub.offer_frame(self.id, pong),
            // It does not ask the limit again, because a steady stream of texts could take every token.
            Err(wait) => self.late_pong = Some(Box::new(LatePong { frame: pong, time: Box::pin(sleep(wait)) })),
        }
    }

    fn send_late_pong(&mut self) {
        if let Some(late) = self.late_pong.take() {
            self.hub.offer_frame(self.id, late.frame);
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
    type Context = PolledContext;
}

impl Polled for Session {
    fn poll(&mut self, ctx: &mut PolledContext, cx: &mut task::Context<'_>) {
        if !self.client_ended {
            self.poll_frames(ctx, cx);
        }
        if self.late_pong.as_mut().is_some_and(|late| late.time.as_mut().poll(cx).is_ready()) {
            self.send_late_pong();
        }
        if self.closing.is_some()
            && self.inbound.poll_all_answered(cx).is_ready()
            && let Some(closing) = self.closing.take()
        {
            self.hub.close(self.id, *closing);
        }
    }
}

impl Handler<SentToSession> for Session {
    type Result = ();

    fn handle(&mut self, SentToSession { message, in_mailbox }: SentToSession, ctx: &mut PolledContext) {
        drop(in_mailbox);
        match message {
            FromHub::Closing => {
                self.inbound.close();
                self.hub.chat().close_session(self.id);
            }
            FromHub::CloseWhenAnswered(closing) if !self.inbound.is_closing() => self.close(closing),
            FromHub::CloseWhenAnswered(_) => {}
            FromHub::Stop => ctx.stop(),
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
