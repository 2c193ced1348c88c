//! The client and its handles.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use starling_protocol::{
    ChangedPlace, ClientCommand, ClientId, ClientKey, HistoryPage, MembersEvent, PostMessage, RoomName, RoomSummary,
    Seq, ServerEvent, Target,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::core::{Answer, Command, Outlet};
use crate::driver::Driver;
use crate::errors::{BadName, ClosedBy, SendError};
use crate::events::{PrivateEvent, PrivateEvents, RoomEvent, RoomEvents};
use crate::history::History;
use crate::options::Options;
use crate::position::Position;

/// What a client is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The client is connecting.
    Connecting,
    /// The server has welcomed it.
    Online {
        /// The client's name.
        client_id: ClientId,
    },
    /// The client pauses before it reconnects.
    Waiting {
        /// The length of the pause.
        pause: Duration,
        /// Why the last connection or attempt ended.
        reason: String,
    },
    /// The client has ended and does not reconnect.
    Closed(ClosedBy),
}

/// Distinguishes the streams of a room.
static STREAMS: AtomicU64 = AtomicU64::new(0);

/// A client of a chat server.
///
/// Cheap to clone. The client lives until it is [closed](Self::close), or until the last of its handles and streams is
/// dropped.
#[derive(Debug, Clone)]
pub struct Client {
    asker: Asker,
    state: watch::Receiver<State>,
    key: watch::Receiver<Option<ClientKey>>,
    events_max: usize,
}

impl Client {
    /// Starts a client, which connects in the background. Must be called within a tokio runtime.
    ///
    /// It never fails: [`state`](Self::state) reports an invalid option, and a server that refuses the client.
    pub fn connect(options: Options) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let (tell_state, state) = watch::channel(State::Connecting);
        let (tell_key, key) = watch::channel(options.key);
        let events_max = options.events_max;
        tokio::spawn(Driver::new(options, received, tell_state, tell_key).run());
        Self { asker: Asker { commands }, state, key, events_max }
    }

    /// What the client is doing now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// A receiver of the newest state. It may skip states in between.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Waits until the server has welcomed the client, and returns its name.
    ///
    /// # Errors
    /// The reason that the client has ended.
    pub async fn online(&self) -> Result<ClientId, ClosedBy> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Online { client_id } => return Ok(client_id.clone()),
                State::Closed(closed) => return Err(closed.clone()),
                State::Connecting | State::Waiting { .. } => {}
            }
            if state.changed().await.is_err() {
                return Err(ClosedBy::Application);
            }
        }
    }

    /// The secret with which a later run takes the name back at once, see [`Options::key`]. `None` before the first
    /// welcome.
    pub fn key(&self) -> Option<ClientKey> {
        *self.key.borrow()
    }

    /// Joins a room, and stays in it across lost connections until its events are dropped.
    ///
    /// Only one stream of a room is open at a time: a second one replaces the first, which ends.
    ///
    /// # Errors
    /// The name is not valid.
    pub fn room(&self, name: &str) -> Result<Room, BadName> {
        self.room_with(name, RoomOptions::default())
    }

    /// Joins a room and continues after a position that the application has stored with its own data.
    ///
    /// # Errors
    /// The name is not valid.
    pub fn room_from(&self, name: &str, position: Position) -> Result<Room, BadName> {
        self.room_with(name, RoomOptions { position: Some(position), presence: false })
    }

    /// Joins a room with these options.
    ///
    /// # Errors
    /// The name is not valid.
    pub fn room_with(&self, name: &str, options: RoomOptions) -> Result<Room, BadName> {
        let room = RoomName::parse(name).map_err(|error| BadName { name: name.to_owned(), error })?;
        let (sender, events) = mpsc::channel(self.events_max);
        let (stream, is_behind) = (STREAMS.fetch_add(1, Relaxed), Arc::new(AtomicBool::new(false)));
        let RoomOptions { position, presence } = options;
        let outlet = Outlet { events: sender, is_behind: Arc::clone(&is_behind) };
        self.asker.tell(Command::Open { room: room.clone(), stream, position, presence, events: outlet });
        let commands = self.asker.commands.clone();
        let events = RoomEvents { room: room.clone(), stream, events, is_behind, commands, position };
        Ok(Room { handle: RoomHandle { asker: self.asker.clone(), room }, events })
    }

    /// A private conversation with another client.
    ///
    /// # Errors
    /// The name is not valid.
    pub fn private_with(&self, name: &str) -> Result<Private, BadName> {
        let with = ClientId::parse(name).map_err(|error| BadName { name: name.to_owned(), error })?;
        let events = self.follow(Some(with.clone()));
        Ok(Private { handle: PrivateHandle { asker: self.asker.clone(), with }, events })
    }

    /// All private messages from now on, with any other client.
    pub fn private_messages(&self) -> PrivateEvents {
        self.follow(None)
    }

    fn follow(&self, with: Option<ClientId>) -> PrivateEvents {
        let (sender, events): (mpsc::Sender<PrivateEvent>, _) = mpsc::channel(self.events_max);
        self.asker.tell(Command::Follow { with, events: sender });
        PrivateEvents { events, _commands: self.asker.commands.clone() }
    }

    /// The rooms of the server, at most 1,000, those with the most members first.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn rooms(&self) -> Result<Vec<RoomSummary>, SendError> {
        let answer = self.asker.ask(ClientCommand::Rooms).await?;
        let ServerEvent::Rooms { rooms, .. } = answer else { return Err(unexpected(&answer)) };
        Ok(rooms)
    }

    /// Ends the connection and the client. Waiting messages fail with [`SendError::Closed`]; all streams end.
    pub async fn close(self) {
        self.asker.tell(Command::Close);
        let mut state = self.state;
        // An error: the task has ended.
        while !matches!(*state.borrow_and_update(), State::Closed(_)) && state.changed().await.is_ok() {}
    }
}

/// How to join a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoomOptions {
    /// The position after which to continue; without it the stream begins with new messages.
    pub position: Option<Position>,
    /// Whether the stream contains [`RoomEvent::Presence`].
    pub presence: bool,
}

/// A room that the client is in: a handle and its events.
#[derive(Debug)]
pub struct Room {
    handle: RoomHandle,
    events: RoomEvents,
}

impl Room {
    /// See [`RoomEvents::next`].
    pub async fn next(&mut self) -> Option<RoomEvent> {
        self.events.next().await
    }

    /// See [`RoomEvents::position`].
    pub fn position(&self) -> Option<Position> {
        self.events.position()
    }

    /// Separates the handle, which can be cloned, from the events, so that different tasks can use them.
    pub fn split(self) -> (RoomHandle, RoomEvents) {
        (self.handle, self.events)
    }
}

impl std::ops::Deref for Room {
    type Target = RoomHandle;

    fn deref(&self) -> &RoomHandle {
        &self.handle
    }
}

/// Sends into a room and asks about it.
#[derive(Debug, Clone)]
pub struct RoomHandle {
    asker: Asker,
    room: RoomName,
}

impl RoomHandle {
    /// The name of the room.
    pub fn name(&self) -> &RoomName {
        &self.room
    }

    /// Sends a message, and waits until the server has accepted (and, with a stored history, stored) it.
    ///
    /// The message has an `id`, so the client can repeat it after a lost connection and the server delivers it once.
    /// Messages leave in the order of the calls. The future waits while there is no connection. If it is dropped, the
    /// client does not repeat the message, which may have been delivered already.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, text: impl Into<String>) -> Result<Receipt, SendError> {
        self.asker.post(Target::Room(self.room.clone()), text.into()).await
    }

    /// Says that the user has read all messages up to this one. Returns how far the server knows now: a position never goes
    /// back. The client's other connections get [`RoomEvent::Read`](crate::RoomEvent::Read).
    ///
    /// # Errors
    /// [`SendError`]; [`Unconfirmed`](SendError::Unconfirmed) if the connection is lost: on the next one the number may mean
    /// another message.
    pub async fn read(&self, seq: Seq) -> Result<Seq, SendError> {
        self.asker.read(ChangedPlace::Room(self.room.clone()), seq).await
    }

    /// The messages of the room, the newest first, read page by page.
    pub fn history(&self) -> History {
        self.pages(HistoryPage::Newest)
    }

    /// The messages of the room before this one, the newest first. With the `seq` of [`RoomEvent::Joined`] plus one,
    /// they end where the events begin: no message is missing, and none comes twice.
    ///
    /// [`RoomEvent::Joined`]: crate::RoomEvent::Joined
    pub fn history_before(&self, seq: Seq) -> History {
        self.pages(HistoryPage::Before(seq))
    }

    /// The messages of the room after this one, the oldest first. `Seq(0)`: from the beginning.
    pub fn history_after(&self, seq: Seq) -> History {
        self.pages(HistoryPage::After(seq))
    }

    fn pages(&self, from: HistoryPage) -> History {
        History::new(self.asker.clone(), Some(self.room.clone()), None, from)
    }

    /// The members of the room.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn members(&self) -> Result<MembersEvent, SendError> {
        let answer = self.asker.ask(ClientCommand::Members { room: self.room.clone() }).await?;
        let ServerEvent::Members(members) = answer else { return Err(unexpected(&answer)) };
        Ok(members)
    }
}

/// A private conversation: a handle and its messages.
#[derive(Debug)]
pub struct Private {
    handle: PrivateHandle,
    events: PrivateEvents,
}

impl Private {
    /// See [`PrivateEvents::next`].
    pub async fn next(&mut self) -> Option<PrivateEvent> {
        self.events.next().await
    }

    /// Separates the handle, which can be cloned, from the events.
    pub fn split(self) -> (PrivateHandle, PrivateEvents) {
        (self.handle, self.events)
    }
}

impl std::ops::Deref for Private {
    type Target = PrivateHandle;

    fn deref(&self) -> &PrivateHandle {
        &self.handle
    }
}

/// Sends to another client.
#[derive(Debug, Clone)]
pub struct PrivateHandle {
    asker: Asker,
    with: ClientId,
}

impl PrivateHandle {
    /// Sends a private message, as [`RoomHandle::send`] does to a room. Its receipt has no `seq`.
    ///
    /// # Errors
    /// [`SendError`]; `no_such_client` if no client has the name and the server does not store private messages.
    pub async fn send(&self, text: impl Into<String>) -> Result<Receipt, SendError> {
        self.asker.post(Target::Client(self.with.clone()), text.into()).await
    }

    /// Says that the user has read all private messages up to this one, as [`RoomHandle::read`] does in a room. The messages
    /// with all clients have one numbering. Only if the server stores private messages.
    ///
    /// # Errors
    /// See [`RoomHandle::read`].
    pub async fn read(&self, seq: Seq) -> Result<Seq, SendError> {
        self.asker.read(ChangedPlace::Inbox, seq).await
    }

    /// The messages with the other client, the newest first. Only if the server stores private messages.
    pub fn history(&self) -> History {
        History::new(self.asker.clone(), None, Some(self.with.clone()), HistoryPage::Newest)
    }
}

/// The server has accepted a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its `seq` in the room. `None` for a private message.
    pub seq: Option<Seq>,
    /// When the server accepted it, in milliseconds since the Unix epoch by the server's clock.
    pub at: u64,
    /// Whether the server had already accepted it on an earlier connection.
    pub duplicate: bool,
}

/// Sends commands to the client's task.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    commands: mpsc::UnboundedSender<Command>,
}

impl Asker {
    fn tell(&self, command: Command) {
        if self.commands.send(command).is_err() {
            log::debug!("the client has ended");
        }
    }

    pub(crate) async fn ask_about(&self, command: ClientCommand<'static>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.tell(Command::Ask { command, answer });
        answered.await.unwrap_or(Err(SendError::Closed))
    }

    async fn ask(&self, command: ClientCommand<'static>) -> Result<ServerEvent<'static>, SendError> {
        self.ask_about(command).await.map(|answered| answered.event)
    }

    async fn read(&self, place: ChangedPlace, seq: Seq) -> Result<Seq, SendError> {
        let answer = self.ask(ClientCommand::Read { place, seq }).await?;
        let ServerEvent::Read(read) = answer else { return Err(unexpected(&answer)) };
        Ok(read.seq)
    }

    async fn post(&self, target: Target, text: String) -> Result<Receipt, SendError> {
        let message = PostMessage { text: text.into(), target, client_id: None, reply_to: None };
        let answer = self.ask(ClientCommand::Message(message)).await?;
        let ServerEvent::Ack(ack) = answer else { return Err(unexpected(&answer)) };
        Ok(Receipt { seq: ack.seq, at: ack.at, duplicate: ack.duplicate })
    }
}

/// An answer of another type than the question requires: the server breaks the protocol.
pub(crate) fn unexpected(event: &ServerEvent<'_>) -> SendError {
    log::warn!("the server's answer has the wrong type: {event:?}");
    SendError::Unconfirmed
}
