//! The limits that are in force, as figures: so that a dashboard shows them beside what they limit.

use prometheus::{IntGauge, Registry};

use crate::config::Config;

/// The limits that are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: u64,
    /// Commands on their way, of all clients together.
    pub(crate) credits: u64,
    /// Rooms with a name, empty ones that are kept among them.
    pub(crate) rooms: u64,
    /// Inboxes that come from writing to clients.
    pub(crate) inboxes: u64,
    /// Bytes that wait for one client.
    pub(crate) outbox_bytes: u64,
}

impl Limits {
    /// The limits of this configuration, with as many connections as there may be.
    pub(crate) fn of(config: &Config, connections: u64) -> Self {
        Self {
            connections,
            credits: config.server_credits,
            rooms: config.rooms,
            inboxes: config.inboxes,
            outbox_bytes: config.outbox_bytes,
        }
    }

    /// Shows them in this registry. They do not change while the server runs.
    pub(crate) fn register(self, registry: &Registry) -> prometheus::Result<()> {
        for (name, help, limit) in [
            ("chat_connections_limit", "Most connections at a time.", self.connections),
            ("chat_credits_limit", "Most commands that may be on their way.", self.credits),
            ("chat_rooms_limit", "Most rooms.", self.rooms),
            ("chat_inboxes_limit", "Most inboxes that come from writing to clients.", self.inboxes),
            ("chat_outbox_limit_bytes", "Most bytes that may wait for one client.", self.outbox_bytes),
        ] {
            let gauge = IntGauge::new(name, help)?;
            gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
            registry.register(Box::new(gauge))?;
        }
        Ok(())
    }
}
