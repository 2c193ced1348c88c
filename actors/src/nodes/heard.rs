//! What a node hears: records of the log, and what other nodes tell it beside the log.

use serde::{Deserialize, Serialize};
use starling_protocol::{ClientId, MessageId};

use super::record::{BadRecord, Incarnation, LogPosition, Record};
use crate::identity::IdOwner;

/// Something that the log or another node tells this node.
#[derive(Debug)]
pub enum Heard {
    /// The next record of the log.
    Record {
        /// Its place in the log.
        position: LogPosition,
        /// The log's time for it, in milliseconds since the Unix epoch.
        at: u64,
        /// What was written.
        record: Record,
    },
    /// Whether the log can be reached. While it cannot, nobody is let in.
    Reachable(bool),
    /// Records that were written and not read back may not be in the log: they are to be written again.
    Lost,
    /// A life of another node says that it lives. Each says so several times in a node's timeout.
    Alive(Incarnation),
    /// Another node has a private message for a client here.
    Relay {
        /// The life of the node that has it.
        from: Incarnation,
        /// Its number there, for the answer.
        number: u64,
        /// The message.
        message: Box<RelayedMessage>,
    },
    /// Another node has answered a [`Relay`](Self::Relay) of this one.
    RelayAnswer {
        /// The life that was asked.
        from: Incarnation,
        /// The number that it was asked with.
        number: u64,
        /// Whether the receiver has a connection there, and was sent the message.
        is_delivered: bool,
    },
}

/// A private message that is not stored, on its way to another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayedMessage {
    /// The sender.
    pub client_id: ClientId,
    /// The receiver.
    pub to: ClientId,
    /// The text.
    pub text: Box<str>,
    /// When the sender's node took it, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The sender's own name for it, and whose it is.
    pub id: Option<(IdOwner, MessageId)>,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    client_id: &'a str,
    to: &'a str,
    text: &'a str,
    at: u64,
    id: Option<(u64, &'a str)>,
}

impl RelayedMessage {
    /// Its bytes between two nodes.
    pub fn write(&self) -> Vec<u8> {
        let id = self.id.as_ref().map(|(owner, id)| (owner.0, id.as_str()));
        let (client_id, to) = (self.client_id.as_str(), self.to.as_str());
        postcard::to_allocvec(&Wire { client_id, to, text: &self.text, at: self.at, id }).unwrap_or_default()
    }

    /// Reads what [`write`](Self::write) has written.
    ///
    /// # Errors
    /// [`BadRecord::Foreign`].
    pub fn read(bytes: &[u8]) -> Result<Self, BadRecord> {
        let Wire { client_id, to, text, at, id } = postcard::from_bytes(bytes).map_err(|_| BadRecord::Foreign)?;
        let client = |name| ClientId::parse(name).map_err(|_| BadRecord::Foreign);
        let id = id.map(|(owner, id)| MessageId::parse(id).map(|id| (IdOwner(owner), id)));
        let id = id.transpose().map_err(|_| BadRecord::Foreign)?;
        Ok(Self { client_id: client(client_id)?, to: client(to)?, text: text.into(), at, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relayed_message_is_read_as_it_was_written() {
        let client = |name| ClientId::parse(name).unwrap();
        let id = Some((IdOwner(9), MessageId::parse("m \"1\"").unwrap()));
        let message = RelayedMessage { client_id: client("alice"), to: client("bob"), text: "hi".into(), at: 5, id };
        assert_eq!(RelayedMessage::read(&message.write()), Ok(message));
        assert_eq!(RelayedMessage::read(b"\x09x"), Err(BadRecord::Foreign));
    }
}
