//! The target of a sanction: whom, where, what.

use std::fmt;

use serde::{Deserialize, Serialize};
use starling_protocol::{ClientId, RoomName};

use crate::client_address::ClientAddress;

/// Whom a sanction is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// Who has this name. Where names are not authenticated, a client can take another one.
    Client(ClientId),
    /// Who connects from this address.
    Address(ClientAddress),
}

/// What a client may not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Write, change or react.
    Mute,
    /// Be there.
    Ban,
}

impl Measure {
    /// The word for it in texts and keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Ban => "ban",
        }
    }

    /// What a client is that it is applied to.
    pub fn participle(self) -> &'static str {
        match self {
            Self::Mute => "muted",
            Self::Ban => "banned",
        }
    }
}

/// What a sanction is about. There is at most one for each target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Whom.
    pub subject: Subject,
    /// Where. `None`: on the whole server.
    pub room: Option<RoomName>,
    /// What.
    pub measure: Measure,
}

impl Target {
    /// The client or the address, for a person.
    pub(super) fn who(&self) -> String {
        match &self.subject {
            Subject::Client(name) => name.to_string(),
            Subject::Address(address) => format!("the address {address}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who())?;
        self.room.as_ref().map_or(Ok(()), |room| write!(f, " in {room}"))
    }
}
