//! The periodic work of a hub: pings, and closing connections that are silent, stalled, or slow to close.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::closing::Closing;
use super::connections::Entry;
use super::core::Core;
use super::wheel::{self, Tick};
use crate::clock::Instant;
use crate::connection::{Chunk, Queued};
use crate::frame;
use crate::ids::SessionId;
use crate::metrics::busiest::{BusyRoom, MOST, SlowSession};
use crate::passage::Passage;

/// Longest time that a closing connection may take to end before its socket is reset.
const LINGER: Duration = Duration::from_secs(5);

/// The time for which a frame must have waited for its client to count as slow.
const SLOW_FROM: Duration = Duration::from_secs(1);

/// The number of ticks over which the deliveries of rooms are compared.
const BUSIEST_ROOM_TICKS: Tick = 5;

impl Core {
    /// Sends pings, and closes connections that are silent, stalled, or do not end by themselves.
    pub(super) fn tick(&mut self, now: Instant) {
        let (mut waiting, mut slow, mut most) = (0, 0, 0);
        let mut slowest: Vec<SlowSession> = Vec::new();
        for session in self.wheel.advance() {
            let tick = self.wheel.now();
            let Some(entry) = self.entry(session).filter(|entry| entry.due == tick) else { continue };
            let queued = entry.connection.queued_bytes();
            if queued > 0 {
                waiting += 1;
                most = most.max(queued);
                let oldest = entry.connection.oldest_offered();
                let waited = oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
                // One that is being closed is no client any more.
                slow += u64::from(waited >= SLOW_FROM && !entry.connection.is_closing());
                note_slow(&mut slowest, SlowSession { session, bytes: queued, waited });
                self.metrics.outboxes_seen(queued, 1);
            }
            let next = self.look_after(session, now);
            if let Some(entry) = self.connections.get_mut(session) {
                self.wheel.put(session, &mut entry.due, next);
            }
        }
        // A connection with unsent bytes is examined in every tick, so all others have none.
        self.metrics.outboxes_seen(0, (self.connections.len() as u64).saturating_sub(waiting));
        self.metrics.outbox_holds(most);
        self.worker.slow_connections.store(slow, Relaxed);
        self.worker.busiest_room_permille.store(self.busiest_room.permille(), Relaxed);
        self.worker.busiest.set_sessions(slowest);
        if self.wheel.now().is_multiple_of(BUSIEST_ROOM_TICKS) {
            let rooms = self.turn_busiest_rooms();
            self.worker.busiest.set_rooms(rooms);
        }
    }

    /// Begins a new span of the busiest rooms. Returns those of the one that ends.
    fn turn_busiest_rooms(&mut self) -> Vec<BusyRoom> {
        let span = wheel::period(self.config.heartbeat) * BUSIEST_ROOM_TICKS;
        let per_second = |deliveries: u32| f64::from(deliveries) / span.as_secs_f64();
        let rooms = self.busiest_room.turn().into_iter();
        rooms.map(|(room, count)| BusyRoom { room, deliveries_per_second: per_second(count) }).collect()
    }

    /// Does the due work for one connection. Returns the tick at which to examine it next.
    fn look_after(&mut self, session: SessionId, now: Instant) -> Tick {
        let (tick, heartbeat, slow_client) = (self.wheel.now(), self.heartbeat, self.config.slow_client);
        let next_tick = tick + 1;
        let Some(entry) = self.entry(session) else { return next_tick };
        let since = |at: Instant| now.saturating_duration_since(at);
        if let Some(closing) = &entry.closing {
            if since(closing.since) >= LINGER {
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
        // The client may have been heard at the very end of the tick `heard`. One tick more makes sure that two whole
        // heartbeats have passed since.
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

    /// Sends a ping. If the outbox is empty, it is written at once, because a turn for two bytes would cost more. If
    /// the socket is not being read, the ping waits for the end of the turn all the same: only the write there notices
    /// that the peer has gone.
    fn ping(&mut self, session: SessionId, now: Instant) {
        let outbox_bytes = self.config.outbox_bytes as usize;
        let reads = |entry: &&mut Entry| entry.connection.is_clear() && !entry.held_back;
        let Some(entry) = self.entry(session).filter(reads) else {
            return self.offer_frame(session, frame::ping(), now);
        };
        let passage = Passage::read_at(now);
        let ping = Chunk { bytes: frame::ping(), frames: 1, deliveries: 0, passage, offered_at: now };
        let length = ping.bytes.len();
        // If the kernel does not accept the ping, it waits in the outbox like any other frame.
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

/// Keeps a connection among the slowest ones, if it is one of them.
fn note_slow(slowest: &mut Vec<SlowSession>, slow: SlowSession) {
    if slowest.len() < MOST {
        slowest.push(slow);
    } else if let Some(least) = slowest.iter_mut().min_by_key(|it| it.waited).filter(|it| it.waited < slow.waited) {
        *least = slow;
    }
}
