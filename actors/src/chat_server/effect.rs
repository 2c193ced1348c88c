//! Everything that comes out of the chat's state machine: a turn, which collects the effects of one command.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use starling_protocol::{ChatMessage, ClientId, CloseCode, Refusal, RoomName, RoomSummary, Seq, ServerEvent};
use tokio::sync::oneshot;

use super::command::{
    Decided, DecisionReply, DropError, DropReply, Frame, Named, NotDecided, NotDone, OpenRefusal, PostReply, Posted,
    RemoveReply,
};
use crate::clock::Now;
use crate::credits::Ticket;
use crate::followers::RoomPosition;
use crate::history::{Entry, OwnLimits, Page, ReadError, ReadRequest, Receipt, Standing, StoredMessage};
use crate::hub::{Replay, ToSession};
use crate::identity::IdOwner;
use crate::ids::{HubSet, RoomId, SessionId};
use crate::metrics::Limit;
use crate::moderation::invitations::Invitation;
use crate::moderation::{AuditEntry, Decision, Row, Sanction};
use crate::nodes::known::{KnownNode, NodeChange};
use crate::nodes::record::{Incarnation, LogPosition, RecordId};
use crate::nodes::typing::TypingNotice;
use crate::room_settings::RoomSettings;

/// Collects the effects of one command, in the order in which they are to be performed.
#[derive(Debug)]
pub struct Turn {
    /// The time of the whole turn: every rule of one command sees the same time.
    pub now: Now,
    /// The effects so far.
    pub effects: Vec<Effect>,
}

impl Turn {
    /// A turn without effects.
    pub fn new(now: Now) -> Self {
        Self { now, effects: Vec::new() }
    }

    pub(super) fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn to(&mut self, session: SessionId, command: ToSession) {
        self.push(Effect::To { session, command });
    }

    /// Sends a session an event that answers none of its frames.
    pub(super) fn tell(&mut self, session: SessionId, event: ServerEvent<'static>) {
        self.to(session, ToSession::Tell { event: Box::new(event), ticket: None });
    }

    /// Answers a frame. The answer holds the frame's ticket until it is offered to the client.
    pub(super) fn answer(&mut self, frame: &mut Frame, event: ServerEvent<'static>) {
        let ticket = frame.ticket.take();
        self.to(frame.session, ToSession::Tell { event: Box::new(event), ticket });
    }

    /// Counts a refusal by a limit.
    pub(super) fn refused_by(&mut self, limit: Limit) {
        self.push(Effect::CountRefusal(limit));
    }

    pub(super) fn refuse(&mut self, frame: &mut Frame, refusal: Refusal) {
        let refusal = refusal.with_id(frame.id.take());
        self.answer(frame, ServerEvent::Error(refusal));
    }

    /// Answers a caller outside the chat.
    pub(super) fn reply(&mut self, answer: Answer) {
        self.push(Effect::Answer(answer));
    }

    pub(super) fn admit(&mut self, session: SessionId, room: RoomId) {
        self.to(session, ToSession::Admit { room });
    }

    pub(super) fn dismiss(&mut self, session: SessionId, room: RoomId) {
        self.to(session, ToSession::Dismiss { room });
    }

    pub(super) fn close(&mut self, session: SessionId, code: CloseCode, reason: &'static str) {
        self.to(session, ToSession::Close { code, reason });
    }

    /// Sends a session the next part of its missed messages.
    pub(super) fn replay(&mut self, session: SessionId, replay: Replay) {
        self.to(session, ToSession::Replay(replay));
    }
}

/// One action for the `ChatServer` to perform. It performs effects in their order.
#[derive(Debug)]
pub enum Effect {
    /// Send a command to one session's hub.
    To {
        /// Its id names its hub.
        session: SessionId,
        /// Ignored if the session has ended meanwhile.
        command: ToSession,
    },
    /// Send the same event to several sessions.
    TellMany {
        /// Sessions of any hubs. Each hub gets one command.
        sessions: Vec<SessionId>,
        /// Encoded once per hub and format.
        event: Box<ServerEvent<'static>>,
    },
    /// Deliver a message to all sessions that are admitted to live messages of the room.
    Deliver {
        /// A room, or an inbox whose owner is connected.
        room: RoomId,
        /// The hubs that have members of it.
        hubs: HubSet,
        /// Encoded once for all of them.
        message: Arc<StoredMessage>,
        /// Held until every hub has offered the message to its members.
        ticket: Ticket,
    },
    /// Deliver a private message that is not stored.
    DeliverPrivate {
        /// All connections of the sender and of the receiver.
        sessions: Vec<SessionId>,
        /// Has no `seq`, because it cannot be read again.
        message: Box<ChatMessage<'static>>,
        /// Held until every hub has offered the message to its members.
        ticket: Ticket,
    },
    /// With other nodes: an action on the log, on another node, or on the history that follows the log.
    Node(NodeEffect),
    /// Count a refusal by a limit.
    CountRefusal(Limit),
    /// Append a message to the history. The history reports the commit as a `Completion`.
    Append(Entry),
    /// Record in the history that all messages up to `seq` were sent to the owner of an inbox.
    NoteSent {
        /// The number of the inbox; inboxes and rooms are numbered together.
        room: RoomId,
        /// Never less than the previous `seq` of this inbox.
        seq: Seq,
    },
    /// Record in the history how far a client has read, and since when it sees a room.
    NoteRead {
        /// The client.
        owner: IdOwner,
        /// A room, or the client's inbox.
        room: RoomId,
        /// Never less read than before. `None`: the position gave way to others.
        standing: Option<Standing>,
    },
    /// Tell the history the limits of a room's own.
    Limit {
        /// A room that exists.
        room: RoomId,
        /// In place of all earlier ones.
        limits: OwnLimits,
    },
    /// Drop messages beyond the limits of rooms' own, as far as the history does not do so by itself.
    DropExcess,
    /// Store the rows of the moderation that have changed.
    KeepModeration {
        /// Later rows replace earlier ones.
        rows: Vec<Row>,
        /// Returned with the outcome, if an operator waits for it.
        receipt: Option<Receipt>,
    },
    /// Write a decision that was made here to the log of the process.
    Decided(Decision),
    /// Read a page. The outcome comes back as a `Completion` with the same token.
    Read(ReadRequest),
    /// Drop the history of a room that has ended.
    Forget {
        /// No message of it is in flight, and another room may get its number from now on.
        room: RoomId,
        /// Returned with the outcome if an operator waits for it; otherwise `None`.
        receipt: Option<Receipt>,
    },
    /// Answer a caller outside the chat.
    Answer(Answer),
    /// Tell every connection that the server shuts down, and close it.
    Drain {
        /// Sent to clients with the close; text for a person.
        reason: &'static str,
        /// The hubs spread the closes over this time.
        spread: Duration,
    },
}

/// One action of a node of several.
#[derive(Debug)]
pub enum NodeEffect {
    /// Store a message that the log of all nodes has placed. The history never refuses it.
    Keep {
        /// The message, as the store keeps it.
        entry: Entry,
        /// Its copies with their numbers, in the order of the entry.
        placed: SmallVec<[Arc<StoredMessage>; 2]>,
    },
    /// All records up to this one have been applied.
    Applied(RecordId),
    /// Tell all nodes, including this one, that a client of this node types.
    Typing(TypingNotice),
    /// Write a record into the log once more.
    Write(Bytes),
    /// Store a checkpoint: the state of all nodes behind a record.
    Checkpoint {
        /// The record.
        at: RecordId,
        /// The bytes of a [`Checkpoint`](crate::nodes::checkpoint::Checkpoint).
        state: Bytes,
    },
    /// This node has another state than another node after the same records: it must not continue.
    Diverged {
        /// The checkpoint at which they differ.
        at: LogPosition,
    },
    /// This node was declared dead, and begins another life.
    BeginsAnew(Incarnation),
    /// Tell the operator of another node.
    Changed(NodeChange),
}

/// An answer to a caller outside the chat, with the reply channel to send it on.
#[derive(Debug)]
pub enum Answer {
    /// To [`Command::OpenSession`](super::command::Command::OpenSession).
    Opened(oneshot::Sender<Result<(), OpenRefusal>>, Result<(), OpenRefusal>),
    /// To an operator's message.
    Posted(PostReply, Result<Posted, Refusal>),
    /// The number of closed connections of a removed client, on all nodes.
    Removed(RemoveReply, Result<usize, NotDone>),
    /// The outcome of a drop.
    Dropped(DropReply, Result<(), DropError>),
    /// The outcome of a decision.
    Decided(DecisionReply, Result<Decided, NotDecided>),
    /// The sanctions in force.
    Sanctions(oneshot::Sender<Vec<Sanction>>, Vec<Sanction>),
    /// The audit log.
    Audit(oneshot::Sender<Vec<(u64, AuditEntry)>>, Vec<(u64, AuditEntry)>),
    /// The settings of a room.
    Settings(oneshot::Sender<RoomSettings>, RoomSettings),
    /// The rooms with settings.
    SetRooms(oneshot::Sender<Vec<(RoomName, RoomSettings)>>, Vec<(RoomName, RoomSettings)>),
    /// The settings of a room, for a member.
    OwnSettings(oneshot::Sender<Result<RoomSettings, Refusal>>, Result<RoomSettings, Refusal>),
    /// The invitations to a room.
    Invitations(oneshot::Sender<Vec<(ClientId, Invitation)>>, Vec<(ClientId, Invitation)>),
    /// To [`Command::ReadPositions`](super::command::Command::ReadPositions).
    Positions(oneshot::Sender<Vec<RoomPosition>>, Vec<RoomPosition>),
    /// The list of rooms, and whether it was cut.
    Rooms(oneshot::Sender<(Vec<RoomSummary>, bool)>, (Vec<RoomSummary>, bool)),
    /// The names of sessions and rooms.
    Named(oneshot::Sender<Named>, Named),
    /// A page of history.
    Page(oneshot::Sender<Result<Page, ReadError>>, Result<Page, ReadError>),
    /// A tick has done all work that was due.
    Ticked(oneshot::Sender<()>),
    /// This node has left the others.
    Left(oneshot::Sender<()>),
    /// The nodes of the chat.
    Nodes(oneshot::Sender<Vec<KnownNode>>, Vec<KnownNode>),
}

impl Answer {
    /// Sends the answer. If the caller has stopped waiting, the answer is dropped.
    pub fn send(self) {
        match self {
            Self::Opened(reply, outcome) => drop(reply.send(outcome)),
            Self::Posted(reply, outcome) => drop(reply.send(outcome)),
            Self::Removed(reply, outcome) => drop(reply.send(outcome)),
            Self::Dropped(reply, outcome) => drop(reply.send(outcome)),
            Self::Decided(reply, outcome) => drop(reply.send(outcome)),
            Self::Sanctions(reply, sanctions) => drop(reply.send(sanctions)),
            Self::Audit(reply, entries) => drop(reply.send(entries)),
            Self::Settings(reply, settings) => drop(reply.send(settings)),
            Self::SetRooms(reply, rooms) => drop(reply.send(rooms)),
            Self::OwnSettings(reply, settings) => drop(reply.send(settings)),
            Self::Invitations(reply, invitations) => drop(reply.send(invitations)),
            Self::Positions(reply, positions) => drop(reply.send(positions)),
            Self::Rooms(reply, rooms) => drop(reply.send(rooms)),
            Self::Named(reply, names) => drop(reply.send(names)),
            Self::Page(reply, outcome) => drop(reply.send(outcome)),
            Self::Nodes(reply, nodes) => drop(reply.send(nodes)),
            Self::Ticked(reply) | Self::Left(reply) => drop(reply.send(())),
        }
    }
}
