//! Who a connection is: what a token that an edge has verified says. The chat never sees a token itself.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use starling_protocol::{ClientId, ClientKey, RoomName};
use wildmatch::WildMatch;

/// What is known of a connection when it comes, and what a `hello` brings.
#[derive(Debug, Clone, PartialEq)]
pub enum Identity {
    /// Names are not authenticated: the connection is who it says it is, for as long as nobody else is.
    Open,
    /// Names are authenticated, and this connection has not said who it is.
    Unproven,
    /// A verified token says who it is.
    Proven(Arc<Claims>),
}

/// Whose message `id`s are remembered together: one client, which is more than one name.
///
/// Where names are not authenticated, a name passes from hand to hand, and the client is the name *and* its key. Two
/// clients that held the same name one after the other have different owners; one client keeps its owner over a
/// reconnection with its key. The value is a hash, so that the stored history holds no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdOwner(pub(crate) u64);

impl IdOwner {
    /// The client that has this name and this key, where names are not authenticated.
    pub fn keyed(name: &ClientId, key: ClientKey) -> Self {
        Self::hashed(&("key", name.as_str(), key.0))
    }

    /// The client whose token says this name.
    pub fn authenticated(name: &ClientId) -> Self {
        Self::hashed(&("token", name.as_str()))
    }

    /// The operators who speak under this name. They share nothing with the client of that name.
    pub fn operator(name: &ClientId) -> Self {
        Self::hashed(&("operator", name.as_str()))
    }

    fn hashed(of: &impl Hash) -> Self {
        // Without a seed: the value is stored, and compared after a restart.
        let mut hasher = DefaultHasher::new();
        of.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What a verified token says of its bearer.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// The only name that the bearer may have.
    pub client_id: ClientId,
    /// The rooms that it may be in and read.
    pub rooms: RoomGlobs,
    /// Whether it may do what operators do.
    pub is_admin: bool,
    /// Until when this holds, milliseconds since the Unix epoch.
    pub expires_at: u64,
}

/// A list of patterns of room names, in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomGlobs(Option<Arc<[WildMatch]>>);

impl RoomGlobs {
    /// Allows every room, without looking at its name.
    pub const ALL: Self = Self(None);

    /// The rooms that one of these patterns fits; an empty list fits none.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Self {
        Self(Some(patterns.into_iter().map(|pattern| WildMatch::new(pattern.as_ref())).collect()))
    }

    /// Whether the room is among them.
    pub fn allow(&self, room: &RoomName) -> bool {
        self.0.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(room.as_str())))
    }
}

/// Why a token proves nothing, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(pub String);

type Verify = dyn Fn(&str) -> Result<Claims, BadToken> + Send + Sync;

/// Verifies tokens; the edge that knows how gives it to the sessions.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Verify>);

impl TokenVerifier {
    /// A verifier that does this.
    pub fn new(verify: impl Fn(&str) -> Result<Claims, BadToken> + Send + Sync + 'static) -> Self {
        Self(Arc::new(verify))
    }

    /// What the token says.
    ///
    /// # Errors
    /// [`BadToken`], where it is none that this server believes, or has expired.
    pub fn verify(&self, token: &str) -> Result<Claims, BadToken> {
        (self.0)(token)
    }
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenVerifier")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(globs: &RoomGlobs, room: &str) -> bool {
        globs.allow(&RoomName::parse(room).unwrap())
    }

    #[test]
    fn a_room_is_allowed_that_one_of_the_patterns_fits() {
        let globs = RoomGlobs::new(["lobby", "dev-*", "team.?"]);
        for room in ["lobby", "dev-", "dev-ops", "team.1"] {
            assert!(allows(&globs, room), "{room}");
        }
        for room in ["dev", "xdev-1", "lobby2", "Lobby", "team.", "team.12"] {
            assert!(!allows(&globs, room), "{room}");
        }
        assert!(allows(&RoomGlobs::ALL, "anything") && allows(&RoomGlobs::new(["*"]), "anything"));
        assert!(!allows(&RoomGlobs::new([""; 0]), "lobby"));
    }
}
