//! The connections of one hub, each in its slot.

use slab::Slab;
use smallvec::SmallVec;
use starling_protocol::console::CurrentRoom;
use starling_protocol::{RoomName, ServerEvent};

use super::session_handle::SessionHandle;
use super::wheel::Tick;
use crate::clock::Instant;
use crate::connection::Connection;
use crate::frame::Format;
use crate::ids::{HubId, RoomId, SessionId, Slot};
use crate::metrics::DisconnectReason;

/// A connection in its slot.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any may be true with any other")]
pub(super) struct Entry {
    pub(super) session: SessionId,
    pub(super) connection: Connection,
    /// The rooms that it was admitted to, each with its index among the room's local members.
    pub(super) rooms: SmallVec<[(RoomId, u32); 1]>,
    pub(super) format: Format,
    /// Whether compression was negotiated with the client.
    pub(super) is_deflated: bool,
    /// The room for console lines that name no room: the last one joined.
    pub(super) current_room: Option<RoomName>,
    pub(super) handle: Option<SessionHandle>,
    /// Rooms with more messages to replay. The hub asks for one at a time, when the outbox is empty. Usually `None`.
    pub(super) replays: Option<Box<SmallVec<[RoomId; 4]>>>,
    pub(super) heard: Tick,
    /// True while a message of the client waits for a credit, so that its socket is not read. Its silence is then not
    /// counted.
    pub(super) held_back: bool,
    pub(super) pinged: Tick,
    /// The tick at which the wheel returns it next.
    pub(super) due: Tick,
    /// Set while it is being closed. Boxed, so that an open connection takes less memory.
    pub(super) closing: Option<Box<BeingClosed>>,
    /// Whether the client has ended its side.
    pub(super) client_ended: bool,
    /// Whether it is in `Core::touched`.
    pub(super) touched: bool,
    /// Whether a task waits for its socket to become writable.
    pub(super) awaited: bool,
}

/// A connection's close in progress.
#[derive(Debug, Clone, Copy)]
pub(super) struct BeingClosed {
    pub(super) since: Instant,
    /// The reason in the metrics.
    pub(super) counted_as: DisconnectReason,
}

impl Entry {
    /// The room for console lines that name no room.
    pub(super) fn room_of_lines(&self) -> CurrentRoom {
        match &self.current_room {
            Some(room) => CurrentRoom::Is(room.clone()),
            None if self.rooms.is_empty() => CurrentRoom::First,
            None => CurrentRoom::Left,
        }
    }

    /// Updates the current room from an event that the client is sent.
    pub(super) fn follow(&mut self, event: &ServerEvent<'_>) {
        if let ServerEvent::Joined(joined) = event {
            self.current_room = joined.room.clone().or_else(|| self.current_room.take());
        } else if let ServerEvent::Welcome(welcome) = event {
            let first = welcome.first_room.as_ref().map(|first| &first.room);
            self.current_room = self.current_room.take().or_else(|| first.cloned());
        } else if let ServerEvent::Left { room, .. } = event {
            self.current_room.take_if(|current| current == room);
        }
    }
}

/// All connections of a hub.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slots: Slab<Entry>,
    /// Distinguishes sessions that use a slot one after the other.
    serial: u32,
}

impl Connections {
    /// Adds a connection, and gives it its session. `None`: there are no more slots.
    pub(super) fn add(&mut self, hub: HubId, connection: Connection, format: Format, now: Tick) -> Option<&mut Entry> {
        let vacant = self.slots.vacant_entry();
        let slot = u32::try_from(vacant.key()).ok().filter(|_| vacant.key() < SessionId::SLOTS_MAX)?;
        self.serial = self.serial.wrapping_add(1);
        Some(vacant.insert(Entry {
            session: SessionId::new(hub, slot, self.serial),
            connection,
            rooms: SmallVec::new(),
            format,
            is_deflated: false,
            current_room: None,
            handle: None,
            replays: None,
            heard: now,
            held_back: false,
            pinged: now,
            due: now,
            closing: None,
            client_ended: false,
            touched: false,
            awaited: false,
        }))
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Entry> {
        self.slots.get(session.slot().index()).filter(|entry| entry.session == session)
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Entry> {
        self.slots.get_mut(session.slot().index()).filter(|entry| entry.session == session)
    }

    /// The connection that is now in a slot.
    pub(super) fn at_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.slots.get_mut(slot.index())
    }

    /// Removes a connection; its slot is free for the next one.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Entry> {
        self.get(session)?;
        self.slots.try_remove(session.slot().index())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().map(|(_, entry)| entry)
    }
}
