//! The server's protocol: Starling's or another one, so that other servers can be measured with the same load.

use std::fmt;
use std::str::FromStr;

use crate::foreign::Foreign;
use crate::ledger::Audience;

/// The protocol that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Starling's protocol.
    Starling,
    /// Every connection gets every message: an object with `clientId` and `Message`, without handshake and answers.
    Seed,
    /// Every message returns to its sender, and to nobody else.
    Echo,
    /// Centrifugo's client protocol in JSON.
    Centrifugo,
    /// Socket.IO over Engine.IO 4, by WebSocket only.
    SocketIo,
    /// Phoenix channels, serializer 2.0.0.
    Phoenix,
    /// MQTT 3.1.1 over WebSocket, with acknowledged delivery.
    Mqtt,
    /// NATS over WebSocket.
    Nats,
}

/// The beginnings of first frames that some servers send on their own.
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

    /// The dialect of a server that greets with this frame. `None` if it cannot be determined.
    pub(crate) fn of_greeting(frame: &[u8]) -> Option<Self> {
        GREETINGS.iter().find(|(greeting, _)| frame.starts_with(greeting)).map(|(_, dialect)| *dialect)
    }

    /// The protocol of a server that is neither Starling nor plain.
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

    /// The receivers of a message.
    pub fn audience(self) -> Audience {
        if self == Self::Echo { Audience::Sender } else { Audience::All }
    }

    /// Whether the server acknowledges a message to its sender.
    pub fn answers(self) -> bool {
        self != Self::Seed
    }

    /// Whether each bot is compared with each other, because the server does not number messages.
    pub fn compares_all(self) -> bool {
        self != Self::Starling && self.audience() == Audience::All
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no dialect")]
pub struct NotADialect;

impl FromStr for Dialect {
    type Err = NotADialect;

    fn from_str(text: &str) -> Result<Self, NotADialect> {
        Self::ALL.into_iter().find(|dialect| dialect.as_str() == text).ok_or(NotADialect)
    }
}
