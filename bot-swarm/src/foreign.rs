//! The protocols of other servers, as far as a bot needs them: join one room, send a message, recognize its ack.
//!
//! Everything here is pure: a frame goes in, and its meaning comes out. A bot keeps only one thing between frames, the
//! bytes of an incomplete packet.

mod centrifugo;
mod mqtt;
mod nats;
mod phoenix;
mod socket_io;

use std::time::Duration;

use awc::ws::Message;

/// The only room of the bots: a channel or a topic.
const ROOM: &str = "lobby";

/// The protocol of another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Centrifugo,
    SocketIo,
    Phoenix,
    Mqtt,
    Nats,
}

/// The meaning of a server's frame to a bot.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// The bot is in the room.
    Joined,
    /// The bot must send this now.
    Answer(Message),
    /// The server accepted the message with this number on the wire.
    Taken(u64),
    /// The server refused the message with this number on the wire, or (`None`) something other than a message.
    Refused(Option<u64>, String),
    /// A message from somebody, which may contain a marker.
    Said(&'a [u8]),
    /// It is not allowed by the protocol.
    Nonsense,
}

impl Foreign {
    /// The WebSocket subprotocol that the client requests.
    pub(crate) fn subprotocol(self) -> Option<&'static str> {
        (self == Self::Mqtt).then_some("mqtt")
    }

    /// The required query parameters of the URL: names and values.
    pub(crate) fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SocketIo => &[("EIO", "4"), ("transport", "websocket")],
            Self::Phoenix => &[("vsn", "2.0.0")],
            Self::Centrifugo | Self::Mqtt | Self::Nats => &[],
        }
    }

    /// The frame that a bot of this name sends right after the WebSocket handshake.
    pub(crate) fn greeting(self, name: &str) -> Option<Message> {
        match self {
            Self::Centrifugo => Some(centrifugo::connect(name)),
            Self::SocketIo => None,
            Self::Phoenix => Some(phoenix::join()),
            Self::Mqtt => Some(mqtt::connect(name)),
            Self::Nats => Some(nats::connect(name)),
        }
    }

    /// The number on the wire of the bot's message with this serial number. If the protocol has no numbers, all
    /// messages have the same, and an answer belongs to the oldest.
    pub(crate) fn wire_id(self, serial: u64) -> u64 {
        match self {
            Self::SocketIo => serial,
            Self::Centrifugo => centrifugo::wire_id(serial),
            Self::Phoenix => phoenix::wire_id(serial),
            Self::Mqtt => mqtt::wire_id(serial),
            Self::Nats => nats::OLDEST,
        }
    }

    /// The frame that sends a message to the room.
    pub(crate) fn say(self, wire_id: u64, text: &str) -> Message {
        match self {
            Self::Centrifugo => centrifugo::publish(wire_id, text),
            Self::SocketIo => socket_io::emit(wire_id, text),
            Self::Phoenix => phoenix::push(wire_id, text),
            Self::Mqtt => mqtt::publish(wire_id, text),
            Self::Nats => nats::publish(text),
        }
    }

    /// Interprets a frame. Returns the number of bytes at its end that are an incomplete packet; the caller puts them
    /// before the next frame.
    pub(crate) fn hear(self, frame: &[u8], mut told: impl FnMut(Heard<'_>)) -> usize {
        match self {
            Self::Centrifugo => centrifugo::hear(frame, &mut told),
            Self::SocketIo => told(socket_io::hear(frame)),
            Self::Phoenix => phoenix::hear(frame).into_iter().for_each(told),
            Self::Mqtt => return mqtt::hear(frame, &mut told),
            Self::Nats => return nats::hear(frame, &mut told),
        }
        0
    }

    /// A ping from the client, if the protocol requires it.
    pub(crate) fn heartbeat(self) -> Option<Message> {
        match self {
            // With NATS, a pong is the ack of a message, so there are no other pings.
            Self::Centrifugo | Self::SocketIo | Self::Nats => None,
            Self::Phoenix => Some(phoenix::heartbeat()),
            Self::Mqtt => Some(mqtt::ping()),
        }
    }

    /// The interval at which a server at rest sends something. A bot checks after two and a half times as long, and
    /// then sends its own [`heartbeat`](Self::heartbeat).
    pub(crate) fn pulse(self) -> Duration {
        match self {
            // By default, these servers ping every 25 seconds.
            Self::Centrifugo | Self::SocketIo => Duration::from_secs(25),
            // Phoenix drops a client that sends nothing for a minute.
            Self::Phoenix => Duration::from_secs(12),
            Self::Mqtt => mqtt::KEEP_ALIVE / 5,
            Self::Nats => nats::PING_INTERVAL,
        }
    }
}

fn text(json: &impl ToString) -> Message {
    Message::Text(json.to_string().into())
}

#[cfg(test)]
mod tests;
