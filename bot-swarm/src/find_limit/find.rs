//! The quantity that a search for a limit raises.

use std::fmt;
use std::str::FromStr;

/// The quantity that is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// The number of bots, each with `BOT_MESSAGES_PER_SECOND` messages.
    Bots,
    /// The messages per second of all `BOT_COUNT` bots.
    Messages,
    /// The members of a room: about `BOT_COUNT` bots fill as many rooms as needed, with a constant total of messages
    /// per second.
    Room,
}

impl Find {
    /// All quantities.
    const ALL: [Self; 3] = [Self::Bots, Self::Messages, Self::Room];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bots => "bots",
            Self::Messages => "messages",
            Self::Room => "room",
        }
    }

    /// The unit of its loads.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Bots => "bots",
            Self::Messages => "messages a second",
            Self::Room => "members of a room",
        }
    }
}

impl FromStr for Find {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|find| find.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
