//! Who the bots are: their names, rooms and friends, all told by their numbers.

use starling_protocol::{ClientId, RoomName, limits};

use crate::marker;

/// To how many others a bot writes in private: people write to a few friends, not to everybody. It also bounds what
/// the ledger must remember.
const FRIENDS_MAX: u32 = 4;

/// Longest prefix of a bot's name, so that a number still fits.
pub const PREFIX_MAX: usize = 48;

/// A room that bots are in.
#[derive(Debug, Clone)]
pub struct Room {
    /// Its name.
    pub name: RoomName,
    /// The number that stands for its name in markers.
    pub tag: u32,
}

/// The bots of one process: numbers from 0 to `count - 1`.
#[derive(Debug, Clone)]
pub struct Roster {
    prefix: String,
    count: u32,
    rooms: Vec<Room>,
}

impl Roster {
    /// The roster of `count` bots whose names begin with `prefix`, spread over `rooms` rooms.
    ///
    /// One room is the lobby; more are `room-0`, `room-1` and so on, the same for every process.
    ///
    /// # Errors
    /// Where a name would not be one.
    pub fn new(prefix: &str, count: u32, rooms: u32) -> Result<Self, starling_protocol::names::NameError> {
        ClientId::parse(prefix)?;
        let named = |name: RoomName| Room { tag: marker::tag(name.as_str()), name };
        let rooms = if rooms <= 1 {
            vec![named(RoomName::lobby())]
        } else {
            (0..rooms).map(|room| RoomName::parse(&format!("room-{room}")).map(named)).collect::<Result<_, _>>()?
        };
        Ok(Self { prefix: prefix.to_owned(), count, rooms })
    }

    /// How many bots there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The name of a bot.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn name(&self, bot: u32) -> ClientId {
        #[expect(clippy::expect_used, reason = "the prefix was checked, and leaves room for any number")]
        ClientId::parse(&format!("{}-{bot}", self.prefix)).expect("prefix and number make a name")
    }

    /// The number of the room that a bot is in.
    pub fn room_of(&self, bot: u32) -> u32 {
        u32::try_from(self.rooms.len()).map_or(0, |rooms| bot % rooms)
    }

    /// A room by its number; the first where there is none of that number.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn room(&self, room: u32) -> &Room {
        #[expect(clippy::expect_used, reason = "made with one room at least")]
        self.rooms.get(room as usize).or(self.rooms.first()).expect("a roster has a room")
    }

    /// Whether the bots are in the room that a connection is in by itself.
    pub fn is_lobby_only(&self) -> bool {
        self.rooms.len() == 1
    }

    /// To how many others each bot writes in private.
    pub fn friends(&self) -> u32 {
        FRIENDS_MAX.min(self.count.saturating_sub(1))
    }

    /// The bot's friend of this number, from 0.
    pub fn friend(&self, bot: u32, friend: u32) -> u32 {
        (bot + friend + 1) % self.count
    }
}

/// Makes a name's prefix of any text, as of a host's name.
pub fn prefix_of(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut prefix: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).take(PREFIX_MAX - 4).collect();
    let starts_well = prefix.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || prefix.starts_with(limits::GUEST_PREFIX) {
        prefix.insert_str(0, "bot-");
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bot_has_a_name_a_room_and_friends_of_its_own() {
        let roster = Roster::new("host", 10, 3).unwrap();
        let names: std::collections::HashSet<ClientId> = (0..10).map(|bot| roster.name(bot)).collect();
        assert_eq!(names.len(), 10);
        assert_eq!((0..6).map(|bot| roster.room_of(bot)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        assert_eq!(roster.room(2).name.as_str(), "room-2");
        for bot in 0..10 {
            let friends: std::collections::HashSet<u32> =
                (0..roster.friends()).map(|friend| roster.friend(bot, friend)).collect();
            assert_eq!(friends.len(), 4);
            assert!(!friends.contains(&bot));
        }
    }

    #[test]
    fn one_room_is_the_lobby() {
        assert_eq!(Roster::new("host", 1, 1).unwrap().room(0).name.as_str(), "lobby");
    }

    #[test]
    fn a_lonely_bot_has_no_friends() {
        assert_eq!(Roster::new("host", 1, 1).unwrap().friends(), 0);
    }

    #[test]
    fn any_host_name_makes_a_prefix() {
        for (host, prefix) in [
            ("a1b2c3d4e5f6", "a1b2c3d4e5f6"),
            ("my laptop", "my-laptop"),
            ("", "bot-"),
            ("-x", "bot--x"),
            ("höst", "h-st"),
            ("guest-house", "bot-guest-house"),
        ] {
            assert_eq!(prefix_of(host), prefix);
        }
        let longest = prefix_of(&"_".repeat(200));
        assert_eq!(longest.len(), PREFIX_MAX);
        assert!(Roster::new(&longest, u32::MAX, 1).unwrap().name(u32::MAX).as_str().len() <= limits::NAME_BYTES_MAX);
    }
}
