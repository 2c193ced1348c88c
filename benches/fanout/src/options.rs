//! The command line.

use std::path::PathBuf;

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use crate::marker;

/// How a TLS connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Handshake {
    /// As that of a client which comes for the first time.
    Full,
    /// With the session of an earlier connection, if there is one.
    Resumed,
}

/// Loads a WebSocket chat, and checks every delivery. One thread: pin it with taskset.
#[derive(Debug, Clone, Parser)]
#[command(version, args_override_self = true)]
pub(crate) struct Options {
    /// ws://HOST:PORT/PATH, or wss:// for TLS. In the path {id} and {room} are replaced
    #[arg(long)]
    pub(crate) url: String,
    /// The authorities that sign the server's certificate, as PEM; for wss://
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// How a TLS connection begins
    #[arg(long, value_enum, default_value_t = Handshake::Full)]
    pub(crate) handshake: Handshake,
    /// Connections that read
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) connections: usize,
    /// Those of them that also send, spread evenly
    #[arg(short = 'p', long, default_value_t = 1)]
    pub(crate) senders: usize,
    /// Messages a second, of all senders together; 0: nothing is sent
    #[arg(short = 'r', long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Send whenever fewer messages than the window are in flight, instead of at a rate
    #[arg(long)]
    pub(crate) closed_loop: bool,
    /// Messages in flight of the closed loop; one has arrived when all its receivers have it
    #[arg(long, default_value_t = 32)]
    pub(crate) window: u64,
    /// Measured seconds
    #[arg(short = 'd', long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Seconds of the same load before them
    #[arg(long, default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Most seconds to wait for deliveries after the last message
    #[arg(long, default_value_t = 5.0)]
    pub(crate) drain: f64,
    /// Bytes of {payload}, at least 28
    #[arg(short = 's', long, default_value_t = 128)]
    pub(crate) size: usize,
    /// A message: a text with {payload}, and where they are needed {id}, {room} and {target}
    #[arg(short = 'm', long, default_value = "{payload}")]
    pub(crate) message: String,
    /// A frame that each connection sends first, with {id} and {room}; may be given several times
    #[arg(long)]
    pub(crate) hello: Vec<String>,
    /// A connection is ready only after a frame with this text
    #[arg(long)]
    pub(crate) ready_contains: Option<String>,
    /// Split the connections into this many rooms; {room} is the number of a connection's own
    #[arg(long, default_value_t = 1)]
    pub(crate) rooms: usize,
    /// Send each message to one other connection, {target}, chosen at random
    #[arg(long)]
    pub(crate) private: bool,
    /// Further connections that never read once they are ready
    #[arg(long, default_value_t = 0)]
    pub(crate) slow_readers: usize,
    /// Connections from one loopback address: an address has about 28,000 ports
    #[arg(long, default_value_t = 10_000)]
    pub(crate) per_address: usize,
    /// Handshakes at the same time
    #[arg(long, default_value_t = 128)]
    pub(crate) connect_concurrency: usize,
    /// Stop connecting when no connection has become ready for this many seconds
    #[arg(long, default_value_t = 10.0)]
    pub(crate) connect_timeout: f64,
    /// Never sleep, so that the server does not pay for waking another core at each write
    #[arg(long)]
    pub(crate) busy_poll: bool,
    /// Seconds without load after the last connection, before memory is read
    #[arg(long, default_value_t = 1.0)]
    pub(crate) settle: f64,
    /// A process of the server, whose CPU time and memory are reported; may be given several times
    #[arg(long)]
    pub(crate) server_pid: Vec<i32>,
    /// Write the report to this file, too
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Checks what clap cannot.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.size >= marker::BYTES, "--size must be at least {}", marker::BYTES);
        ensure!((1..=self.connections).contains(&self.senders), "--senders must be 1 to the number of connections");
        ensure!(self.rooms > 0 && self.per_address > 0, "--rooms and --per-address must be at least 1");
        ensure!(!self.private || self.connections > 1, "--private needs two connections");
        ensure!(self.message.contains("{payload}"), "--message needs {{payload}}");
        ensure!(!self.private || self.message.contains("{target}"), "--private needs {{target}} in --message");
        Ok(())
    }

    /// The room of a connection.
    pub(crate) fn room_of(&self, connection: usize) -> usize {
        connection % self.rooms
    }

    pub(crate) fn sends(&self) -> bool {
        self.closed_loop || self.rate > 0.0
    }
}

/// The name of a connection.
pub(crate) fn name_of(connection: usize) -> String {
    format!("u{connection}")
}
