//! A bot's connection, as the bot holds it.

use std::time::Duration;

use actix::SpawnHandle;
use awc::ws;

use super::socket::Socket;
use crate::clock::Nanos;

/// How often a bot that reads slowly reads.
const READ_PERIOD: Duration = Duration::from_millis(100);

/// What a bot's connection is to it at the moment.
pub(super) enum Link {
    /// There is none; an errand will make one.
    Down,
    /// On the way.
    Connecting(SpawnHandle),
    /// There is one.
    Open(OpenLink),
    /// There was one, and there will be none.
    Gone,
}

/// A connection.
pub(super) struct OpenLink {
    pub(super) socket: Socket,
    pub(super) inbound: SpawnHandle,
    pub(super) outflow: SpawnHandle,
    pub(super) greeting: Greeting,
    /// Whether the bot has said goodbye.
    pub(super) is_leaving: bool,
    /// Why the server closes, once it has said so.
    pub(super) closed_for: Option<String>,
    /// Whether anything came since the pulse was last checked.
    pub(super) is_alive: bool,
    /// When the pulse is checked next, and how often.
    pub(super) pulse_due: Nanos,
    pub(super) pulse_interval: Duration,
    /// What the server asked for when it announced that it will close.
    pub(super) reconnect_after: Duration,
    /// When a bot that reads slowly may read more.
    pub(super) reads_at: Nanos,
}

/// The server's answer to an accepted handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    Awaited,
    /// The server has sent something that the bot's dialect does not know.
    Misunderstood,
    Welcomed,
}

impl OpenLink {
    fn is_welcomed(&self) -> bool {
        self.greeting == Greeting::Welcomed
    }
}

impl Link {
    /// Whether messages may be sent.
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Open(link) if link.is_welcomed() && !link.is_leaving && link.closed_for.is_none())
    }

    /// Whether the server has welcomed the bot on this connection.
    pub(super) fn is_welcomed(&self) -> bool {
        matches!(self, Self::Open(link) if link.is_welcomed())
    }

    /// What the server has answered to the handshake, while there is a connection.
    pub(super) fn greeting(&mut self) -> Option<&mut Greeting> {
        if let Self::Open(link) = self { Some(&mut link.greeting) } else { None }
    }

    /// Whether the socket takes another message.
    pub(super) fn has_room(&self) -> bool {
        matches!(self, Self::Open(link) if link.socket.has_room())
    }

    /// Whether the bot has said goodbye.
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

    /// Lets a slow bot read some more, if this is its time. Answers when the next time is.
    pub(super) fn read_on(&mut self, due: Nanos, now: Nanos, bytes_per_second: u32, is_over: bool) -> Option<Nanos> {
        let Self::Open(link) = self else { return None };
        if link.reads_at != due {
            return None;
        }
        // Ten times a second, so a tenth of it; at least a byte, or nothing would ever be read.
        let bytes = if is_over { usize::MAX } else { (bytes_per_second / 10).max(1) as usize };
        link.socket.allow_to_read(bytes);
        link.reads_at = due.after(READ_PERIOD).max(now);
        Some(link.reads_at)
    }

    /// Something came.
    pub(super) fn note_life(&mut self) {
        if let Self::Open(link) = self {
            link.is_alive = true;
        }
    }

    /// The server will close, and said when to come back.
    pub(super) fn note_closing(&mut self, reconnect_after: Duration) {
        if let Self::Open(link) = self {
            link.reconnect_after = reconnect_after;
        }
    }
}
