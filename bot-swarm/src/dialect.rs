//! How a server speaks: as Starling does, or otherwise, so that other people's servers can be measured beside it.

use std::fmt;
use std::str::FromStr;

use crate::foreign::Foreign;
use crate::ledger::Audience;

/// How a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Starling's protocol.
    Starling,
    /// Every connection gets every message: an object of `clientId` and `Message`, with no handshake and no answers.
    Seed,
    /// Every message comes back to its sender, and to nobody else.
    Echo,
    /// Centrifugo's client protocol in JSON.
    Centrifugo,
    /// Socket.IO over Engine.IO 4, by WebSocket alone.
    SocketIo,
    /// Phoenix channels, serializer 2.0.0.
    Phoenix,
    /// MQTT 3.1.1 over WebSocket, with acknowledged delivery.
    Mqtt,
    /// NATS over WebSocket.
    Nats,
}

/// What servers say first, before they were asked anything.
const GREETINGS: [(&[u8], Dialect); 3] =
    [(br#"{"type":"welcome""#, Dialect::Starling), (br#"0{"sid":"#, Dialect::SocketIo), (b"INFO {", Dialect::Nats)];

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 8] = [
        Self::Starling,
        Self::Seed,
        Self::Echo,
        Self::Centrifugo,
        Self::SocketIo,
        Self::Phoenix,
        Self::Mqtt,
        Self::Nats,
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Seed => "seed",
            Self::Echo => "echo",
            Self::Centrifugo => "centrifugo",
            Self::SocketIo => "socket.io",
            Self::Phoenix => "phoenix",
            Self::Mqtt => "mqtt",
            Self::Nats => "nats",
        }
    }

    /// The dialect of a server that greets with this frame. `None`: it cannot be told.
    pub(crate) fn of_greeting(frame: &[u8]) -> Option<Self> {
        GREETINGS.iter().find(|(greeting, _)| frame.starts_with(greeting)).map(|(_, dialect)| *dialect)
    }

    /// The protocol of its own, where it has one that is not Starling's.
    pub(crate) fn foreign(self) -> Option<Foreign> {
        match self {
            Self::Starling | Self::Seed | Self::Echo => None,
            Self::Centrifugo => Some(Foreign::Centrifugo),
            Self::SocketIo => Some(Foreign::SocketIo),
            Self::Phoenix => Some(Foreign::Phoenix),
            Self::Mqtt => Some(Foreign::Mqtt),
            Self::Nats => Some(Foreign::Nats),
        }
    }

    /// Who gets a message.
    pub fn audience(self) -> Audience {
        if self == Self::Echo { Audience::Sender } else { Audience::All }
    }

    /// Whether the server answers a message to its sender.
    pub fn answers(self) -> bool {
        self != Self::Seed
    }

    /// Whether each bot is held against each other, because the server numbers nothing.
    pub fn compares_all(self) -> bool {
        self != Self::Starling && self.audience() == Audience::All
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text names no dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no dialect")]
pub struct NotADialect;

impl FromStr for Dialect {
    type Err = NotADialect;

    fn from_str(text: &str) -> Result<Self, NotADialect> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == text).ok_or(NotADialect)
    }
}
