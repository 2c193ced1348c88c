//! What a hub knows and does; [`LocalHub`](super::LocalHub) shares it between the hub and its sessions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;
use starling_protocol::{CloseCode, RoomName, ServerEvent};

use super::compression::Compression;
use super::local::Closing;
use super::local_room::{LocalMember, LocalRoom};
use super::messages::{Delivery, HubCommand, Replay, ToSession};
use super::wheel::{self, Tick, Wheel};
use crate::chat_server::ChatServerHandle;
use crate::config::ChatConfig;
use crate::connection::{Chunk, Connection, Overflow, Queued, Written};
use crate::frame::{self, Format};
use crate::ids::{HubId, RoomId, SessionId};
use crate::metrics::{DisconnectReason, Metrics, WorkerMetrics};
use crate::session::SessionHandle;
use crate::socket::WriteHalf;

/// How long a closed connection may take to read its close frame before its socket is reset.
const LINGER: Duration = Duration::from_secs(5);

/// A connection in its slot.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and any may be true with any other")]
pub(super) struct Entry {
    pub(super) session: SessionId,
    pub(super) connection: Connection,
    /// The rooms it was admitted to, and its place among their members.
    pub(super) rooms: SmallVec<[(RoomId, u32); 1]>,
    pub(super) format: Format,
    /// Whether its client takes compressed frames.
    pub(super) is_deflated: bool,
    /// The room that a person means where none is named: the one entered last.
    pub(super) current_room: Option<RoomName>,
    pub(super) handle: Option<SessionHandle>,
    /// Rooms in which more is to be replayed, one at a time, when the outbox is empty; most have none.
    pub(super) replays: Option<Box<SmallVec<[RoomId; 4]>>>,
    pub(super) heard: Tick,
    /// What came from it waits for a credit, so it is not read: its silence is ours.
    pub(super) held_back: bool,
    pub(super) pinged: Tick,
    /// Where it stands on the wheel.
    pub(super) due: Tick,
    /// Since when it is being closed, and how that counts.
    pub(super) closing: Option<(Instant, DisconnectReason)>,
    /// Whether its client says nothing more.
    pub(super) client_ended: bool,
    /// Whether it stands on the list of those to flush.
    pub(super) touched: bool,
    /// Whether somebody waits for its socket to become writable.
    pub(super) awaited: bool,
}

impl Entry {
    /// Keeps track of the room that is meant where none is named.
    fn follow(&mut self, event: &ServerEvent<'_>) {
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

/// A connection whose socket is full: somebody must wait for it.
pub(super) type Blocked = SessionId;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) id: HubId,
    pub(super) config: Arc<ChatConfig>,
    pub(super) chat: ChatServerHandle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) compression: Compression,
    pub(super) worker: Arc<WorkerMetrics>,
    pub(super) connections: Slab<Entry>,
    pub(super) serial: u32,
    pub(super) wheel: Wheel,
    /// A heartbeat in ticks.
    heartbeat: Tick,
    pub(super) rooms: FxHashMap<RoomId, LocalRoom>,
    pub(super) touched_rooms: Vec<RoomId>,
    pub(super) touched: Vec<SessionId>,
    /// Empty buffers for batches: a room has one only while something waits for its members.
    pub(super) spare_batches: Vec<Vec<Arc<Delivery>>>,
    /// Bytes in all outboxes of this hub.
    pub(super) outboxes_bytes: i64,
    /// Turns so far: the first member to be written moves with it, so that nobody is always last.
    pub(super) turn: usize,
    pub(super) written: Written,
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
            connections: Slab::new(),
            serial: 0,
            wheel: Wheel::new(),
            heartbeat,
            rooms: FxHashMap::default(),
            touched_rooms: Vec::new(),
            touched: Vec::new(),
            spare_batches: Vec::new(),
            outboxes_bytes: 0,
            turn: 0,
            written: Written::default(),
        }
    }

    pub(super) fn entry(&mut self, session: SessionId) -> Option<&mut Entry> {
        self.connections.get_mut(session.slot() as usize).filter(|entry| entry.session == session)
    }

    // ---- connections come and go

    pub(super) fn register(&mut self, connection: Connection, format: Format) -> Option<SessionId> {
        let now = self.wheel.now();
        let vacant = self.connections.vacant_entry();
        let slot = u32::try_from(vacant.key()).ok().filter(|slot| (*slot as usize) < SessionId::SLOTS_MAX)?;
        self.serial = self.serial.wrapping_add(1);
        let session = SessionId::new(self.id, slot, self.serial);
        let head = connection.queued();
        let entry = vacant.insert(Entry {
            session,
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
        });
        self.wheel.put(session, &mut entry.due, now + self.heartbeat);
        self.account(head.frames, Queued::default(), head);
        Some(session)
    }

    pub(super) fn open(&mut self, session: SessionId, handle: SessionHandle) {
        if let Some(entry) = self.entry(session) {
            entry.connection.open();
            let closed_as = entry.closing.map(|(_, counted_as)| counted_as);
            if closed_as.is_some() {
                // It was closed while it opened.
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

    /// Forgets a connection and gives its writing half back.
    pub(super) fn unregister(&mut self, session: SessionId, reason: DisconnectReason) -> Option<WriteHalf> {
        self.entry(session)?;
        let entry = self.connections.remove(session.slot() as usize);
        for (room, place) in &entry.rooms {
            self.remove_member(*room, *place);
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
        // What was offered in this turn is still answered in the old format.
        self.settle_batches(session);
        if let Some(entry) = self.entry(session) {
            entry.format = format;
        }
    }

    pub(super) fn format(&self, session: SessionId) -> Format {
        let entry = self.connections.get(session.slot() as usize).filter(|entry| entry.session == session);
        entry.map_or(Format::Json, |entry| entry.format)
    }

    pub(super) fn is_deflated(&self, session: SessionId) -> bool {
        let entry = self.connections.get(session.slot() as usize).filter(|entry| entry.session == session);
        entry.is_some_and(|entry| entry.is_deflated)
    }

    pub(super) fn current_room(&self, session: SessionId) -> Option<RoomName> {
        let entry = self.connections.get(session.slot() as usize).filter(|entry| entry.session == session)?;
        entry.current_room.clone()
    }

    // ---- what is to be done

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
            // The ticket is given back when the answer is offered.
            ToSession::Tell { event, ticket: _ticket } => self.tell(&[session], &event, now),
            ToSession::Admit { room } => self.admit(session, room),
            ToSession::Dismiss { room } => self.dismiss(session, room),
            ToSession::Replay(replay) => self.replay(session, &replay, now),
            ToSession::Close { code, reason } => self.close_for_chat(session, code, reason, now),
        }
    }

    fn tell(&mut self, sessions: &[SessionId], event: &ServerEvent<'static>, now: Instant) {
        let (mut json, mut compressed, mut text) = (None, None, None);
        for session in sessions {
            if speaks_of_what_was_delivered(event) {
                self.settle_batches(*session);
            }
            let Some(entry) = self.entry(*session) else { continue };
            entry.follow(event);
            let (format, is_deflated) = (entry.format, entry.is_deflated);
            let encoded = match format {
                Format::Json => json.get_or_insert_with(|| frame::event(event, format)),
                Format::Text => text.get_or_insert_with(|| frame::event(event, format)),
            };
            let encoded = if is_deflated && format == Format::Json && !holds_secret(event) {
                compressed.get_or_insert_with(|| encoded.as_ref().map(|bytes| self.compression.of(bytes)))
            } else {
                encoded
            };
            if let Some(bytes) = encoded.clone() {
                self.offer_frame(*session, bytes, now);
            }
        }
    }

    /// Offers one frame that delivers no message.
    pub(super) fn offer_frame(&mut self, session: SessionId, bytes: Bytes, now: Instant) {
        self.metrics.frame_sent(bytes.len(), 1);
        self.offer(session, Chunk { bytes, frames: 1, deliveries: 0, read_at: now, offered_at: now });
    }

    pub(super) fn offer(&mut self, session: SessionId, chunk: Chunk) {
        let outbox_bytes = self.config.outbox_bytes as usize;
        let (frames, now) = (chunk.frames, chunk.offered_at);
        let Some(entry) = self.entry(session) else { return };
        let before = entry.connection.queued();
        let outcome = entry.connection.offer(chunk, outbox_bytes);
        let after = entry.connection.queued();
        self.account(frames, before, after);
        match outcome {
            Ok(()) => self.touch(session),
            Err(Overflow) => self.close(session, Closing::SLOW, now),
        }
    }

    /// Counts `offered` frames in, and out what neither waits now nor waited before: it was written or dropped.
    pub(super) fn account(&mut self, offered: u32, before: Queued, after: Queued) {
        let stage = &self.worker.socket_write;
        stage.arrive_n(u64::from(offered));
        stage.complete_n(u64::from((offered + before.frames).saturating_sub(after.frames)));
        if before != after {
            let signed = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            let bytes = signed(after.bytes) - signed(before.bytes);
            self.outboxes_bytes += bytes;
            self.metrics.outbox_changed(bytes, i64::from(after.frames) - i64::from(before.frames));
            self.metrics.outbox_holds(after.bytes);
        }
    }

    /// Has a connection looked at in the next tick, and not only when it is to be pinged.
    pub(super) fn look_soon(&mut self, session: SessionId) {
        let next_tick = self.wheel.now() + 1;
        if let Some(entry) = self.connections.get_mut(session.slot() as usize).filter(|e| e.session == session) {
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
        let Some(entry) = self.connections.get_mut(session.slot() as usize).filter(|e| e.session == session) else {
            return;
        };
        if entry.rooms.iter().any(|(other, _)| *other == room) {
            return;
        }
        let local = self.rooms.entry(room).or_default();
        let (Ok(place), Ok(skips)) = (u32::try_from(local.members.len()), u32::try_from(local.batch.len())) else {
            return;
        };
        entry.rooms.push((room, place));
        local.members.push(LocalMember { slot: session.slot(), skips });
    }

    fn dismiss(&mut self, session: SessionId, room: RoomId) {
        // What was offered before still reaches the member that leaves now.
        self.settle_batch(session, room);
        let Some(entry) = self.entry(session) else { return };
        let Some(at) = entry.rooms.iter().position(|(other, _)| *other == room) else { return };
        let (_, place) = entry.rooms.remove(at);
        self.remove_member(room, place);
    }

    fn remove_member(&mut self, room: RoomId, place: u32) {
        let Some(local) = self.rooms.get_mut(&room) else { return };
        if (place as usize) >= local.members.len() {
            return;
        }
        local.members.swap_remove(place as usize);
        if let Some(moved) = local.members.get(place as usize)
            && let Some(entry) = self.connections.get_mut(moved.slot as usize)
            && let Some(own) = entry.rooms.iter_mut().find(|(other, _)| *other == room)
        {
            own.1 = place;
        }
        if local.members.is_empty() && local.batch.is_empty() {
            self.rooms.remove(&room);
        }
    }

    fn deliver(&mut self, room: RoomId, delivery: Arc<Delivery>) {
        // Everybody may have left while the message was on its way.
        let Some(local) = self.rooms.get_mut(&room) else { return };
        if local.batch.is_empty() {
            self.touched_rooms.push(room);
            local.batch = self.spare_batches.pop().unwrap_or_default();
        }
        local.batch.push(delivery);
    }

    fn deliver_private(&mut self, sessions: &[SessionId], delivery: &Delivery, now: Instant) {
        for session in sessions {
            let bytes = match self.format(*session) {
                Format::Json if self.is_deflated(*session) => delivery.compressed(&self.compression).clone(),
                Format::Json => delivery.json().clone(),
                Format::Text => delivery.encode_line(),
            };
            self.metrics.frame_sent(bytes.len(), 1);
            self.metrics.delivered(1);
            let read_at = delivery.read_at();
            self.offer(*session, Chunk { bytes, frames: 1, deliveries: 1, read_at, offered_at: now });
        }
    }

    fn replay(&mut self, session: SessionId, replay: &Replay, now: Instant) {
        let format = self.format(session);
        for message in &replay.messages {
            let Some(bytes) = frame::event(&ServerEvent::Message(message.to_wire()), format) else { continue };
            self.metrics.delivered(1);
            self.offer_frame(session, bytes, now);
        }
        if replay.more
            && let Some(entry) = self.entry(session)
        {
            entry.replays.get_or_insert_default().push(replay.room);
        }
        // Also where nothing came: another room of the session may wait for its turn.
        self.touch(session);
    }

    /// The connections that nobody closes yet.
    pub(super) fn open_sessions(&self) -> Vec<SessionId> {
        let open = self.connections.iter().filter(|(_, entry)| !entry.connection.is_closing());
        open.map(|(_, entry)| entry.session).collect()
    }

    /// Tells a connection that the server goes away and when to come back, and closes it with 1001.
    pub(super) fn say_goodbye(
        &mut self,
        session: SessionId,
        reason: &'static str,
        reconnect_after_ms: u64,
        now: Instant,
    ) {
        if self.entry(session).is_some_and(|entry| !entry.connection.is_closing()) {
            self.tell(&[session], &ServerEvent::Closing { reason: reason.into(), reconnect_after_ms }, now);
            self.close(session, Closing::by_server(CloseCode::GoingAway, reason), now);
        }
    }

    // ---- the end of a connection

    /// Closes a connection because the chat says so: for what the client did, once what it did before is answered.
    fn close_for_chat(&mut self, session: SessionId, code: CloseCode, reason: &'static str, now: Instant) {
        let closing = Closing::by_server(code, reason);
        let handle = self.entry(session).and_then(|entry| entry.handle.as_ref());
        match handle.filter(|_| code == CloseCode::Policy) {
            Some(handle) => handle.close_when_answered(closing),
            None => self.close(session, closing, now),
        }
    }

    /// Closes a connection, once: the close frame is the last that it gets.
    pub(super) fn close(&mut self, session: SessionId, closing: Closing, now: Instant) {
        self.settle_batches(session);
        let Some(entry) = self.entry(session) else { return };
        if entry.connection.is_closing() {
            return;
        }
        let close_frame = frame::close(closing.code, closing.reason);
        let before = entry.connection.queued();
        if closing.drops_outbox {
            entry.connection.close_dropping(close_frame, now);
        } else {
            entry.connection.close(close_frame, now);
        }
        let after = entry.connection.queued();
        entry.closing = Some((now, closing.counted_as));
        entry.replays = None;
        let is_open = entry.handle.is_some();
        if let Some(handle) = &entry.handle {
            handle.closing();
        }
        self.account(1, before, after);
        if is_open {
            self.metrics.disconnected(closing.counted_as);
        }
        self.touch(session);
        self.look_soon(session);
    }

    /// The client says nothing more. Returns whether everything has been said to it, the close frame too.
    pub(super) fn client_ended(&mut self, session: SessionId) -> bool {
        let Some(entry) = self.entry(session) else { return true };
        entry.client_ended = true;
        entry.connection.has_said_goodbye() && !entry.touched && !entry.awaited
    }

    /// Closes those for whom the most waits, until no more waits for all than may.
    pub(super) fn relieve(&mut self, now: Instant) {
        let most = i64::try_from(self.config.outboxes_bytes_per_hub).unwrap_or(i64::MAX);
        while self.outboxes_bytes > most {
            let open = self.connections.iter().map(|(_, entry)| entry).filter(|entry| !entry.connection.is_closing());
            let fullest = open.max_by_key(|entry| entry.connection.queued_bytes());
            // What then is left are close frames: it goes by itself.
            let Some(fullest) = fullest.filter(|entry| entry.connection.queued_bytes() > 0) else { return };
            self.close(fullest.session, Closing::OVERLOAD, now);
        }
    }

    // ---- time

    /// Pings, and ends what shows no sign of life, takes nothing, or does not end by itself.
    pub(super) fn tick(&mut self, now: Instant) {
        let mut waiting = 0;
        for session in self.wheel.advance() {
            let tick = self.wheel.now();
            let Some(entry) = self.entry(session).filter(|entry| entry.due == tick) else { continue };
            let queued = entry.connection.queued_bytes();
            if queued > 0 {
                self.metrics.outboxes_seen(queued, 1);
                waiting += 1;
            }
            let next = self.look_after(session, now);
            if let Some(entry) = self.connections.get_mut(session.slot() as usize) {
                self.wheel.put(session, &mut entry.due, next);
            }
        }
        // Whom the kernel keeps waiting is looked at every tick, so all others have nothing.
        self.metrics.outboxes_seen(0, (self.connections.len() as u64).saturating_sub(waiting));
    }

    /// Does what is due for one connection; at which tick it is to be looked at again.
    fn look_after(&mut self, session: SessionId, now: Instant) -> Tick {
        let (tick, heartbeat, slow_client) = (self.wheel.now(), self.heartbeat, self.config.slow_client);
        let next_tick = tick + 1;
        let Some(entry) = self.entry(session) else { return next_tick };
        let since = |at: Instant| now.saturating_duration_since(at);
        if let Some((closing, _)) = entry.closing {
            if since(closing) >= LINGER {
                entry.connection.reset_on_drop();
                if let Some(handle) = entry.handle.take() {
                    handle.stop();
                }
            }
            return next_tick;
        }
        if entry.connection.stalled_since().is_some_and(|at| since(at) >= slow_client) {
            self.close(session, Closing::SLOW, now);
            return next_tick;
        }
        // It may have been heard at the end of its tick: past two heartbeats, not at them.
        let silent_from = entry.heard + 2 * heartbeat + 1;
        if tick >= silent_from && !entry.held_back {
            self.close(session, Closing::SILENT, now);
            return next_tick;
        }
        let is_ping_due = tick >= entry.pinged + heartbeat;
        if is_ping_due {
            entry.pinged = tick;
        }
        let next_ping = entry.pinged + heartbeat;
        let next = if entry.connection.is_waiting() { next_tick } else { next_ping.min(silent_from.max(next_tick)) };
        if is_ping_due {
            self.ping(session, now);
        }
        next
    }

    /// Pings at once where nothing waits: a turn for so little would cost more. Not where nobody reads: that the peer
    /// has gone shows there only when the turn's end is written.
    fn ping(&mut self, session: SessionId, now: Instant) {
        let outbox_bytes = self.config.outbox_bytes as usize;
        let reads = |entry: &&mut Entry| entry.connection.is_clear() && !entry.held_back;
        let Some(entry) = self.entry(session).filter(reads) else {
            return self.offer_frame(session, frame::ping(), now);
        };
        let ping = Chunk { bytes: frame::ping(), frames: 1, deliveries: 0, read_at: now, offered_at: now };
        let length = ping.bytes.len();
        // A ping that the kernel does not take waits, as small as it is.
        let written = entry.connection.write_through(ping, outbox_bytes);
        let after = entry.connection.queued();
        debug_assert_eq!(written, Ok(()), "two bytes fit into any outbox");
        self.metrics.frame_sent(length, 1);
        self.account(1, Queued::default(), after);
        if after.frames > 0 {
            self.touch(session);
        }
    }
}

/// Whether a frame has somebody else's words beside what only its receiver may know. Its length must not tell how much of
/// the one repeats in the other, so it is never compressed.
fn holds_secret(event: &ServerEvent<'_>) -> bool {
    match event {
        ServerEvent::Welcome(_) => true,
        ServerEvent::History(page) => page.inbox,
        ServerEvent::Message(_)
        | ServerEvent::Ack(_)
        | ServerEvent::Joined(_)
        | ServerEvent::Left { .. }
        | ServerEvent::Presence(_)
        | ServerEvent::Members(_)
        | ServerEvent::Rooms { .. }
        | ServerEvent::Pong { .. }
        | ServerEvent::Closing { .. }
        | ServerEvent::Error(_) => false,
    }
}

/// Whether an event must not overtake the messages before it: it tells how far a room had come when it was made.
fn speaks_of_what_was_delivered(event: &ServerEvent<'_>) -> bool {
    match event {
        ServerEvent::Welcome(_)
        | ServerEvent::Joined(_)
        | ServerEvent::Left { .. }
        | ServerEvent::History(_)
        | ServerEvent::Rooms { .. }
        | ServerEvent::Members(_)
        | ServerEvent::Closing { .. } => true,
        ServerEvent::Message(_)
        | ServerEvent::Ack(_)
        | ServerEvent::Presence(_)
        | ServerEvent::Pong { .. }
        | ServerEvent::Error(_) => false,
    }
}
