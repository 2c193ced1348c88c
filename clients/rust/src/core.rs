//! The client's reactions to commands of its application and events of the server. No I/O, no clock.
//!
//! Invariants:
//! - A stream of a room gets each `seq` once, in order and without a gap, or a report that messages were lost.
//! - A message is repeated only with the client name of its first attempt, and only while the server remembers its
//!   `id`.
//! - All queues are bounded: streams by their capacity, messages and questions by `unsent_max`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use starling_protocol::{
    ClientCommand, ClientId, ClientKey, CommandFrame, Epoch, ErrorCode, JoinedEvent, MessageId, Refusal, RoomName, Seq,
    ServerEvent, Welcome, codec,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::errors::SendError;
use crate::events::{MessageChange, PrivateEvent, RoomEvent};
use crate::pacing::Pacing;
use crate::position::{Follows, Position};

/// The most messages and questions without an answer. It is less than 20, because the server closes a connection after
/// 20 refusals in a row.
const IN_FLIGHT_MAX: usize = 16;

/// The server remembers the `id` of a message for five minutes. The difference allows for the time on the network.
const REMEMBERED: Duration = Duration::from_secs(290);

/// The pause after `unavailable` if the server does not state one.
const UNAVAILABLE: Duration = Duration::from_secs(1);

/// The answer to a message or a question.
pub(crate) type Answer = Result<Answered, SendError>;

/// The server's answer, and the epoch of its sequence, if the client follows that sequence.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) event: ServerEvent<'static>,
    pub(crate) epoch: Option<Epoch>,
}

/// A command of the application.
#[derive(Debug)]
pub(crate) enum Command {
    /// Join a room and deliver its events. Replaces an earlier stream of the room.
    Open { room: RoomName, stream: u64, position: Option<Position>, presence: bool, events: Outlet },
    /// A stream of a room was dropped.
    Shut { room: RoomName, stream: u64 },
    /// A stream of a room that was full has space again.
    CaughtUp { room: RoomName, stream: u64 },
    /// Deliver private messages with one other client or with all.
    Follow { with: Option<ClientId>, events: mpsc::Sender<PrivateEvent> },
    /// Send a message or a question.
    Ask { command: ClientCommand<'static>, answer: oneshot::Sender<Answer> },
    /// End the connection and the client.
    Close,
}

/// Puts events into a room's stream.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) events: mpsc::Sender<RoomEvent>,
    /// The stream was full and must report when it has space.
    pub(crate) is_behind: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Room {
    stream: u64,
    outlet: Outlet,
    presence: bool,
    position: Option<Position>,
    stage: Stage,
    /// Messages were lost, and the stream does not know yet.
    is_loss_untold: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// The client joins at this time.
    Out(Option<Instant>),
    /// `join` was sent with this `id`. Messages are ignored until its answer, because they may follow a gap.
    Joining(MessageId),
    In,
    /// The stream is full: messages are ignored, and fetched again when it has space.
    Behind,
}

/// The private messages that the server stores.
#[derive(Debug, Default)]
struct Inbox {
    position: Option<Position>,
    /// The newest message; before the first message, the one in the first `welcome`.
    first: Option<Position>,
    /// The `id` of the `join` that has no answer.
    joining: Option<MessageId>,
    needs_join: bool,
}

#[derive(Debug)]
struct Follower {
    with: Option<ClientId>,
    events: mpsc::Sender<PrivateEvent>,
    is_gap_untold: bool,
}

#[derive(Debug)]
struct Outgoing {
    id: MessageId,
    command: ClientCommand<'static>,
    answer: oneshot::Sender<Answer>,
    /// The time and the client name of the first attempt.
    sent: Option<(Instant, Option<ClientId>)>,
    is_in_flight: bool,
}

/// The state of a client.
#[derive(Debug)]
pub(crate) struct Core {
    /// The name that the application wants. `None` for a guest, and if the token contains the name.
    wanted: Option<ClientId>,
    /// The name that the server has given.
    name: Option<ClientId>,
    key: Option<ClientKey>,
    unsent_max: usize,
    /// Most bytes of a text. Unknown before the first `welcome`.
    message_bytes: Option<usize>,
    rooms: BTreeMap<RoomName, Room>,
    /// Rooms that the connection is in although no stream needs them.
    leaving: Vec<RoomName>,
    inbox: Inbox,
    followers: Vec<Follower>,
    /// In the order of the calls.
    queue: VecDeque<Outgoing>,
    token_to_show: Option<String>,
    pacing: Option<Pacing>,
    /// The start of the ids of this run, and their number.
    run: u64,
    ids: u64,
}

impl Core {
    pub(crate) fn new(wanted: Option<ClientId>, key: Option<ClientKey>, unsent_max: usize) -> Self {
        Self {
            wanted,
            name: None,
            key,
            unsent_max,
            message_bytes: None,
            rooms: BTreeMap::new(),
            leaving: Vec::new(),
            inbox: Inbox::default(),
            followers: Vec::new(),
            queue: VecDeque::new(),
            token_to_show: None,
            pacing: None,
            run: fastrand::u64(..),
            ids: 0,
        }
    }

    /// The name, the key and the room of the next handshake.
    pub(crate) fn handshake(&self) -> (Option<&RoomName>, Option<&ClientId>, Option<ClientKey>) {
        (self.rooms.keys().next(), self.wanted.as_ref(), self.key)
    }

    pub(crate) fn key(&self) -> Option<ClientKey> {
        self.key
    }

    fn next_id(&mut self) -> Option<MessageId> {
        self.ids += 1;
        MessageId::parse(&format!("{:016x}-{}", self.run, self.ids)).ok()
    }

    /// Handles a command of the application. Returns whether the client continues.
    pub(crate) fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Open { room, stream, position, presence, events } => {
                self.open(room, stream, position, presence, events);
            }
            Command::Shut { room, stream } => {
                if self.rooms.get(&room).is_some_and(|open| open.stream == stream) {
                    self.shut(&room);
                }
            }
            Command::CaughtUp { room, stream } => {
                if let Some(open) = self.rooms.get_mut(&room)
                    && open.stream == stream
                    && open.stage == Stage::Behind
                {
                    open.stage = Stage::Out(None);
                }
            }
            Command::Follow { with, events } => {
                self.followers.retain(|follower| !follower.events.is_closed());
                self.followers.push(Follower { with, events, is_gap_untold: false });
            }
            Command::Ask { command, answer } => self.ask(command, answer),
            Command::Close => return false,
        }
        true
    }

    fn open(&mut self, room: RoomName, stream: u64, position: Option<Position>, presence: bool, outlet: Outlet) {
        self.leaving.retain(|left| *left != room);
        let open = Room { stream, outlet, presence, position, stage: Stage::Out(None), is_loss_untold: false };
        self.rooms.insert(room, open);
    }

    fn shut(&mut self, room: &RoomName) {
        let was_sent = |stage: &Stage| matches!(stage, Stage::Joining(_) | Stage::In | Stage::Behind);
        if self.rooms.remove(room).is_some_and(|shut| was_sent(&shut.stage)) && self.pacing.is_some() {
            self.leaving.push(room.clone());
        }
    }

    fn ask(&mut self, command: ClientCommand<'static>, answer: oneshot::Sender<Answer>) {
        self.queue.retain(|waiting| !waiting.answer.is_closed());
        if let Some(refusal) = self.too_large(&command) {
            return reply(answer, Err(SendError::Refused(refusal)));
        }
        let id = if self.queue.len() < self.unsent_max { self.next_id() } else { None };
        match id {
            Some(id) => self.queue.push_back(Outgoing { id, command, answer, sent: None, is_in_flight: false }),
            None => reply(answer, Err(SendError::TooManyUnsent)),
        }
    }

    /// The server's refusal of a text that is too long. The client makes it, because the server closes the connection
    /// if a frame is too large.
    fn too_large(&self, command: &ClientCommand<'_>) -> Option<Refusal> {
        let (ClientCommand::Message(message), Some(most)) = (command, self.message_bytes) else { return None };
        let text = format!("a message has at most {most} bytes");
        (message.text.len() > most).then(|| Refusal::new(ErrorCode::MessageTooLarge, text))
    }

    /// Sends the next token before the old one expires.
    pub(crate) fn show_token(&mut self, token: String) {
        self.token_to_show = Some(token);
    }

    /// The server has accepted the connection. `is_first`: it is not the answer to a `hello`.
    pub(crate) fn welcomed(&mut self, welcome: &Welcome, is_first: bool, now: Instant) {
        self.name = Some(welcome.client_id.clone());
        self.key = Some(welcome.key);
        if !is_first {
            return;
        }
        self.pacing = Some(Pacing::new(&welcome.limits, now));
        self.message_bytes = usize::try_from(welcome.limits.message_bytes).ok();
        let first_room = welcome.first_room.as_ref().map(|first| &first.room);
        self.leaving.extend(first_room.filter(|room| !self.rooms.contains_key(*room)).cloned());
        if let Some(inbox) = welcome.inbox {
            let newest = Position { seq: inbox.seq, epoch: inbox.epoch, at: None };
            self.inbox.needs_join = self.inbox.first.is_some();
            self.inbox.first.get_or_insert(newest);
        }
        self.give_up(now);
    }

    /// Fails the messages that are too long for this server, and what may have been delivered and can no longer be sent
    /// again.
    fn give_up(&mut self, now: Instant) {
        let name = self.name.clone();
        let is_lost = |waiting: &Outgoing| {
            let is_message = matches!(waiting.command, ClientCommand::Message(_));
            let is_repeatable =
                waiting.sent.as_ref().is_none_or(|(at, by)| *by == name && now.duration_since(*at) < REMEMBERED);
            // The number of a message may mean another one on this connection.
            let is_read = matches!(waiting.command, ClientCommand::Read { .. });
            is_read || (is_message && !waiting.is_in_flight && !is_repeatable)
        };
        for waiting in std::mem::take(&mut self.queue) {
            if let Some(refusal) = self.too_large(&waiting.command) {
                reply(waiting.answer, Err(SendError::Refused(refusal)));
            } else if is_lost(&waiting) {
                reply(waiting.answer, Err(SendError::Unconfirmed));
            } else if !waiting.answer.is_closed() {
                self.queue.push_back(waiting);
            }
        }
    }

    /// The connection has ended.
    pub(crate) fn lost(&mut self) {
        self.pacing = None;
        self.leaving.clear();
        self.token_to_show = None;
        self.inbox.joining = None;
        for room in self.rooms.values_mut() {
            if room.stage != Stage::Behind {
                room.stage = Stage::Out(None);
            }
        }
        for waiting in &mut self.queue {
            waiting.is_in_flight = false;
        }
    }

    /// The client ends: everything that waits fails.
    pub(crate) fn end(&mut self) {
        self.rooms.clear();
        self.followers.clear();
        for waiting in self.queue.drain(..) {
            reply(waiting.answer, Err(SendError::Closed));
        }
    }

    /// The next frame to send.
    ///
    /// # Errors
    /// There is none now. If only time is missing, the time at which there may be one.
    pub(crate) fn next_frame(&mut self, now: Instant) -> Result<String, Option<Instant>> {
        let Some(kind) = self.next_kind(now)? else { return Err(None) };
        let Some(pacing) = &mut self.pacing else { return Err(None) };
        pacing.take(now).map_err(Some)?;
        self.frame(kind, now).ok_or(None)
    }

    /// The next thing to send.
    fn next_kind(&mut self, now: Instant) -> Result<Option<Next>, Option<Instant>> {
        if self.pacing.is_none() {
            return Err(None);
        }
        if self.token_to_show.is_some() {
            return Ok(Some(Next::Token));
        }
        if !self.leaving.is_empty() {
            return Ok(Some(Next::Leave));
        }
        let mut soonest = None;
        for (name, room) in &self.rooms {
            match room.stage {
                Stage::Out(Some(at)) if at > now => soonest = soonest.into_iter().chain([at]).min(),
                Stage::Out(_) => return Ok(Some(Next::Join(name.clone()))),
                Stage::Joining(_) | Stage::In | Stage::Behind => {}
            }
        }
        if self.inbox.needs_join {
            return Ok(Some(Next::JoinInbox));
        }
        let in_flight = self.queue.iter().filter(|waiting| waiting.is_in_flight).count();
        let waits = self.queue.iter().position(|waiting| !waiting.is_in_flight);
        match waits.filter(|_| in_flight < IN_FLIGHT_MAX) {
            Some(at) => Ok(Some(Next::Queued(at))),
            None => Err(soonest),
        }
    }

    fn frame(&mut self, next: Next, now: Instant) -> Option<String> {
        let id = self.next_id()?;
        let (id, command) = match next {
            Next::Token => {
                let token = self.token_to_show.take()?.into();
                (Some(id), ClientCommand::Hello { client_id: None, key: None, token: Some(token) })
            }
            Next::Leave => (Some(id), ClientCommand::Leave { room: self.leaving.pop()? }),
            Next::Join(name) => {
                let room = self.rooms.get_mut(&name)?;
                room.stage = Stage::Joining(id.clone());
                let resume = room.position.map(Position::resume);
                (Some(id), ClientCommand::Join { room: name, resume, presence: room.presence })
            }
            Next::JoinInbox => {
                self.inbox.needs_join = false;
                self.inbox.joining = Some(id.clone());
                let resume = self.inbox.position.or(self.inbox.first).map(Position::resume);
                (Some(id), ClientCommand::JoinInbox { resume })
            }
            Next::Queued(at) => {
                let waiting = self.queue.get_mut(at)?;
                waiting.is_in_flight = true;
                waiting.sent.get_or_insert_with(|| (now, self.name.clone()));
                let frame = CommandFrame { id: Some(waiting.id.clone()), command: waiting.command.clone() };
                return Some(codec::encode_command(&frame));
            }
        };
        Some(codec::encode_command(&CommandFrame { id, command }))
    }

    /// Takes an event of the server, other than `welcome` and `closing`.
    pub(crate) fn event(&mut self, event: ServerEvent<'_>, now: Instant) {
        match event.into_owned() {
            ServerEvent::Message(message) => {
                let (seq, at) = (message.seq, message.at);
                if let Some((room, seq)) = message.room.clone().zip(seq) {
                    self.room_entry(&room, (seq, at), RoomEvent::Message(message));
                } else if message.room.is_none() {
                    let (from, to) = (message.client_id.clone(), message.to.clone());
                    self.private_entry(seq, at, (&from, to.as_ref()), &PrivateEvent::Message(message));
                }
            }
            ServerEvent::Edited(edited) => self.changed(MessageChange::Edited(edited)),
            ServerEvent::Deleted(deleted) => self.changed(MessageChange::Deleted(deleted)),
            ServerEvent::Reaction(reaction) => self.changed(MessageChange::Reaction(reaction)),
            ServerEvent::Joined(joined) => self.joined(&joined),
            ServerEvent::Left { id: None, room } => {
                if let Some(open) = self.rooms.remove(&room) {
                    tell(&open.outlet, RoomEvent::Left);
                }
            }
            ServerEvent::Presence(presence) => {
                let event = RoomEvent::Presence { joined: presence.joined, left: presence.left, count: presence.count };
                if let Some(open) = self.rooms.get_mut(&presence.room)
                    && open.stage == Stage::In
                {
                    // Presence is about the current moment: a full stream does not get it later.
                    open.outlet.events.try_send(event).unwrap_or_default();
                }
            }
            ServerEvent::Read(read) if read.id.is_some() => self.answered(read.id.clone(), ServerEvent::Read(read)),
            ServerEvent::Read(read) => {
                let event = RoomEvent::Read { client_id: read.client_id, seq: read.seq };
                if let Some(open) = read.room.and_then(|room| self.rooms.get_mut(&room))
                    && open.stage == Stage::In
                {
                    // Like presence.
                    open.outlet.events.try_send(event).unwrap_or_default();
                }
            }
            ServerEvent::Typing(typing) => {
                let event = RoomEvent::Typing { client_ids: typing.client_ids, more: typing.more };
                if let Some(open) = typing.room.and_then(|room| self.rooms.get_mut(&room))
                    && open.stage == Stage::In
                {
                    // Like presence.
                    open.outlet.events.try_send(event).unwrap_or_default();
                }
            }
            ServerEvent::Settings(event) => {
                if let Some(open) = self.rooms.get_mut(&event.room)
                    && open.stage == Stage::In
                    && !tell(&open.outlet, RoomEvent::Settings(event.settings))
                {
                    // The next `joined` has them.
                    open.stage = Stage::Behind;
                }
            }
            ServerEvent::Error(refusal) => self.refused(refusal, now),
            ServerEvent::Ack(ack) => self.answered(Some(ack.id.clone()), ServerEvent::Ack(ack)),
            ServerEvent::Members(members) => self.answered(members.id.clone(), ServerEvent::Members(members)),
            ServerEvent::History(history) => self.answered(history.id.clone(), ServerEvent::History(history)),
            ServerEvent::Rooms { id, rooms, truncated } => {
                self.answered(id.clone(), ServerEvent::Rooms { id, rooms, truncated });
            }
            // The client has asked to leave; it sends no `ping`; the driver handles the others.
            ServerEvent::Left { id: Some(_), .. }
            | ServerEvent::Pong { .. }
            | ServerEvent::Welcome(_)
            | ServerEvent::Closing { .. } => {}
        }
    }

    fn take(&mut self, id: &MessageId) -> Option<Outgoing> {
        let at = self.queue.iter().position(|waiting| waiting.id == *id)?;
        self.queue.remove(at)
    }

    fn answered(&mut self, id: Option<MessageId>, event: ServerEvent<'static>) {
        let Some(waiting) = id.and_then(|id| self.take(&id)) else { return };
        // A connection joins its rooms before it asks for pages, so this is the epoch of the server that has answered.
        let position = if let ClientCommand::History { room, .. } = &waiting.command {
            self.rooms.get(room).and_then(|room| room.position)
        } else {
            self.inbox.position.or(self.inbox.first)
        };
        reply(waiting.answer, Ok(Answered { event, epoch: position.map(|position| position.epoch) }));
    }

    fn changed(&mut self, change: MessageChange) {
        let ((seq, at), (room, from, to)) = (change.place(), change.target());
        if let Some(room) = room.cloned() {
            return self.room_entry(&room, (seq, at), RoomEvent::Changed(change));
        }
        let (from, to) = (from.clone(), to.cloned());
        self.private_entry(Some(seq), at, (&from, to.as_ref()), &PrivateEvent::Changed(change));
    }

    /// Takes a message of a room, or a change of one.
    fn room_entry(&mut self, room: &RoomName, (seq, at): (Seq, u64), event: RoomEvent) {
        let Some(room) = self.rooms.get_mut(room) else { return };
        let (Stage::In, Some(position)) = (&room.stage, room.position) else { return };
        match position.follows(seq) {
            Follows::Known => {}
            Follows::Gap => {
                log::warn!(
                    "message {seq} came directly after message {}: resuming the room to get the messages between them",
                    position.seq
                );
                room.stage = Stage::Out(None);
            }
            Follows::Next => {
                if tell(&room.outlet, event) {
                    room.position = Some(Position { seq, epoch: position.epoch, at: Some(at) });
                } else {
                    room.stage = Stage::Behind;
                }
            }
        }
    }

    fn joined(&mut self, joined: &JoinedEvent) {
        let newest = Position { seq: joined.seq, epoch: joined.epoch, at: None };
        let Some(name) = &joined.room else { return self.joined_inbox(joined, newest) };
        let Some(room) = self.rooms.get_mut(name) else { return };
        if !matches!((&room.stage, &joined.id), (Stage::Joining(asked), Some(id)) if asked == id) {
            return;
        }
        let hidden = joined.visible_after.map(|seq| Position { seq, ..newest });
        if joined.recovered == Some(false)
            && hidden.is_some_and(|hidden| {
                room.position.is_some_and(|own| own.epoch == hidden.epoch && own.seq < hidden.seq)
            })
        {
            // What lies between is not for this client, and what comes after it is still to come.
            room.position = hidden;
            room.stage = Stage::Out(None);
            return;
        }
        room.is_loss_untold |= joined.recovered == Some(false);
        if joined.recovered != Some(true) {
            room.position = Some(newest);
        }
        let recovered = !room.is_loss_untold;
        let settings = joined.settings.clone().unwrap_or_default();
        let &JoinedEvent { seq, epoch, count, visible_after, .. } = joined;
        let event = RoomEvent::Joined { recovered, seq, epoch, count, settings, visible_after };
        if tell(&room.outlet, event) {
            room.is_loss_untold = false;
            room.stage = Stage::In;
        } else {
            room.stage = Stage::Behind;
        }
    }

    fn joined_inbox(&mut self, joined: &JoinedEvent, newest: Position) {
        // Without the `id` of a question, an operator has emptied the inbox.
        if joined.id.is_some() && joined.id != self.inbox.joining {
            return;
        }
        self.inbox.joining = None;
        if joined.recovered != Some(true) {
            self.inbox.position = Some(newest);
        }
        if joined.recovered == Some(false) {
            self.followers.iter_mut().for_each(Follower::tell_gap);
        }
    }

    /// Takes a private message from and to these clients, or a change of one.
    fn private_entry(
        &mut self,
        seq: Option<Seq>,
        at: u64,
        (from, to): (&ClientId, Option<&ClientId>),
        event: &PrivateEvent,
    ) {
        if let Some(seq) = seq {
            let is_waiting = self.inbox.joining.is_some() || self.inbox.needs_join;
            let Some(epoch) = self.inbox.position.or(self.inbox.first).map(|known| known.epoch) else { return };
            match self.inbox.position.map(|position| position.follows(seq)) {
                _ if is_waiting => return,
                Some(Follows::Known) => return,
                Some(Follows::Gap) => return self.inbox.needs_join = true,
                None | Some(Follows::Next) => {}
            }
            self.inbox.position = Some(Position { seq, epoch, at: Some(at) });
        }
        let name = self.name.as_ref();
        let other = if name == Some(from) { to } else { Some(from) };
        self.followers.retain_mut(|follower| {
            if follower.with.is_some() && follower.with.as_ref() != other {
                return !follower.events.is_closed();
            }
            follower.tell(event.clone());
            !follower.events.is_closed()
        });
    }

    fn refused(&mut self, refusal: Refusal, now: Instant) {
        let Some(id) = refusal.id.clone() else {
            return log::warn!("the server has refused a frame: {refusal}");
        };
        let wait = wait_of(&refusal);
        let asked = |room: &Room| matches!(&room.stage, Stage::Joining(asked) if *asked == id);
        if let Some(name) = self.rooms.iter().find(|(_, room)| asked(room)).map(|(name, _)| name.clone()) {
            match (wait, self.rooms.get_mut(&name)) {
                (Some(wait), Some(room)) => room.stage = Stage::Out(Some(now + wait)),
                _ => {
                    if let Some(room) = self.rooms.remove(&name) {
                        tell(&room.outlet, RoomEvent::Refused(refusal));
                    }
                }
            }
            return;
        }
        if self.inbox.joining.as_ref() == Some(&id) {
            self.inbox.joining = None;
            self.inbox.needs_join = wait.is_some();
        }
        let Some(wait) = wait else {
            if let Some(waiting) = self.take(&id) {
                reply(waiting.answer, Err(SendError::Refused(refusal)));
            }
            return;
        };
        if let Some(waiting) = self.queue.iter_mut().find(|waiting| waiting.id == id) {
            waiting.is_in_flight = false;
            // It was refused, so it was not delivered.
            waiting.sent = None;
        }
        if let Some(pacing) = &mut self.pacing {
            pacing.pause_until(now + wait);
        }
    }
}

impl Follower {
    fn tell(&mut self, event: PrivateEvent) {
        if self.is_gap_untold {
            self.tell_gap();
        }
        self.is_gap_untold = self.is_gap_untold || self.events.try_send(event).is_err();
    }

    /// Reports missing messages as soon as the stream has space.
    fn tell_gap(&mut self) {
        self.is_gap_untold = self.events.try_send(PrivateEvent::Gap).is_err();
    }
}

/// The next thing to send.
enum Next {
    Token,
    Leave,
    Join(RoomName),
    JoinInbox,
    /// The message or question at this index of the queue.
    Queued(usize),
}

/// The time to wait before the refused frame may be sent again. `None`: it will be refused again.
fn wait_of(refusal: &Refusal) -> Option<Duration> {
    let asked = refusal.retry_after_ms.map(Duration::from_millis);
    let passes = matches!(refusal.code, ErrorCode::RateLimited | ErrorCode::Unavailable);
    passes.then(|| asked.unwrap_or(UNAVAILABLE))
}

/// Puts an event into a stream. Returns whether there was space; if not, the stream reports when there is.
fn tell(outlet: &Outlet, event: RoomEvent) -> bool {
    let is_told = outlet.events.try_send(event).is_ok();
    if !is_told {
        outlet.is_behind.store(true, Relaxed);
    }
    is_told
}

/// Answers the application, which may no longer wait.
fn reply(answer: oneshot::Sender<Answer>, result: Answer) {
    if answer.send(result).is_err() {
        log::debug!("an answer arrived after its question was dropped");
    }
}
