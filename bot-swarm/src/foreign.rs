//! The protocols of other servers, as far as a bot needs them: join one room, say something, be told that it was taken.
//!
//! Everything here is pure: a frame goes in, and what it means comes out. A bot keeps one thing for it between frames,
//! the bytes of a packet that is not yet whole.

mod centrifugo;
mod mqtt;
mod nats;
mod phoenix;
mod socket_io;

use std::time::Duration;

use awc::ws::Message;

/// The one room of the bots: a channel, a topic.
const ROOM: &str = "lobby";

/// A protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Centrifugo,
    SocketIo,
    Phoenix,
    Mqtt,
    Nats,
}

/// What a frame of a server means to a bot.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    /// The bot is in the room.
    Joined,
    /// The bot must send this now.
    Answer(Message),
    /// The server took the message with this number on the wire.
    Taken(u64),
    /// The server refused the message with this number on the wire, or (`None`) something that is no message.
    Refused(Option<u64>, String),
    /// Somebody said something; the marker is somewhere in it.
    Said(&'a [u8]),
    /// It is not what the protocol allows.
    Nonsense,
}

impl Foreign {
    /// The WebSocket subprotocol that is asked for.
    pub(crate) fn subprotocol(self) -> Option<&'static str> {
        (self == Self::Mqtt).then_some("mqtt")
    }

    /// What must be in the query of the URL: a name, and its value.
    pub(crate) fn query(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SocketIo => &[("EIO", "4"), ("transport", "websocket")],
            Self::Phoenix => &[("vsn", "2.0.0")],
            Self::Centrifugo | Self::Mqtt | Self::Nats => &[],
        }
    }

    /// What a bot of this name sends right after the WebSocket handshake.
    pub(crate) fn greeting(self, name: &str) -> Option<Message> {
        match self {
            Self::Centrifugo => Some(centrifugo::connect(name)),
            Self::SocketIo => None,
            Self::Phoenix => Some(phoenix::join()),
            Self::Mqtt => Some(mqtt::connect(name)),
            Self::Nats => Some(nats::connect(name)),
        }
    }

    /// The number on the wire of the bot's message with this serial number. Where all have one number, an answer is for the
    /// oldest.
    pub(crate) fn wire_id(self, serial: u64) -> u64 {
        match self {
            Self::SocketIo => serial,
            Self::Centrifugo => centrifugo::wire_id(serial),
            Self::Phoenix => phoenix::wire_id(serial),
            Self::Mqtt => mqtt::wire_id(serial),
            Self::Nats => nats::OLDEST,
        }
    }

    /// Says something to the room.
    pub(crate) fn say(self, wire_id: u64, text: &str) -> Message {
        match self {
            Self::Centrifugo => centrifugo::publish(wire_id, text),
            Self::SocketIo => socket_io::emit(wire_id, text),
            Self::Phoenix => phoenix::push(wire_id, text),
            Self::Mqtt => mqtt::publish(wire_id, text),
            Self::Nats => nats::publish(text),
        }
    }

    /// What a frame means. Answers how many bytes at its end are not yet a whole packet; they come before the next frame.
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

    /// A ping of the client, where the protocol wants it to ping.
    pub(crate) fn heartbeat(self) -> Option<Message> {
        match self {
            // Of NATS a pong is the ack of a message, so nothing else is pinged for.
            Self::Centrifugo | Self::SocketIo | Self::Nats => None,
            Self::Phoenix => Some(phoenix::heartbeat()),
            Self::Mqtt => Some(mqtt::ping()),
        }
    }

    /// How often something comes from a server at rest. A bot looks after two and a half times as long, and sends its own
    /// [`heartbeat`](Self::heartbeat) then.
    pub(crate) fn pulse(self) -> Duration {
        match self {
            // By default these ping every 25 seconds.
            Self::Centrifugo | Self::SocketIo => Duration::from_secs(25),
            // It gives up a client that says nothing for a minute.
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
