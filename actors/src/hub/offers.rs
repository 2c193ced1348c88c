//! Offering frames to connections: events, live messages, and missed messages.

use bytes::Bytes;
use starling_protocol::ServerEvent;

use super::closing::Closing;
use super::core::Core;
use super::messages::{Delivery, Replay};
use crate::clock::Instant;
use crate::connection::{Chunk, Overflow, Queued};
use crate::frame::{self, Format};
use crate::ids::SessionId;
use crate::passage::Passage;

impl Core {
    pub(super) fn tell(&mut self, sessions: &[SessionId], event: &ServerEvent<'static>, now: Instant) {
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
        let passage = Passage::read_at(now);
        self.offer(session, Chunk { bytes, frames: 1, deliveries: 0, passage, offered_at: now });
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

    /// Counts `offered` frames as arrived, and frames that were written or dropped as completed.
    pub(super) fn account(&mut self, offered: u32, before: Queued, after: Queued) {
        let stage = &self.worker.socket_write;
        stage.arrive_n(u64::from(offered));
        stage.complete_n(after.gone_since(before, offered));
        if before != after {
            let signed = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
            let bytes = signed(after.bytes) - signed(before.bytes);
            self.outboxes_bytes += bytes;
            self.metrics.outbox_changed(bytes, i64::from(after.frames) - i64::from(before.frames));
            self.metrics.outbox_holds(after.bytes);
        }
    }

    pub(super) fn deliver_private(&mut self, sessions: &[SessionId], delivery: &Delivery, now: Instant) {
        for session in sessions {
            let bytes = match self.format(*session) {
                Format::Json if self.is_deflated(*session) => delivery.compressed(&self.compression).clone(),
                Format::Json => delivery.json().clone(),
                Format::Text => delivery.encode_line(),
            };
            self.metrics.frame_sent(bytes.len(), 1);
            self.metrics.delivered(1);
            let passage = delivery.passage();
            self.offer(*session, Chunk { bytes, frames: 1, deliveries: 1, passage, offered_at: now });
        }
    }

    pub(super) fn replay(&mut self, session: SessionId, replay: &Replay, now: Instant) {
        let format = self.format(session);
        for message in &replay.messages {
            let Some(bytes) = frame::event(&message.to_event(), format) else { continue };
            self.metrics.delivered(1);
            self.offer_frame(session, bytes, now);
        }
        if replay.more
            && let Some(entry) = self.entry(session)
        {
            entry.replays.get_or_insert_default().push(replay.room);
        }
        // Also if the page is empty: another room of the session may wait for its next page.
        self.touch(session);
    }
}

/// Whether an event contains both text of other clients and secrets of its receiver. Such an event is never compressed,
/// because its length would reveal how much of the text repeats in the secret (as in the CRIME and BREACH attacks).
fn holds_secret(event: &ServerEvent<'_>) -> bool {
    match event {
        ServerEvent::Welcome(_) => true,
        ServerEvent::History(page) => page.inbox,
        ServerEvent::Message(_)
        | ServerEvent::Edited(_)
        | ServerEvent::Deleted(_)
        | ServerEvent::Reaction(_)
        | ServerEvent::Ack(_)
        | ServerEvent::Joined(_)
        | ServerEvent::Left { .. }
        | ServerEvent::Presence(_)
        | ServerEvent::Typing(_)
        | ServerEvent::Read(_)
        | ServerEvent::Settings(_)
        | ServerEvent::Members(_)
        | ServerEvent::Rooms { .. }
        | ServerEvent::Pong { .. }
        | ServerEvent::Closing { .. }
        | ServerEvent::Error(_) => false,
    }
}

/// Whether an event must follow the messages before it, because it contains a `seq` or a state as of then.
fn speaks_of_what_was_delivered(event: &ServerEvent<'_>) -> bool {
    match event {
        ServerEvent::Welcome(_)
        | ServerEvent::Joined(_)
        | ServerEvent::Left { .. }
        | ServerEvent::Read(_)
        | ServerEvent::Settings(_)
        | ServerEvent::History(_)
        | ServerEvent::Rooms { .. }
        | ServerEvent::Members(_)
        | ServerEvent::Closing { .. } => true,
        ServerEvent::Message(_)
        | ServerEvent::Edited(_)
        | ServerEvent::Deleted(_)
        | ServerEvent::Reaction(_)
        | ServerEvent::Ack(_)
        | ServerEvent::Presence(_)
        | ServerEvent::Typing(_)
        | ServerEvent::Pong { .. }
        | ServerEvent::Error(_) => false,
    }
}
