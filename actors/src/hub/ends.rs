//! The ways in which a hub closes its connections.

use starling_protocol::{CloseCode, ServerEvent};

use super::closing::Closing;
use super::connections::BeingClosed;
use super::core::Core;
use crate::clock::Instant;
use crate::frame;
use crate::ids::SessionId;

impl Core {
    /// The connections that are not closing.
    pub(super) fn open_sessions(&self) -> Vec<SessionId> {
        let open = self.connections.iter().filter(|entry| !entry.connection.is_closing());
        open.map(|entry| entry.session).collect()
    }

    /// Tells a connection that the server shuts down and when to reconnect. Closes it with 1001 once its earlier
    /// commands are answered.
    pub(super) fn say_goodbye(
        &mut self,
        session: SessionId,
        reason: &'static str,
        reconnect_after_ms: u64,
        now: Instant,
    ) {
        if self.entry(session).is_some_and(|entry| !entry.connection.is_closing()) {
            self.tell(&[session], &ServerEvent::Closing { reason: reason.into(), reconnect_after_ms }, now);
            self.close_when_answered(session, Closing::by_server(CloseCode::GoingAway, reason), now);
        }
    }

    /// Closes a connection once its earlier commands are answered; at once if its session has not started.
    fn close_when_answered(&mut self, session: SessionId, closing: Closing, now: Instant) {
        match self.entry(session).and_then(|entry| entry.handle.as_ref()) {
            Some(handle) => handle.close_when_answered(closing),
            None => self.close(session, closing, now),
        }
    }

    /// Closes a connection on behalf of the chat. A policy close waits until the client's earlier commands are
    /// answered.
    pub(super) fn close_for_chat(&mut self, session: SessionId, code: CloseCode, reason: &'static str, now: Instant) {
        let closing = Closing::by_server(code, reason);
        if code == CloseCode::Policy {
            self.close_when_answered(session, closing, now);
        } else {
            self.close(session, closing, now);
        }
    }

    /// Closes a connection, once. The close frame is its last frame.
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
        entry.closing = Some(Box::new(BeingClosed { since: now, counted_as: closing.counted_as }));
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

    /// Notes that the client has ended its side. Returns whether all frames, including the close frame, have been
    /// written.
    pub(super) fn client_ended(&mut self, session: SessionId) -> bool {
        let Some(entry) = self.entry(session) else { return true };
        entry.client_ended = true;
        entry.connection.has_said_goodbye() && !entry.touched && !entry.awaited
    }

    /// Closes the connections with the most unsent bytes, until all outboxes together are within their limit.
    pub(super) fn relieve(&mut self, now: Instant) {
        let most = i64::try_from(self.config.outboxes_bytes_per_hub).unwrap_or(i64::MAX);
        while self.outboxes_bytes > most {
            let open = self.connections.iter().filter(|entry| !entry.connection.is_closing());
            let fullest = open.max_by_key(|entry| entry.connection.queued_bytes());
            // Only close frames are left; they drain without help.
            let Some(fullest) = fullest.filter(|entry| entry.connection.queued_bytes() > 0) else { return };
            self.close(fullest.session, Closing::OVERLOAD, now);
        }
    }
}
