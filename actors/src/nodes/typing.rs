//! What nodes tell each other of those who type. It is not in the log: a notice may be lost.

use serde::{Deserialize, Serialize};
use starling_protocol::{ClientId, RoomName};

/// A client types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypingNotice {
    /// Who types.
    pub client_id: ClientId,
    /// The destination of the message.
    pub at: TypedAt,
}

/// The destination of what a client types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TypedAt {
    /// A room that the client is in.
    Room(RoomName),
    /// One client, in private.
    Client(ClientId),
}
