//! The state of a hub and its commands; [`LocalHub`](super::LocalHub) shares it between the hub and its sessions.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use starling_protocol::console::CurrentRoom;

use super::busiest_room::{BusiestRoom, RoomDeliveries};
use super::compression::Compression;
use super::connections::{Connections, Entry};
use super::messages::{Delivery, HubCommand, ToSession};
use super::session_handle::SessionHandle;
use super::wheel::{self, Tick, Wheel};
use crate::chat_server::ChatServerHandle;
use crate::clock::{self, Instant};
use crate::config::ChatConfig;
use crate::connection::{Connection, Queued, Written};
use crate::frame::Format;
use crate::ids::{HubId, RoomId, SessionId, Slot};
use crate::metrics::{DisconnectReason, Metrics, WorkerMetrics};
use crate::socket::WriteHalf;

/// A local member of a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalMember {
    pub(super) slot: Slot,
    /// The index in the current batch of the first delivery that this member is still to be offered.
    pub(super) batch_start: u32,
}

/// A room as one hub sees it.
#[derive(Debug, Default)]
pub(super) struct LocalRoom {
    pub(super) members: Vec<LocalMember>,
    /// The messages of this turn, which are written to the members when the turn ends.
    pub(super) batch: Vec<Arc<Delivery>>,
    pub(super) deliveries: RoomDeliveries,
}

/// A connection whose socket buffer is full; a task must wait until it is writable again.
pub(super) type Blocked = SessionId;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) id: HubId,
    pub(super) config: Arc<ChatConfig>,
    pub(super) chat: ChatServerHandle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) compression: Compression,
    pub(super) worker: Arc<WorkerMetrics>,
    pub(super) connections: Connections,
    pub(super) wheel: Wheel,
    /// The number of ticks between two pings of a connection.
    pub(super) heartbeat: Tick,
    pub(super) rooms: FxHashMap<RoomId, LocalRoom>,
    pub(super) touched_rooms: Vec<RoomId>,
    pub(super) busiest_room: BusiestRoom,
    pub(super) touched: Vec<SessionId>,
    /// Empty buffers for batches; a room has one only while its batch contains messages.
    pub(super) spare_batches: Vec<Vec<Arc<Delivery>>>,
    /// Bytes in all outboxes of this hub.
    pub(super) outboxes_bytes: i64,
    /// The number of turns so far. It selects the member that is written first, so that no member is always last.
    pub(super) turn: usize,
    pub(super) written: Written,
    /// The end of the newest turn.
    pub(super) turn_ended: Instant,
    /// Whether a room with [`MANY`](super::MANY) members was written since this was last asked.
    pub(super) wrote_to_many: bool,
}

impl Core {
    pub(super) fn new(id: HubId, config: Arc<ChatConfig>, chat: ChatServerHandle, metrics: Arc<Metrics>) -> Self {
        let worker = metrics.worker(usize::from(id.0));
        let heartbeat = wheel::ticks(config.heartbeat);
        let compression = Compression::new(config.compression_bytes_min, Arc::clone(&metrics));
        Self {
            id,
            config,
            chat,
            metrics,
            compression,
            worker,
            connections: Connections::default(),
            wheel: Wheel::new(),
            heartbeat,
            rooms: FxHashMap::default(),
            touched_rooms: Vec::new(),
            busiest_room: BusiestRoom::default(),
            touched: Vec::new(),
            spare_batches: Vec::new(),
            outboxes_bytes: 0,
            turn: 0,
            written: Written::default(),
            turn_ended: clock::now(),
            wrote_to_many: false,
        }
    }

    pub(super) fn entry(&mut self, session: SessionId) -> Option<&mut Entry> {
        self.connections.get_mut(session)
    }

    // ---- opening and closing

    pub(super) fn register(&mut self, connection: Connection, format: Format) -> Option<SessionId> {
        let now = self.wheel.now();
        let head = connection.queued();
        let entry = self.connections.add(self.id, connection, format, now)?;
        let session = entry.session;
        self.wheel.put(session, &mut entry.due, now + self.heartbeat);
        self.account(head.frames, Queued::default(), head);
        Some(session)
    }

    pub(super) fn open(&mut self, session: SessionId, handle: SessionHandle) {
        if let Some(entry) = self.entry(session) {
            entry.connection.open();
            let closed_as = entry.closing.as_ref().map(|closing| closing.counted_as);
            if closed_as.is_some() {
                // It was closed before its session started.
                handle.closing();
            }
            entry.handle = Some(handle);
            self.metrics.connected();
            if let Some(counted_as) = closed_as {
                self.metrics.disconnected(counted_as);
            }
            self.touch(session);
        }
    }

    /// Forgets a connection and returns its writing half.
    pub(super) fn unregister(&mut self, session: SessionId, reason: DisconnectReason) -> Option<WriteHalf> {
        let entry = self.connections.remove(session)?;
        for (room, index) in &entry.rooms {
            self.remove_member(*room, *index);
        }
        self.account(0, entry.connection.queued(), Queued::default());
        if entry.handle.is_some() && entry.closing.is_none() {
            self.metrics.disconnected(reason);
        }
        Some(entry.connection.into_socket())
    }

    pub(super) fn heard(&mut self, session: SessionId) {
        let now = self.wheel.now();
        if let Some(entry) = self.entry(session) {
            entry.heard = now;
        }
    }

    pub(super) fn hold_back(&mut self, session: SessionId, held_back: bool) {
        self.heard(session);
        if let Some(entry) = self.entry(session) {
            entry.held_back = held_back;
        }
    }

    pub(super) fn set_format(&mut self, session: SessionId, format: Format) {
        if self.entry(session).is_none_or(|entry| entry.format == format) {
            return;
        }
        // Frames that were offered in this turn keep the old format.
        self.settle_batches(session);
        if let Some(entry) = self.entry(session) {
            entry.format = format;
        }
    }

    pub(super) fn format(&self, session: SessionId) -> Format {
        let entry = self.connections.get(session);
        entry.map_or(Format::Json, |entry| entry.format)
    }

    pub(super) fn is_deflated(&self, session: SessionId) -> bool {
        let entry = self.connections.get(session);
        entry.is_some_and(|entry| entry.is_deflated)
    }

    pub(super) fn current_room(&self, session: SessionId) -> CurrentRoom {
        self.connections.get(session).map_or(CurrentRoom::First, Entry::room_of_lines)
    }

    // ---- commands

    pub(super) fn perform(&mut self, command: HubCommand, now: Instant) {
        match command {
            HubCommand::To { session, command } => self.perform_for(session, command, now),
            HubCommand::TellMany { sessions, event } => self.tell(&sessions, &event, now),
            HubCommand::Deliver { room, delivery } => self.deliver(room, delivery),
            HubCommand::DeliverPrivate { sessions, delivery } => self.deliver_private(&sessions, &delivery, now),
            HubCommand::Drain { .. } => debug_assert!(false, "the hub drains over time, not in a command"),
        }
    }

    fn perform_for(&mut self, session: SessionId, command: ToSession, now: Instant) {
        match command {
            // The ticket returns its credit after the answer is offered.
            ToSession::Tell { event, ticket: _ticket } => self.tell(&[session], &event, now),
            ToSession::Admit { room } => self.admit(session, room),
            ToSession::Dismiss { room } => self.dismiss(session, room),
            ToSession::Replay(replay) => self.replay(session, &replay, now),
            ToSession::Close { code, reason } => self.close_for_chat(session, code, reason, now),
        }
    }

    /// Has the next tick examine a connection, even if its ping is due later.
    pub(super) fn look_soon(&mut self, session: SessionId) {
        let next_tick = self.wheel.now() + 1;
        if let Some(entry) = self.connections.get_mut(session) {
            self.wheel.put(session, &mut entry.due, next_tick);
        }
    }

    pub(super) fn touch(&mut self, session: SessionId) {
        if let Some(entry) = self.entry(session)
            && !entry.touched
        {
            entry.touched = true;
            self.touched.push(session);
        }
    }

    fn admit(&mut self, session: SessionId, room: RoomId) {
        let Some(entry) = self.connections.get_mut(session) else {
            return;
        };
        if entry.rooms.iter().any(|(other, _)| *other == room) {
            return;
        }
        let local = self.rooms.entry(room).or_default();
        let (Ok(index), Ok(batch_start)) = (u32::try_from(local.members.len()), u32::try_from(local.batch.len()))
        else {
            return;
        };
        entry.rooms.push((room, index));
        local.members.push(LocalMember { slot: session.slot(), batch_start });
    }

    fn dismiss(&mut self, session: SessionId, room: RoomId) {
        // A member that leaves now still receives the messages that were offered before.
        self.settle_batch(session, room);
        let Some(entry) = self.entry(session) else { return };
        let Some(at) = entry.rooms.iter().position(|(other, _)| *other == room) else { return };
        let (_, index) = entry.rooms.remove(at);
        self.remove_member(room, index);
    }

    fn remove_member(&mut self, room: RoomId, index: u32) {
        let Some(local) = self.rooms.get_mut(&room) else { return };
        if (index as usize) >= local.members.len() {
            return;
        }
        local.members.swap_remove(index as usize);
        if let Some(moved) = local.members.get(index as usize)
            && let Some(entry) = self.connections.at_mut(moved.slot)
            && let Some(own) = entry.rooms.iter_mut().find(|(other, _)| *other == room)
        {
            own.1 = index;
        }
        if local.members.is_empty() && local.batch.is_empty() {
            self.rooms.remove(&room);
        }
    }
}
