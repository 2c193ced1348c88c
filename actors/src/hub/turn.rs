//! The end of a turn: every touched socket is written once.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::closing::Closing;
use super::compression::Compression;
use super::core::{Blocked, Core, LocalMember};
use super::messages::{Delivery, MANY};
use crate::clock::{self, Instant};
use crate::connection::{Chunk, Flushed, Overflow, Queued};
use crate::frame::Format;
use crate::ids::{RoomId, SessionId};
use crate::metrics::Metrics;
use crate::passage::Passage;
use crate::stage::Stage;

/// The number of members after which the clock is read again, for accurate latencies.
const MEMBERS_PER_CLOCK_READ: usize = 64;

/// The time since the last turn after which a turn need not wait for more messages.
const CALM_AFTER: Duration = Duration::from_micros(250);

/// The largest number of connections of a turn that need not wait. A sender with an ack in a room counts twice.
const FEW: usize = 16;

/// Most empty batch buffers that are kept for reuse.
const SPARE_BATCHES: usize = 64;

/// Whether a turn may end without a yield, this long after the last one, if it writes to this many connections.
///
/// If messages come seldom, a yield collects none. If one comes all the same, only a few connections are written to
/// twice.
fn may_end_at_once(since_last: Duration, connections: usize) -> bool {
    since_last >= CALM_AFTER && connections <= FEW
}

impl Core {
    /// Whether [`flush`](Self::flush) has work to do.
    pub(super) fn has_work(&self) -> bool {
        !self.touched.is_empty() || !self.touched_rooms.is_empty()
    }

    /// Whether the turn [may end at once](may_end_at_once).
    pub(super) fn is_calm(&self, now: Instant) -> bool {
        // A room that all have left meanwhile counts as one connection, so no more rooms than this need to be counted.
        let members = |room| self.rooms.get(room).map_or(1, |local| local.members.len().max(1));
        let in_rooms = self.touched_rooms.iter().take(FEW + 1).map(members).sum::<usize>();
        may_end_at_once(now.saturating_duration_since(self.turn_ended), self.touched.len() + in_rooms)
    }

    /// Adds a message to its room's batch, which is written when the turn ends.
    pub(super) fn deliver(&mut self, room: RoomId, delivery: Arc<Delivery>) {
        // All members may have left while the message was in flight.
        let Some(local) = self.rooms.get_mut(&room) else { return };
        if local.batch.is_empty() {
            self.touched_rooms.push(room);
            local.batch = self.spare_batches.pop().unwrap_or_default();
        }
        local.batch.push(delivery);
    }

    /// Ends the turn: writes every room's batch to its members, then the other offered frames. Returns the connections
    /// whose sockets are full and not yet waited for.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<Blocked> {
        self.turn = self.turn.wrapping_add(1);
        let mut rooms = std::mem::take(&mut self.touched_rooms);
        for room in rooms.drain(..) {
            self.flush_room(room, now);
        }
        debug_assert!(self.touched_rooms.is_empty(), "messages come between turns");
        self.touched_rooms = rooms;
        let mut blocked = Vec::new();
        for session in std::mem::take(&mut self.touched) {
            if let Some(entry) = self.entry(session) {
                entry.touched = false;
                if self.flush_connection(session, now) == Flushed::Blocked {
                    blocked.push(session);
                }
            }
        }
        self.relieve(now);
        self.turn_ended = clock::now();
        self.worker.socket_write.worked(self.turn_ended.saturating_duration_since(now));
        blocked
            .retain(|session| self.entry(*session).is_some_and(|entry| !std::mem::replace(&mut entry.awaited, true)));
        blocked
    }

    fn flush_room(&mut self, room: RoomId, now: Instant) {
        let Some(local) = self.rooms.get_mut(&room) else { return };
        let mut batch = std::mem::take(&mut local.batch);
        let mut members = std::mem::take(&mut local.members);
        let deliveries = (batch.len() * members.len()) as u64;
        self.wrote_to_many |= members.len() >= MANY as usize;
        self.write_batch(&batch, &mut members, now);
        batch.clear();
        if self.spare_batches.len() < SPARE_BATCHES {
            self.spare_batches.push(batch);
        }
        if let Some(local) = self.rooms.get_mut(&room) {
            self.busiest_room.count(room, &mut local.deliveries, deliveries);
            local.members = members;
            if local.members.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }

    /// Writes a batch to its room's members. It must not allocate, count in shared metrics or encode per member.
    fn write_batch(&mut self, batch: &[Arc<Delivery>], members: &mut [LocalMember], now: Instant) {
        let Some(oldest) = oldest(batch) else { return };
        let frames = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let outbox_bytes = self.config.outbox_bytes as usize;
        let json = JoinedFrames::new(batch, Format::Json);
        let (mut compressed, mut lines) = (None, None);
        let mut compressed_members = 0;
        let mut overflown: Vec<SessionId> = Vec::new();
        let mut totals = BatchTotals::default();
        // Rotated, so that no member is always first or last.
        let (tail, head) = members.split_at_mut(self.turn % members.len().max(1));
        let (mut in_block, mut written_in_block, mut written_each) = (0, 0, 0);
        for member in head.iter_mut().chain(tail) {
            let batch_start = std::mem::take(&mut member.batch_start);
            let Some(entry) = self.connections.at_mut(member.slot) else { continue };
            let own = frames.saturating_sub(batch_start);
            if own == 0 || entry.connection.is_closing() {
                continue;
            }
            let bytes = match entry.format {
                Format::Json if entry.is_deflated => {
                    compressed_members += 1;
                    compressed
                        .get_or_insert_with(|| JoinedFrames::compressed(batch, &self.compression))
                        .after(batch_start)
                }
                Format::Json => json.after(batch_start),
                Format::Text => lines.get_or_insert_with(|| JoinedFrames::new(batch, Format::Text)).after(batch_start),
            };
            let chunk = Chunk { bytes, frames: own, deliveries: own, passage: oldest, offered_at: now };
            let before = entry.connection.queued();
            // With several rooms or with unsent frames, one write at the end of the turn takes them all.
            let outcome = if entry.rooms.len() == 1 && entry.connection.is_clear() {
                entry.connection.write_through(chunk, outbox_bytes)
            } else {
                entry.connection.offer(chunk, outbox_bytes)
            };
            let after = entry.connection.queued();
            totals.add(own, before, after);
            written_in_block += after.gone_since(before, own);
            if outcome == Err(Overflow) {
                overflown.push(entry.session);
            } else if after.bytes > 0 && !entry.touched {
                entry.touched = true;
                self.touched.push(entry.session);
            }
            in_block += 1;
            if in_block == MEMBERS_PER_CLOCK_READ {
                written_each += self.observe_block(batch, std::mem::take(&mut written_in_block), now);
                in_block = 0;
            }
        }
        written_each += self.observe_block(batch, written_in_block, now);
        for delivery in batch {
            self.metrics.passed(&delivery.passage(), now, written_each);
        }
        totals.report(&self.metrics, &self.worker.socket_write);
        self.outboxes_bytes += totals.bytes;
        for delivery in batch {
            self.metrics.frame_sent(delivery.json().len(), members.len() as u64 - compressed_members);
            if compressed_members > 0 {
                self.metrics.frame_sent(delivery.compressed(&self.compression).len(), compressed_members);
            }
        }
        for session in overflown {
            self.close(session, Closing::SLOW, now);
        }
    }

    /// Records the latencies of a block of members, for which `written` frames were written just now. Returns the
    /// number of frames per delivery.
    fn observe_block(&self, batch: &[Arc<Delivery>], written: u64, turn: Instant) -> u64 {
        if written == 0 {
            return 0;
        }
        let now = clock::now();
        self.worker.socket_write.waited(now.saturating_duration_since(turn), written);
        // Members that came late or were queued are spread evenly over the batch: near enough for a histogram.
        let each = written / batch.len().max(1) as u64;
        for delivery in batch {
            self.metrics.written(&delivery.passage(), turn, now, each);
        }
        each
    }

    /// Writes the outbox of a connection.
    pub(super) fn flush_connection(&mut self, session: SessionId, now: Instant) -> Flushed {
        let mut written = std::mem::take(&mut self.written);
        let Some(entry) = self.entry(session) else { return Flushed::All };
        let before = entry.connection.queued();
        let outcome = entry.connection.flush(now, &mut written);
        let after = entry.connection.queued();
        let mut replay = None;
        if outcome == Flushed::All {
            if entry.connection.has_said_goodbye() {
                entry.connection.shut_down();
                if entry.client_ended
                    && let Some(handle) = &entry.handle
                {
                    handle.stop();
                }
            }
            replay = entry.replays.as_mut().map(|rooms| rooms.remove(0));
            entry.replays.take_if(|rooms| rooms.is_empty());
        }
        if outcome == Flushed::Broken
            && let Some(handle) = &entry.handle
        {
            handle.stop();
        }
        self.account(0, before, after);
        if outcome == Flushed::Blocked {
            self.look_soon(session);
        }
        for chunk in written.chunks.drain(..) {
            let waited = now.saturating_duration_since(chunk.offered_at);
            self.worker.socket_write.waited(waited, u64::from(chunk.frames));
            if chunk.deliveries > 0 {
                let deliveries = u64::from(chunk.deliveries);
                self.metrics.passed(&chunk.passage, chunk.offered_at, deliveries);
                self.metrics.written(&chunk.passage, chunk.offered_at, now, deliveries);
            }
        }
        self.written = written;
        // Only one room at a time: one page of each would exceed the outbox.
        if let Some(room) = replay {
            self.chat.continue_replay(session, room);
        }
        outcome
    }

    /// Notes that no task waits for the socket any more.
    pub(super) fn waited_for(&mut self, session: SessionId) {
        if let Some(entry) = self.entry(session) {
            entry.awaited = false;
        }
    }

    /// Ready when the socket is writable, or when there is nothing to wait for.
    pub(super) fn poll_writable(&mut self, session: SessionId, cx: &mut Context<'_>) -> Poll<()> {
        match self.entry(session) {
            // The write that follows reports the error.
            Some(entry) => entry.connection.poll_writable(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// Moves the batches of a member's rooms into its outbox, before an event that must follow them.
    pub(super) fn settle_batches(&mut self, session: SessionId) {
        if self.touched_rooms.is_empty() {
            return;
        }
        let Some(entry) = self.entry(session) else { return };
        let rooms = entry.rooms.clone();
        for (room, index) in rooms {
            self.settle_batch_at(session, room, index);
        }
    }

    pub(super) fn settle_batch(&mut self, session: SessionId, room: RoomId) {
        let Some(entry) = self.entry(session) else { return };
        let index = entry.rooms.iter().find(|(other, _)| *other == room).map(|(_, index)| *index);
        if let Some(index) = index {
            self.settle_batch_at(session, room, index);
        }
    }

    /// Moves a room's batch into the outbox of the member at this index.
    fn settle_batch_at(&mut self, session: SessionId, room: RoomId, index: u32) {
        let Some(entry) = self.connections.get(session) else {
            return;
        };
        let Some(local) = self.rooms.get_mut(&room) else { return };
        let Some(member) = local.members.get_mut(index as usize).filter(|member| member.slot == session.slot()) else {
            return;
        };
        let Some(batch) = local.batch.get(member.batch_start as usize..).filter(|batch| !batch.is_empty()) else {
            return;
        };
        let Some(oldest) = oldest(batch) else { return };
        let frames = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let joined = match entry.format {
            Format::Json if entry.is_deflated => JoinedFrames::compressed(batch, &self.compression),
            Format::Json | Format::Text => JoinedFrames::new(batch, entry.format),
        };
        let bytes = joined.after(0);
        let chunk = Chunk { bytes, frames, deliveries: frames, passage: oldest, offered_at: clock::now() };
        member.batch_start += chunk.frames;
        self.metrics.delivered(u64::from(chunk.deliveries));
        self.offer(session, chunk);
    }
}

/// The passage of the oldest message of a batch; `None` if it is empty.
fn oldest(batch: &[Arc<Delivery>]) -> Option<Passage> {
    batch.iter().map(|delivery| delivery.passage()).min_by_key(Passage::begin)
}

/// The changes of one batch to the metrics, summed up first so that no shared counter is touched per member.
#[derive(Debug, Default)]
struct BatchTotals {
    offered: u64,
    completed: u64,
    bytes: i64,
    frames: i64,
    highest: usize,
}

impl BatchTotals {
    fn add(&mut self, offered: u32, before: Queued, after: Queued) {
        self.offered += u64::from(offered);
        self.completed += after.gone_since(before, offered);
        if before != after {
            let signed = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            self.bytes += signed(after.bytes) - signed(before.bytes);
            self.frames += i64::from(after.frames) - i64::from(before.frames);
            self.highest = self.highest.max(after.bytes);
        }
    }

    fn report(&self, metrics: &Metrics, stage: &Stage) {
        stage.arrive_n(self.offered);
        stage.complete_n(self.completed);
        metrics.delivered(self.offered);
        if self.bytes != 0 || self.frames != 0 {
            metrics.outbox_changed(self.bytes, self.frames);
        }
        metrics.outbox_holds(self.highest);
    }
}

/// The frames of a batch, back to back, in one format.
#[derive(Debug)]
pub(super) struct JoinedFrames {
    bytes: Bytes,
    /// The offset of each frame; empty if there is only one.
    starts: Vec<usize>,
}

impl JoinedFrames {
    /// Joins the frames in this format.
    pub(super) fn new(batch: &[Arc<Delivery>], format: Format) -> Self {
        match format {
            Format::Json => Self::join(batch, |delivery| delivery.json().clone()),
            Format::Text => Self::join(batch, Delivery::encode_line),
        }
    }

    /// Joins the frames for clients that accept compression.
    pub(super) fn compressed(batch: &[Arc<Delivery>], compression: &Compression) -> Self {
        Self::join(batch, |delivery| delivery.compressed(compression).clone())
    }

    /// Joins frames. A single frame is shared, not copied.
    fn join(batch: &[Arc<Delivery>], frame: impl Fn(&Delivery) -> Bytes) -> Self {
        if let [single] = batch {
            return Self { bytes: frame(single), starts: Vec::new() };
        }
        let frames: Vec<Bytes> = batch.iter().map(|delivery| frame(delivery)).collect();
        let mut bytes = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
        let mut starts = Vec::with_capacity(frames.len());
        for frame in frames {
            starts.push(bytes.len());
            bytes.extend_from_slice(&frame);
        }
        Self { bytes: bytes.freeze(), starts }
    }

    /// The bytes after the first so many frames.
    pub(super) fn after(&self, frames: u32) -> Bytes {
        if frames == 0 {
            return self.bytes.clone();
        }
        let start = self.starts.get(frames as usize).copied().unwrap_or(self.bytes.len());
        self.bytes.slice(start..)
    }
}

#[cfg(test)]
mod tests;
