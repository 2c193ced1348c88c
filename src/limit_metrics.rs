//! The configured limits as metrics, so that a dashboard can show them next to the values that they limit.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::config::Config;

/// The exported limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at a time.
    pub(crate) connections: u64,
    /// Commands of all clients in flight.
    pub(crate) credits: u64,
    /// Rooms with a name, including empty rooms that are still kept.
    pub(crate) rooms: u64,
    /// Inboxes, see `CHAT_INBOXES`.
    pub(crate) inboxes: u64,
    /// Unsent bytes of one client.
    pub(crate) outbox_bytes: u64,
    /// Unsent bytes of all clients together.
    pub(crate) outboxes_bytes: u64,
    /// Bytes of messages in memory.
    pub(crate) history_bytes: u64,
    /// Bytes of memory of the process; 0 without a limit of its own.
    pub(crate) memory_bytes: u64,
    /// Whether the limit of open files gives that of connections: `CHAT_CONNECTIONS` is 0 or more than it allows.
    pub(crate) connections_by_open_files: bool,
    /// Whether the memory limit gives that of all outboxes, because `CHAT_OUTBOXES_BYTES` is more than their part.
    pub(crate) outboxes_by_memory: bool,
}

impl Limits {
    /// The limits of this configuration, with the number of connections that is actually possible.
    pub(crate) fn of(config: &Config, connections: u64) -> Self {
        let outboxes_bytes = config.outboxes_bytes();
        Self {
            connections,
            credits: config.server_credits,
            rooms: config.rooms,
            inboxes: config.inboxes,
            outbox_bytes: config.outbox_bytes,
            outboxes_bytes,
            history_bytes: config.history_bytes,
            memory_bytes: config.memory_bytes,
            connections_by_open_files: config.connections != connections,
            outboxes_by_memory: config.outboxes_bytes != outboxes_bytes,
        }
    }

    /// Registers them. They are constant while the server runs.
    pub(crate) fn register(self, registry: &Registry) -> prometheus::Result<()> {
        for (name, help, limit) in [
            ("chat_connections_limit", "Maximum number of connections at a time.", self.connections),
            ("chat_credits_limit", "Maximum number of commands in flight.", self.credits),
            ("chat_rooms_limit", "Maximum number of rooms.", self.rooms),
            ("chat_inboxes_limit", "Maximum number of inboxes that come from writing to clients.", self.inboxes),
            ("chat_outbox_limit_bytes", "Maximum number of bytes that may wait for one client.", self.outbox_bytes),
            (
                "chat_outboxes_limit_bytes",
                "Maximum number of bytes that may wait for all clients.",
                self.outboxes_bytes,
            ),
            ("chat_history_memory_limit_bytes", "Maximum number of bytes of messages in memory.", self.history_bytes),
            ("chat_memory_limit_bytes", "Maximum number of bytes of memory of the process, or 0.", self.memory_bytes),
        ] {
            let gauge = IntGauge::new(name, help)?;
            gauge.set(i64::try_from(limit).unwrap_or(i64::MAX));
            registry.register(Box::new(gauge))?;
        }
        let help = "1 if something other than this setting gives the limit in force.";
        let set_elsewhere = IntGaugeVec::new(Opts::new("chat_limit_set_elsewhere", help), &["limit"])?;
        for (setting, is_so) in
            [("CHAT_CONNECTIONS", self.connections_by_open_files), ("CHAT_OUTBOXES_BYTES", self.outboxes_by_memory)]
        {
            set_elsewhere.with_label_values(&[setting]).set(is_so.into());
        }
        registry.register(Box::new(set_elsewhere))
    }
}
