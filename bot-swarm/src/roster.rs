//! The bots' names, rooms and friends, all derived from their numbers.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use starling_protocol::{ClientId, RoomName, limits};

use crate::behaviour::BehaviourKind;
use crate::mix::Mix;
use crate::tag::tag;

/// The most friends to whom a bot writes private messages: people write to a few friends, not to everybody. It also
/// bounds the memory of the ledger.
const FRIENDS_MAX: u32 = 4;

/// The number of rooms to visit if the bots' only home is the lobby.
const HALLS: u32 = 4;

/// The fractional part of the golden ratio.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The longest prefix of a bot's name, so that a number still fits.
pub const PREFIX_MAX: usize = 48;

/// A name for each bot, if their tokens contain names.
pub type Names = Option<Arc<[ClientId]>>;

/// A room of bots.
#[derive(Debug, Clone)]
pub struct Room {
    /// The name in the protocol.
    pub name: RoomName,
    /// The tag that stands for its name in markers.
    pub tag: u32,
}

/// The bots of one process: numbers from 0 to `count - 1`.
#[derive(Debug, Clone)]
pub struct Roster {
    prefix: String,
    /// The names in the bots' tokens; `None`: prefix and number.
    names: Names,
    /// The same as a set, if they are all different: then they belong to bots only.
    names_apart: FxHashSet<ClientId>,
    behaviours: Vec<BehaviourKind>,
    /// The home rooms, then those that are only visited.
    rooms: Vec<Room>,
    /// The number of home rooms.
    homes: u32,
    /// The cumulative shares of the home rooms but the last, with a total of 1. Empty: all rooms are equal.
    bounds: Vec<f64>,
}

/// The composition of the bots of one process.
#[derive(Debug, Clone)]
pub struct Company<'a> {
    /// The beginning of their names.
    pub prefix: &'a str,
    /// The names in their tokens, one for each; `None`: prefix and number.
    pub names: Names,
    /// Their number.
    pub count: u32,
    /// Their behaviours.
    pub mix: &'a Mix,
    /// The number of home rooms.
    pub rooms: u32,
    /// The only home room, if it is not the lobby.
    pub home: Option<RoomName>,
    /// How unevenly they are distributed over the rooms: the exponent of Zipf's law; 0: evenly.
    pub skew: f64,
    /// The seed of all random choices.
    pub seed: u64,
}

impl Roster {
    /// The roster of a company of bots.
    ///
    /// One room is the lobby, or `home`; several are `room-0`, `room-1` and so on, the same for every process. If there
    /// is only one home, bots that visit other rooms have a few for that.
    ///
    /// # Errors
    /// If a name would not be valid.
    pub fn new(company: Company<'_>) -> Result<Self, starling_protocol::names::NameError> {
        let Company { prefix, names, count, mix, rooms: homes, home, skew, seed } = company;
        ClientId::parse(prefix)?;
        let named = |name: RoomName| Room { tag: tag(name.as_str()), name };
        let numbered = |rooms: u32| (0..rooms).map(move |room| RoomName::parse(&format!("room-{room}")).map(named));
        let rooms: Vec<Room> = if homes <= 1 {
            let home = named(home.unwrap_or_else(RoomName::lobby));
            let halls = numbered(HALLS).filter(|hall| hall.as_ref().map_or(true, |hall| hall.tag != home.tag));
            let halls = halls.collect::<Result<Vec<_>, _>>()?;
            std::iter::once(home).chain(halls).collect()
        } else {
            numbered(homes).collect::<Result<_, _>>()?
        };
        Ok(Self {
            prefix: prefix.to_owned(),
            names_apart: names.as_deref().map(apart).unwrap_or_default(),
            names,
            behaviours: mix.deal(count, seed),
            rooms,
            homes: homes.max(1),
            bounds: if skew > 0.0 { zipf_bounds(homes, skew) } else { Vec::new() },
        })
    }

    /// The number of bots.
    pub fn count(&self) -> u32 {
        u32::try_from(self.behaviours.len()).unwrap_or(u32::MAX)
    }

    /// The behaviour of a bot.
    pub fn behaviour(&self, bot: u32) -> BehaviourKind {
        self.behaviours.get(bot as usize).copied().unwrap_or(BehaviourKind::Lurker)
    }

    /// The name of a bot until the server assigns another: from its token, or prefix, dash and number.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn name(&self, bot: u32) -> ClientId {
        if let Some(name) = self.names.as_ref().and_then(|names| names.get(bot as usize)) {
            return name.clone();
        }
        #[expect(clippy::expect_used, reason = "the prefix was checked, and leaves room for any number")]
        ClientId::parse(&format!("{}-{bot}", self.prefix)).expect("prefix and number make a name")
    }

    /// Whether this name belongs to a bot, and to nobody else.
    pub fn has(&self, name: &str) -> bool {
        if self.names.is_some() {
            return self.names_apart.contains(name);
        }
        let number = name.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-'));
        // A number has only one spelling in a name.
        let number = number.filter(|number| *number == "0" || !number.starts_with(['0', '+']));
        number.and_then(|number| number.parse().ok()).is_some_and(|number: u32| number < self.count())
    }

    /// The number of a bot's home room.
    pub fn room_of(&self, bot: u32) -> u32 {
        if self.bounds.is_empty() {
            return bot % self.homes;
        }
        // Multiples of the golden ratio's fractional part are distributed evenly, for any number of bots.
        let place = (f64::from(bot) * GOLDEN).fract();
        u32::try_from(self.bounds.partition_point(|bound| *bound <= place)).unwrap_or_default()
    }

    /// The number of a random room to visit, other than `home` and `but`. `None` if there is none.
    pub fn room_to_visit(&self, home: u32, but: Option<u32>, rng: &mut fastrand::Rng) -> Option<u32> {
        let rooms = u32::try_from(self.rooms.len()).unwrap_or(u32::MAX);
        let is_other = |room: &u32| *room != home && Some(*room) != but;
        let first = rng.u32(0..rooms);
        (0..rooms.min(3)).map(|step| (first + step) % rooms).find(is_other)
    }

    /// The number of home rooms.
    pub fn homes(&self) -> u32 {
        self.homes
    }

    /// A room by its number; the first room if the number is unknown.
    #[expect(clippy::missing_panics_doc, reason = "it cannot, see below")]
    pub fn room(&self, room: u32) -> &Room {
        #[expect(clippy::expect_used, reason = "made with one room at least")]
        self.rooms.get(room as usize).or(self.rooms.first()).expect("a roster has a room")
    }

    /// The number of friends of each bot.
    pub fn friends(&self) -> u32 {
        FRIENDS_MAX.min(self.count().saturating_sub(1))
    }

    /// The bot's friend with this number, from 0.
    pub fn friend(&self, bot: u32, friend: u32) -> u32 {
        (bot + friend + 1) % self.count()
    }
}

/// The names as a set; empty if two are equal.
fn apart(names: &[ClientId]) -> FxHashSet<ClientId> {
    let set: FxHashSet<ClientId> = names.iter().cloned().collect();
    if set.len() == names.len() { set } else { FxHashSet::default() }
}

/// The cumulative shares of all rooms but the last, if room k has a share proportional to `1 / (k + 1)^skew`.
fn zipf_bounds(rooms: u32, skew: f64) -> Vec<f64> {
    let shares: Vec<f64> = (1..=rooms).map(|rank| f64::from(rank).powf(-skew)).collect();
    let whole: f64 = shares.iter().sum();
    let mut sum = 0.0;
    let ends = shares.iter().map(|share| {
        sum += share;
        sum / whole
    });
    ends.take(rooms.saturating_sub(1) as usize).collect()
}

/// Turns any text, such as a host's name, into a valid name prefix.
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

    fn roster(prefix: &str, count: u32, rooms: u32, skew: f64) -> Roster {
        let mix = &Mix::only(BehaviourKind::Chatter);
        Roster::new(Company { prefix, names: None, count, mix, rooms, home: None, skew, seed: 1 }).unwrap()
    }

    #[test]
    fn a_skewed_swarm_has_rooms_of_sizes_that_fall_by_their_rank() {
        for count in [1_000, 10_000] {
            let roster = roster("host", count, 10, 1.0);
            let mut sizes = [0_u32; 10];
            (0..count).for_each(|bot| sizes[roster.room_of(bot) as usize] += 1);
            // The harmonic number of ten is 2.929.
            for (rank, size) in (1_u32..).zip(sizes) {
                let expected = f64::from(count) / 2.929 / f64::from(rank);
                assert!((f64::from(size) - expected).abs() < expected * 0.03 + 2.0, "{sizes:?}");
            }
        }
    }

    #[test]
    fn a_visited_room_is_another_one() {
        let mut rng = fastrand::Rng::with_seed(2);
        for (rooms, count) in [(1, 5), (2, 2), (3, 3)] {
            let roster = roster("host", 1, rooms, 0.0);
            for _ in 0..100 {
                let visit = roster.room_to_visit(0, None, &mut rng).unwrap();
                assert!(visit != 0 && visit < count);
                assert_ne!(roster.room_to_visit(0, Some(visit), &mut rng), Some(visit));
            }
        }
    }

    #[test]
    fn every_bot_has_a_name_a_room_and_friends_of_its_own() {
        let roster = roster("host", 10, 3, 0.0);
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
    fn one_room_is_the_lobby_or_the_one_that_is_named_and_nobody_visits_it() {
        assert_eq!(roster("host", 1, 1, 0.0).room(0).name.as_str(), "lobby");
        let mix = &Mix::only(BehaviourKind::Hopper);
        for (home, halls) in [("talk", 4), ("room-2", 3)] {
            let named = Some(RoomName::parse(home).unwrap());
            let company =
                Company { prefix: "b", names: None, count: 1, mix, rooms: 1, home: named, skew: 0.0, seed: 1 };
            let rooms = Roster::new(company).unwrap().rooms;
            let homes = rooms.iter().filter(|room| room.name.as_str() == home).count();
            assert_eq!((rooms[0].name.as_str(), homes, rooms.len()), (home, 1, 1 + halls));
        }
    }

    #[test]
    fn a_lonely_bot_has_no_friends() {
        assert_eq!(roster("host", 1, 1, 0.0).friends(), 0);
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
        assert!(roster(&longest, 1, 1, 0.0).name(u32::MAX).as_str().len() <= limits::NAME_BYTES_MAX);
    }
}
