//! Authenticated identity: the claims of a token that an edge has verified. The chat itself never sees a token.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use starling_protocol::{ClientId, ClientKey, NameError, RoomName};
use wildmatch::WildMatch;

/// The identity of a connection when it opens.
#[derive(Debug, Clone, PartialEq)]
pub enum Identity {
    /// Names are not authenticated: a connection may take any name that no other connection holds.
    Open,
    /// Names are authenticated, and this connection has yet to show a token.
    Unproven,
    /// A verified token contains the identity.
    Proven(Arc<Claims>),
}

/// The namespace of message `id`s: one client, which is not the same as one name.
///
/// Where names are not authenticated, different clients may hold a name one after the other, so the client is the name
/// *and* its key. Two clients that held the same name have different owners; one client keeps its owner when it
/// reconnects with its key. The value is a hash, so that the stored history contains no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdOwner(pub(crate) u64);

impl IdOwner {
    /// The client with this name and this key, where names are not authenticated.
    pub fn keyed(name: &ClientId, key: ClientKey) -> Self {
        Self::hashed(&("key", name.as_str(), key.0))
    }

    /// The client whose token contains this name.
    pub fn authenticated(name: &ClientId) -> Self {
        Self::hashed(&("token", name.as_str()))
    }

    /// The operators that post under this name. They share no `id`s with the client of that name.
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

/// The content of a verified token.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// The only name that the bearer may have.
    pub client_id: ClientId,
    /// The rooms that the client may join and read.
    pub rooms: RoomGlobs,
    /// Whether the bearer may use the operator's routes.
    pub is_admin: bool,
    /// The expiry, in milliseconds since the Unix epoch.
    pub expires_at: u64,
}

/// A pattern matches the name of no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} matches no room: {why}")]
pub struct BadPattern {
    pattern: String,
    why: NameError,
}

/// Whether a pattern of [`RoomGlobs`] matches the name of any room.
///
/// # Errors
/// [`BadPattern`].
pub fn check_pattern(pattern: &str) -> Result<(), BadPattern> {
    // The shortest names that it matches: without its `*`, or with one character for the first.
    let name = |first: &str| RoomName::parse(&pattern.replacen('*', first, 1).replace('*', "").replace('?', "x"));
    match (name(""), name("x")) {
        (Err(why), Err(_)) => Err(BadPattern { pattern: pattern.into(), why }),
        (Ok(_), _) | (_, Ok(_)) => Ok(()),
    }
}

impl Claims {
    /// Whether the bearer decides as an operator about this room; without a room, about the whole server. A token that
    /// does not allow all rooms reaches nothing outside of its own.
    pub fn operates(&self, room: Option<&RoomName>) -> bool {
        self.is_admin && room.map_or_else(|| self.rooms.is_all(), |room| self.rooms.allow(room))
    }
}

/// A set of rooms, given by patterns: `*` matches any characters, `?` exactly one.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomGlobs(Option<Arc<[WildMatch]>>);

impl RoomGlobs {
    /// Allows every room, without looking at its name.
    pub const ALL: Self = Self(None);

    /// The rooms that match at least one of these patterns; an empty list matches none.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Self {
        Self(Some(patterns.into_iter().map(|pattern| WildMatch::new(pattern.as_ref())).collect()))
    }

    /// Whether one of the patterns is the name of the room itself, without a wildcard.
    pub fn name(&self, room: &RoomName) -> bool {
        self.0.as_ref().is_some_and(|globs| globs.iter().any(|glob| glob.pattern() == room.as_str()))
    }

    /// Whether every room is in the set, whatever its name.
    pub fn is_all(&self) -> bool {
        self.0.as_ref().is_none_or(|globs| {
            globs.iter().any(|glob| glob.pattern().chars().all(|c| c == '*') && !glob.pattern().is_empty())
        })
    }

    /// Whether the room is in the set.
    pub fn allow(&self, room: &RoomName) -> bool {
        self.0.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(room.as_str())))
    }
}

/// A caller outside the chat.
#[derive(Debug, Clone, PartialEq)]
pub enum Caller {
    /// Any caller, because names are not authenticated.
    Anyone,
    /// A client with a token.
    Client(Claims),
    /// A caller with the operators' own token, or the server itself.
    Operator,
}

impl Caller {
    /// The rooms that it may read, as far as its token says.
    pub fn rooms(&self) -> &RoomGlobs {
        match self {
            Self::Anyone | Self::Operator => &RoomGlobs::ALL,
            Self::Client(claims) => &claims.rooms,
        }
    }
}

/// The reason that a token is refused, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(pub String);

type Verify = dyn Fn(&str) -> Result<Claims, BadToken> + Send + Sync;

/// Verifies tokens. The edge supplies it; sessions call it.
#[derive(Clone)]
pub struct TokenVerifier(Arc<Verify>);

impl TokenVerifier {
    /// Wraps a verifying function.
    pub fn new(verify: impl Fn(&str) -> Result<Claims, BadToken> + Send + Sync + 'static) -> Self {
        Self(Arc::new(verify))
    }

    /// Verifies a token and returns its claims.
    ///
    /// # Errors
    /// [`BadToken`] if the token is invalid or has expired.
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
        for (pattern, names) in [("dev", true), ("de?", false), ("*", false), ("dev*", false), ("DEV", false)] {
            assert_eq!(RoomGlobs::new([pattern]).name(&RoomName::parse("dev").unwrap()), names, "{pattern}");
        }
        assert!(!RoomGlobs::ALL.name(&RoomName::parse("dev").unwrap()));
        assert!(allows(&RoomGlobs::ALL, "anything") && allows(&RoomGlobs::new(["*"]), "anything"));
        assert!(!allows(&RoomGlobs::new([""; 0]), "lobby"));
        for (patterns, is_all) in [(&["*"][..], true), (&["dev", "**"], true), (&["?*", ""], false), (&[], false)] {
            assert_eq!(RoomGlobs::new(patterns).is_all(), is_all, "{patterns:?}");
        }
    }

    #[test]
    fn an_operator_decides_about_the_rooms_of_its_token_and_with_all_rooms_about_the_server() {
        let [dev, ops] = ["dev", "ops"].map(|name| RoomName::parse(name).unwrap());
        for (rooms, is_admin, decides) in [
            (RoomGlobs::ALL, true, [true, true, true]),
            (RoomGlobs::new(["*"]), true, [true, true, true]),
            (RoomGlobs::new(["de?"]), true, [true, false, false]),
            (RoomGlobs::ALL, false, [false, false, false]),
        ] {
            let client_id = ClientId::parse("olga").unwrap();
            let claims = Claims { client_id, rooms, is_admin, expires_at: 0 };
            assert_eq!([Some(&dev), Some(&ops), None].map(|room| claims.operates(room)), decides, "{claims:?}");
        }
    }

    #[test]
    fn a_pattern_that_no_name_fits_is_known() {
        let (long, longer) = ("x".repeat(64), "x".repeat(65));
        for (pattern, says) in [
            ("lobby", None),
            ("*", None),
            ("?", None),
            ("*-dev", None),
            ("**", None),
            (&*format!("*{long}*"), None),
            ("?-x", None),
            ("", Some("a name has 1 to 64 characters")),
            ("a/b", Some("a name has only letters, digits, '.', '_' and '-', not '/'")),
            (" dev", Some("a name starts with a letter or a digit, not with ' '")),
            ("-*", Some("a name starts with a letter or a digit, not with '-'")),
            (&longer, Some("a name has 1 to 64 characters, this one has 65")),
        ] {
            let outcome = check_pattern(pattern).map_err(|bad| bad.to_string());
            assert_eq!(outcome, says.map_or(Ok(()), |says| Err(format!("{pattern:?} matches no room: {says}"))));
        }
    }
}
