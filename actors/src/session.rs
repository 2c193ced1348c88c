//! The inbound half of a connection: one actor on the worker thread that accepted it.
//!
//! A session decodes frames, limits their rate and turns them into requests to the `ChatServer`. It holds no room and
//! no name, and it writes nothing but pongs and the console's help: whatever a client asks is answered by way of the
//! `ChatServer` and the hub, in the order of the frames.

pub mod frames;
mod inbound;

use std::any::Any;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::WeakAddr;
use actix::prelude::*;
use bytes::{Bytes, BytesMut};
use log::debug;
use starling_protocol::console::{self, ConsoleCommand};
use starling_protocol::{ClientCommand, CommandFrame, ErrorCode, MessageId, Refusal, codec, limits};

use self::frames::{BadFrame, Incoming};
use self::inbound::{Inbound, Reading};
use crate::chat_server::command::Request;
use crate::clock;
use crate::config::ChatConfig;
use crate::credits::Ticket;
use crate::frame::{self, Format};
use crate::hub::{Closing, LocalHub};
use crate::ids::SessionId;
use crate::metrics::{ActorKind, DisconnectReason, InMailbox, Mailbox};
use crate::rate_limit::RateLimit;
use crate::socket::ReadHalf;

/// One connection's life in the chat, from the answer to its handshake to its end.
///
/// However it ends, by its client, by its hub or by a panic, dropping it takes it out of the chat and of the hub.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    hub: LocalHub,
    reading: Rc<Reading>,
    frames: RateLimit,
    /// There from the first join after the handshake: most have none.
    joins: Option<Box<RateLimit>>,
    /// The answer to the newest ping, where pings came faster than they may be answered; most have none.
    late_pong: Option<Box<Bytes>>,
    /// The connection's place among those that there may be.
    _place: Box<dyn Any>,
}

/// What a frame asks for.
#[derive(Debug)]
enum Asked {
    Command(ClientCommand<'static>),
    /// Nothing that can be done.
    Nonsense(Refusal),
    /// The console's help, which needs nobody else.
    Help,
    /// The end of the connection.
    Quit,
}

/// What a hub tells a session.
#[derive(Debug, Clone, Copy)]
enum FromHub {
    /// The close frame is on its way: the session is over for the chat.
    Closing,
    /// The chat takes nothing more from the client, who is closed when everything that it has asked is answered.
    CloseWhenAnswered(Closing),
    /// The socket is not worth reading any more.
    Stop,
}

#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Enveloped {
    message: FromHub,
    in_mailbox: InMailbox,
}

/// How the hub of the same thread reaches a session: to say that it is closing, once, or is to close, and to stop it, once or, where its
/// socket is broken, once a turn until it has stopped.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    /// Weak, because it is a tenth of the size, and there are as many as connections: what keeps a session is its stream.
    address: WeakAddr<Session>,
    mailbox: Arc<Mailbox>,
}

impl SessionHandle {
    /// The close frame is on its way.
    pub(crate) fn closing(&self) {
        self.send(FromHub::Closing);
    }

    /// Closes the connection when everything that the client has asked so far is answered.
    pub(crate) fn close_when_answered(&self, closing: Closing) {
        self.send(FromHub::CloseWhenAnswered(closing));
    }

    /// Ends the session.
    pub(crate) fn stop(&self) {
        self.send(FromHub::Stop);
    }

    fn send(&self, message: FromHub) {
        // A session that has ended needs to be told nothing.
        let Some(address) = self.address.upgrade() else { return };
        #[expect(
            clippy::disallowed_methods,
            reason = "what a hub sends ends the session, each once: the bound is three"
        )]
        address.do_send(Enveloped { message, in_mailbox: self.mailbox.enter() });
    }
}

impl Session {
    /// Starts the session of a connection that the `ChatServer` has taken.
    ///
    /// `unread` is what the client sent behind its handshake; `place` is given back when the session ends. Must run
    /// on the thread of the hub.
    pub fn start(hub: &LocalHub, id: SessionId, socket: impl Into<ReadHalf>, unread: BytesMut, place: impl Any) {
        let now = clock::now();
        let config = Arc::clone(hub.config());
        let reading = Rc::new(Reading::new(config.session_credits, hub.metrics().credits()));
        let session = Self {
            id,
            hub: hub.clone(),
            reading: Rc::clone(&reading),
            frames: RateLimit::per_second(config.messages_per_second, config.burst, now),
            joins: None,
            late_pong: None,
            _place: Box::new(place),
        };
        let mailbox = Mailbox::new(hub.metrics().mailboxes(ActorKind::Session));
        let inbound = Inbound::new(hub.clone(), id, socket.into(), unread, reading);
        let address = Self::create(|ctx| {
            ctx.add_stream(inbound);
            session
        });
        hub.open(id, SessionHandle { address: address.downgrade(), mailbox });
    }

    /// Closes the connection when everything that the client has asked so far is answered. Nothing more is taken from it.
    fn close(&mut self, closing: Closing, ctx: &mut Context<Self>) {
        // At once, not when the hub says so: what stands behind it in the same read is not taken any more.
        self.reading.close();
        self.send_late_pong();
        let answered = self.reading.all_answered().into_actor(self);
        ctx.spawn(answered.map(move |(), session, _| session.hub.close(session.id, closing)));
    }

    fn on_text(&mut self, text: &str, read_at: Instant, ctx: &mut Context<Self>) {
        // Taken first: a text that comes to nothing gives it back here.
        let Some(mut credit) = self.reading.take_credit() else { return };
        self.hub.metrics().frame_received(text.len());
        let (id, asked) = if console::is_line(text) { (None, self.read_line(text)) } else { self.read_json(text) };
        let request = match (self.limit(&asked, read_at), asked) {
            (Err(refusal), _) | (Ok(()), Asked::Nonsense(refusal)) => Request::Refused(refusal),
            // After the rate limit: verifying a token costs more than reading it.
            (Ok(()), Asked::Command(command)) => self.request(command),
            (Ok(()), Asked::Help) => return self.hub.offer_line(self.id, console::HELP),
            (Ok(()), Asked::Quit) => return self.close(Closing::by_client(), ctx),
        };
        credit.expect_answer(answer_bytes(&request, text.len(), self.hub.config()));
        self.hub.chat().ask(self.id, id, request, Ticket::new(read_at, credit));
    }

    /// Lets pass what does not come too often.
    fn limit(&mut self, asked: &Asked, read_at: Instant) -> Result<(), Refusal> {
        let too_often = |what: &'static str| {
            move |wait: Duration| {
                // Rounded up: a client that waits as long as it is told is served.
                let retry_after_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                Refusal::new(ErrorCode::RateLimited, what).retry_after_ms(retry_after_ms)
            }
        };
        self.frames.take(read_at).map_err(too_often("too many frames"))?;
        if matches!(asked, Asked::Command(ClientCommand::Join { .. })) {
            let most = self.hub.config().joins_per_minute;
            let full = || Box::new(RateLimit::new(most, Duration::from_mins(1), most, read_at));
            self.joins.get_or_insert_with(full).take(read_at).map_err(too_often("too many joins"))?;
        }
        Ok(())
    }

    /// Answers in the language in which the client speaks.
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
        match console::parse_line(line, room.as_ref()) {
            Ok(ConsoleCommand::Command(command)) => Asked::Command(command.into_owned()),
            Ok(ConsoleCommand::Help) => Asked::Help,
            Ok(ConsoleCommand::Quit) => Asked::Quit,
            Err(refusal) => Asked::Nonsense(refusal),
        }
    }

    /// The request of a command: a message that is too large is refused, a token is verified.
    fn request(&self, command: ClientCommand<'static>) -> Request {
        let config = self.hub.config();
        let most = config.message_bytes as usize;
        if let ClientCommand::Message(message) = &command
            && message.text.len() > most
        {
            let text = format!("the message has {} bytes, {most} are allowed", message.text.len());
            return Request::Refused(Refusal::new(ErrorCode::MessageTooLarge, text));
        }
        if let ClientCommand::Hello { client_id, key, token: Some(token) } = &command
            && let Some(tokens) = &config.tokens
        {
            return match tokens.verify(token) {
                Ok(claims) => {
                    let key = key.as_ref().and_then(|key| key.parse().ok());
                    Request::Proven { claims: Arc::new(claims), client_id: client_id.clone(), key }
                }
                Err(bad) => Request::Refused(Refusal::new(ErrorCode::Unauthorized, bad.to_string())),
            };
        }
        Request::Command(command)
    }

    /// Answers a ping. Of those that come faster than a client may speak the newest is answered, when it may speak again:
    /// one pong answers all pings before it.
    fn on_ping(&mut self, payload: &Bytes, read_at: Instant, ctx: &mut Context<Self>) {
        let pong = frame::pong(payload);
        match self.frames.take(read_at) {
            Ok(()) => {
                self.late_pong = None;
                self.hub.offer_frame(self.id, pong);
            }
            Err(wait) => {
                if self.late_pong.replace(Box::new(pong)).is_none() {
                    // Without asking the limit again: texts could take every turn for ever.
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

/// Room for the fields of any answer that are no list and no text: names, numbers, an `id` with all characters escaped.
const FIELDS_BYTES: usize = 1_024;

/// Most bytes of a name in a list, quoted.
const LISTED_NAME_BYTES: usize = limits::NAME_BYTES_MAX + 3;

/// Most bytes of a room in a list: its name and its numbers.
const LISTED_ROOM_BYTES: usize = limits::NAME_BYTES_MAX + 64;

/// Most bytes of the answer to a request, whose frame has `frame_bytes`. A message comes back to its sender: as long as
/// it came, but that a line is quoted.
fn answer_bytes(request: &Request, frame_bytes: usize, config: &ChatConfig) -> u32 {
    let bytes = match request {
        Request::Command(
            ClientCommand::History { .. }
            | ClientCommand::InboxHistory { .. }
            | ClientCommand::Join { resume: Some(_), .. }
            | ClientCommand::JoinInbox { resume: Some(_), .. },
        ) => config.page_bytes(),
        Request::Command(ClientCommand::Members { .. }) => limits::MEMBERS_LISTED_MAX * LISTED_NAME_BYTES,
        Request::Command(ClientCommand::Rooms) => limits::ROOMS_LISTED_MAX * LISTED_ROOM_BYTES,
        Request::Command(ClientCommand::Message(_)) => 2 * frame_bytes,
        Request::Command(
            ClientCommand::Join { .. }
            | ClientCommand::JoinInbox { .. }
            | ClientCommand::Hello { .. }
            | ClientCommand::Leave { .. }
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

impl Handler<Enveloped> for Session {
    type Result = ();

    fn handle(&mut self, Enveloped { message, in_mailbox }: Enveloped, ctx: &mut Context<Self>) {
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
            // What comes now asks for nothing: its credit is for others.
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
        stage.worked(clock::now().saturating_duration_since(started));
    }

    /// The client says nothing more, and may still listen: what it has asked for is answered before the end.
    fn finished(&mut self, ctx: &mut Context<Self>) {
        if self.hub.client_ended(self.id) {
            return ctx.stop();
        }
        // Its stream kept it; now the hub ends it, when the last is said.
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
