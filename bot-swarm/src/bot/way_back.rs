//! How a bot finds its way back: to which of the servers, after which pause, and with which key.

use std::time::Duration;

use starling_protocol::ClientKey;

use crate::backoff::Backoff;

/// What a bot knows for its next connection.
#[derive(Debug, Default)]
pub(super) struct WayBack {
    backoff: Backoff,
    /// Which of the servers it connects to, counted round and round.
    server: u32,
    key: Option<ClientKey>,
}

impl WayBack {
    /// Begins with this server.
    pub(super) fn to(server: u32) -> Self {
        Self { server, ..Self::default() }
    }

    pub(super) fn server(&self) -> u32 {
        self.server
    }

    /// Tries the next server from now on.
    pub(super) fn try_another(&mut self) {
        self.server = self.server.wrapping_add(1);
    }

    pub(super) fn key(&self) -> Option<ClientKey> {
        self.key
    }

    /// The server gave the bot its key.
    pub(super) fn keep_key(&mut self, key: ClientKey) {
        self.key = Some(key);
    }

    /// How long to wait before it connects.
    pub(super) fn wait(&mut self, at_least: Duration, rng: &mut fastrand::Rng) -> Duration {
        self.backoff.next(at_least, rng)
    }

    /// It is back: the next pause is short again.
    pub(super) fn note_return(&mut self) {
        self.backoff.reset();
    }
}
