//! How a server speaks: as Starling does, or plainly, so that other people's servers can be measured beside it.

use std::fmt;
use std::str::FromStr;

/// How a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Starling's protocol.
    Starling,
    /// Every connection gets every message: an object of `clientId` and `Message`, with no handshake and no answers.
    Seed,
    /// Every message comes back to its sender, and to nobody else.
    Echo,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::Starling, Self::Seed, Self::Echo];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Seed => "seed",
            Self::Echo => "echo",
        }
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
