//! The streams of events that an application reads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use futures_util::{Stream, StreamExt};
use starling_protocol::{
    ChatMessage, ClientId, DeletedEvent, EditedEvent, Epoch, ReactionEvent, Refusal, RoomName, RoomSettings, Seq,
};
use tokio::sync::mpsc;

use crate::core::Command;
use crate::position::Position;

/// A change of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageChange {
    /// It has another text.
    Edited(EditedEvent<'static>),
    /// It was deleted.
    Deleted(DeletedEvent),
    /// A client has reacted to it, or has taken that back.
    Reaction(ReactionEvent),
}

impl MessageChange {
    /// The number of the change, and its time in milliseconds since the Unix epoch.
    pub(crate) fn place(&self) -> (Seq, u64) {
        match self {
            Self::Edited(EditedEvent { seq, at, .. })
            | Self::Deleted(DeletedEvent { seq, at, .. })
            | Self::Reaction(ReactionEvent { seq, at, .. }) => (*seq, *at),
        }
    }

    /// The room, or the client that changed it and the other one.
    pub(crate) fn target(&self) -> (Option<&RoomName>, &ClientId, Option<&ClientId>) {
        match self {
            Self::Edited(EditedEvent { room, client_id, to, .. })
            | Self::Deleted(DeletedEvent { room, client_id, to, .. })
            | Self::Reaction(ReactionEvent { room, client_id, to, .. }) => (room.as_ref(), client_id, to.as_ref()),
        }
    }
}

/// An event of a room.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The client is in the room, for the first time or again after a lost connection.
    Joined {
        /// Whether the stream has all messages since its position. If false, some are lost: read them with
        /// [`RoomHandle::history`](crate::RoomHandle::history), if the server still has them.
        recovered: bool,
        /// The newest message of the room. The missed messages up to it follow.
        seq: Seq,
        /// The epoch of the room's sequence numbers.
        epoch: Epoch,
        /// The number of members.
        count: u32,
        /// The settings of the room.
        settings: Box<RoomSettings>,
        /// Where the room hides its history from newcomers: this client sees only what comes after this message.
        visible_after: Option<Seq>,
    },
    /// A message, the client's own ones included.
    Message(ChatMessage<'static>),
    /// A message was changed.
    Changed(MessageChange),
    /// Clients joined and left. Only if the application has [asked for it](crate::RoomOptions::presence).
    Presence {
        /// At most 50 of those that joined.
        joined: Vec<ClientId>,
        /// At most 50 of those that left.
        left: Vec<ClientId>,
        /// The exact number of members.
        count: u32,
    },
    /// A client has read the messages up to this one: this client, after [`Joined`](Self::Joined) or on another connection,
    /// or, where the server allows it, another member.
    Read {
        /// The client.
        client_id: ClientId,
        /// The newest message that it has read.
        seq: Seq,
    },
    /// An operator has changed the settings of the room. These are all of them.
    Settings(Box<RoomSettings>),
    /// Users of other clients type a message. A client says so again every few seconds while its user types.
    Typing {
        /// At most 10 of those that have said so in the last second; this client may be among them.
        client_ids: Vec<ClientId>,
        /// Whether there are more of them.
        more: bool,
    },
    /// The server has removed the client from the room, or has dropped the room. The stream ends.
    Left,
    /// The server does not let the client in. The stream ends.
    Refused(Refusal),
}

/// An event of private messages.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PrivateEvent {
    /// A message to this client, or one that this client has sent.
    Message(ChatMessage<'static>),
    /// A message was changed.
    Changed(MessageChange),
    /// Messages are missing here: the stream was full, or the server no longer has them. If the server stores private
    /// messages, [`PrivateHandle::history`](crate::PrivateHandle::history) has the remaining ones.
    Gap,
}

/// The events of a room, in order and without a gap. Dropping it leaves the room.
#[derive(Debug)]
pub struct RoomEvents {
    pub(crate) room: RoomName,
    pub(crate) stream: u64,
    pub(crate) events: mpsc::Receiver<RoomEvent>,
    pub(crate) is_behind: Arc<AtomicBool>,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) position: Option<Position>,
}

impl RoomEvents {
    /// The next event. `None`: the client has left the room or has ended, or a newer stream of the room has replaced
    /// this one.
    pub async fn next(&mut self) -> Option<RoomEvent> {
        StreamExt::next(self).await
    }

    /// The position after the last event that [`next`](Self::next) has returned. `None`: the room has not been joined
    /// yet.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    fn ask_for_more(&self) {
        if self.is_behind.load(Relaxed) && self.events.len() <= self.events.max_capacity() / 2 {
            self.is_behind.store(false, Relaxed);
            self.tell(Command::CaughtUp { room: self.room.clone(), stream: self.stream });
        }
    }

    fn tell(&self, command: Command) {
        if self.commands.send(command).is_err() {
            log::debug!("the client has ended");
        }
    }
}

impl Stream for RoomEvents {
    type Item = RoomEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomEvent>> {
        self.ask_for_more();
        let event = ready!(self.events.poll_recv(cx));
        self.ask_for_more();
        match &event {
            Some(RoomEvent::Joined { recovered, seq, epoch, .. }) if !recovered || self.position.is_none() => {
                self.position = Some(Position { seq: *seq, epoch: *epoch, at: None });
            }
            Some(RoomEvent::Message(message)) => {
                if let (Some(seq), Some(position)) = (message.seq, &mut self.position) {
                    *position = Position { seq, epoch: position.epoch, at: Some(message.at) };
                }
            }
            _ => {}
        }
        Poll::Ready(event)
    }
}

impl Drop for RoomEvents {
    fn drop(&mut self) {
        self.tell(Command::Shut { room: self.room.clone(), stream: self.stream });
    }
}

/// Private messages with one other client or with all.
#[derive(Debug)]
pub struct PrivateEvents {
    pub(crate) events: mpsc::Receiver<PrivateEvent>,
    /// Keeps the client alive.
    pub(crate) _commands: mpsc::UnboundedSender<Command>,
}

impl PrivateEvents {
    /// The next event. `None`: the client has ended.
    pub async fn next(&mut self) -> Option<PrivateEvent> {
        self.events.recv().await
    }
}

impl Stream for PrivateEvents {
    type Item = PrivateEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PrivateEvent>> {
        self.events.poll_recv(cx)
    }
}
