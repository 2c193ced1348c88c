//! The state that a bot needs to reconnect: the server, the pause and the key.

use std::time::Duration;

use starling_protocol::ClientKey;

use crate::backoff::Backoff;

/// The state of a bot for its next connection.
#[derive(Debug, Default)]
pub(super) struct WayBack {
    backoff: Backoff,
    /// The index of its server. It wraps around the list of servers.
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

    /// Selects the next server.
    pub(super) fn try_another(&mut self) {
        self.server = self.server.wrapping_add(1);
    }

    pub(super) fn key(&self) -> Option<ClientKey> {
        self.key
    }

    /// Keeps the key that the server gave to the bot.
    pub(super) fn keep_key(&mut self, key: ClientKey) {
        self.key = Some(key);
    }

    /// The wait before the next attempt to connect.
    pub(super) fn wait(&mut self, at_least: Duration, rng: &mut fastrand::Rng) -> Duration {
        self.backoff.next(at_least, rng)
    }

    /// Resets the pause, because the bot has returned.
    pub(super) fn note_return(&mut self) {
        self.backoff.reset();
    }
}
