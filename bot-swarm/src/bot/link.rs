//! A bot's connection, as the bot sees it.

use std::time::Duration;

use actix::SpawnHandle;
use awc::ws;

use super::socket::Socket;
use crate::clock::Nanos;

/// The interval at which a slow bot reads.
const READ_PERIOD: Duration = Duration::from_millis(100);

/// The state of a bot's connection.
pub(super) enum Link {
    /// No connection; an errand will open one.
    Down,
    /// The handshake is not finished.
    Connecting(SpawnHandle),
    /// There is a connection.
    Open(OpenLink),
    /// No connection, and no errand to open one.
    Gone,
}

/// An open connection.
pub(super) struct OpenLink {
    pub(super) socket: Socket,
    pub(super) inbound: SpawnHandle,
    pub(super) outflow: SpawnHandle,
    pub(super) greeting: Greeting,
    /// Whether the bot has sent a close frame.
    pub(super) is_leaving: bool,
    /// The reason of the server's close frame, once it has arrived.
    pub(super) closed_for: Option<String>,
    /// Whether anything came since the last pulse check.
    pub(super) is_alive: bool,
    /// The time of the next pulse check. `pulse_interval` is the time between two.
    pub(super) pulse_due: Nanos,
    pub(super) pulse_interval: Duration,
    /// The pause that the server requested when it announced that it closes.
    pub(super) reconnect_after: Duration,
    /// The time at which a slow bot may read more.
    pub(super) reads_at: Nanos,
}

/// The server's reaction after an accepted handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    Awaited,
    /// The server has sent something that is not in the bot's dialect.
    Misunderstood,
    Welcomed,
}

impl OpenLink {
    fn is_welcomed(&self) -> bool {
        self.greeting == Greeting::Welcomed
    }
}

impl Link {
    /// Whether the bot may send messages.
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Open(link) if link.is_welcomed() && !link.is_leaving && link.closed_for.is_none())
    }

    /// Whether the server has welcomed the bot on this connection.
    pub(super) fn is_welcomed(&self) -> bool {
        matches!(self, Self::Open(link) if link.is_welcomed())
    }

    /// The server's reaction after the handshake, if there is a connection.
    pub(super) fn greeting(&mut self) -> Option<&mut Greeting> {
        if let Self::Open(link) = self { Some(&mut link.greeting) } else { None }
    }

    /// Whether the outbox has room for another message.
    pub(super) fn has_room(&self) -> bool {
        matches!(self, Self::Open(link) if link.socket.has_room())
    }

    /// Whether the bot has sent a close frame.
    pub(super) fn is_leaving(&self) -> bool {
        matches!(self, Self::Open(link) if link.is_leaving)
    }

    /// Gives a frame to the socket, if there is one.
    pub(super) fn send(&self, message: ws::Message) {
        if let Self::Open(link) = self
            && let Err(error) = link.socket.send(message)
        {
            log::error!("a frame could not be encoded: {error}");
        }
    }

    /// Lets a slow bot read more, if its time has come. Returns the next time.
    pub(super) fn read_on(&mut self, due: Nanos, now: Nanos, bytes_per_second: u32, is_over: bool) -> Option<Nanos> {
        let Self::Open(link) = self else { return None };
        if link.reads_at != due {
            return None;
        }
        // The bot reads ten times a second, so a tenth of the rate each time; at least one byte, or it would never
        // read.
        let bytes = if is_over { usize::MAX } else { (bytes_per_second / 10).max(1) as usize };
        link.socket.allow_to_read(bytes);
        link.reads_at = due.after(READ_PERIOD).max(now);
        Some(link.reads_at)
    }

    /// Notes that something came from the server.
    pub(super) fn note_life(&mut self) {
        if let Self::Open(link) = self {
            link.is_alive = true;
        }
    }

    /// Notes that the server announced to close, with the pause that it requested.
    pub(super) fn note_closing(&mut self, reconnect_after: Duration) {
        if let Self::Open(link) = self {
            link.reconnect_after = reconnect_after;
        }
    }
}
