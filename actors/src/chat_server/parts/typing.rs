//! Typing: tells the members of a room, at most once a second, who types. Nothing of it is stored.

use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::{ClientId, limits};

use crate::clock::Instant;
use crate::ids::{RoomId, SessionId};

/// The least time between two `typing` events of one room.
const TYPING_INTERVAL: Duration = Duration::from_secs(1);

/// The destination of what a client types.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Room(RoomId),
    Client(ClientId),
}

/// Those who type in a room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typists {
    pub(crate) names: Vec<ClientId>,
    /// Whether there are more of them.
    pub(crate) more: bool,
}

/// Who types where.
#[derive(Debug, Default)]
pub(crate) struct Typing {
    /// The time of the newest notice that counts. A tick removes those that are over.
    counted: FxHashMap<(SessionId, Place), Instant>,
    /// Rooms in which somebody has typed within a second.
    rooms: FxHashMap<RoomId, Noted>,
}

#[derive(Debug)]
struct Noted {
    typists: Typists,
    /// The time at which the next event may be sent.
    due: Instant,
}

impl Typing {
    /// Whether a notice of a session counts: it is the first for this place in some seconds.
    pub(crate) fn counts(&mut self, session: SessionId, place: &Place, now: Instant) -> bool {
        let key = (session, place.clone());
        if self.counted.get(&key).is_some_and(|at| !is_over(*at, now)) {
            return false;
        }
        self.counted.insert(key, now);
        true
    }

    /// Notes that a client types in a room. Returns those whom the members are told of now; within a second after an
    /// earlier event they are told [later](Self::take_due).
    pub(crate) fn note(&mut self, room: RoomId, name: ClientId, now: Instant) -> Option<Typists> {
        let Some(noted) = self.rooms.get_mut(&room) else {
            let nobody = Typists { names: Vec::new(), more: false };
            self.rooms.insert(room, Noted { typists: nobody, due: now + TYPING_INTERVAL });
            return Some(Typists { names: vec![name], more: false });
        };
        let Typists { names, more } = &mut noted.typists;
        if !names.contains(&name) {
            if names.len() < limits::TYPING_NAMES_MAX {
                names.push(name);
            } else {
                *more = true;
            }
        }
        None
    }

    /// A client has written, so nobody is told later that it types.
    #[inline]
    pub(crate) fn has_written(&mut self, room: RoomId, name: &ClientId) {
        if let Some(noted) = self.rooms.get_mut(&room) {
            noted.typists.names.retain(|typist| typist != name);
        }
    }

    /// Takes the rooms whose members are told now who types.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(RoomId, Typists)> {
        self.counted.retain(|_, at| !is_over(*at, now));
        let mut due = Vec::new();
        self.rooms.retain(|room, noted| {
            if now < noted.due {
                return true;
            }
            noted.due = now + TYPING_INTERVAL;
            let typists = std::mem::replace(&mut noted.typists, Typists { names: Vec::new(), more: false });
            let has_any = !typists.names.is_empty();
            if has_any {
                due.push((*room, typists));
            }
            has_any
        });
        due
    }
}

fn is_over(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) >= Duration::from_millis(limits::TYPING_COUNTS_EVERY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::ids::HubId;

    const ROOM: RoomId = RoomId(4);

    fn name(text: &str) -> ClientId {
        ClientId::parse(text).unwrap()
    }

    fn told(names: &[&str], more: bool) -> Typists {
        Typists { names: names.iter().map(|text| name(text)).collect(), more }
    }

    #[test]
    fn one_notice_counts_in_three_seconds_for_each_place() {
        let (mut typing, start) = (Typing::default(), clock::now());
        let session = |slot| SessionId::new(HubId(0), slot, 1);
        let cases = [
            (0, 1, Place::Room(ROOM), true),
            (0, 1, Place::Room(ROOM), false),
            (0, 2, Place::Room(ROOM), true),
            (0, 1, Place::Room(RoomId(5)), true),
            (0, 1, Place::Client(name("bob")), true),
            (2_999, 1, Place::Room(ROOM), false),
            (3_000, 1, Place::Room(ROOM), true),
        ];
        for (ms, slot, place, expected) in cases {
            let now = start + Duration::from_millis(ms);
            assert_eq!(typing.counts(session(slot), &place, now), expected, "{ms} ms: {slot} in {place:?}");
        }
        typing.take_due(start + Duration::from_secs(6));
        assert!(typing.counted.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn the_first_is_told_at_once_and_those_of_the_next_second_together() {
        let (mut typing, start) = (Typing::default(), clock::now());
        assert_eq!(typing.note(ROOM, name("alice"), start), Some(told(&["alice"], false)));
        for other in ["bob", "carol", "bob"] {
            assert_eq!(typing.note(ROOM, name(other), start), None);
        }
        assert_eq!(typing.take_due(start + Duration::from_millis(999)), []);
        assert_eq!(typing.take_due(start + TYPING_INTERVAL), [(ROOM, told(&["bob", "carol"], false))]);
        assert_eq!(typing.take_due(start + 2 * TYPING_INTERVAL), []);
        assert!(typing.rooms.is_empty(), "a quiet room is forgotten");
    }

    #[test]
    fn more_than_ten_are_not_named() {
        let (mut typing, start) = (Typing::default(), clock::now());
        typing.note(ROOM, name("first"), start);
        let names: Vec<String> = (0..11).map(|number| format!("c{number}")).collect();
        for name_of in &names {
            typing.note(ROOM, name(name_of), start);
        }
        let ten: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
        assert_eq!(typing.take_due(start + TYPING_INTERVAL), [(ROOM, told(&ten, true))]);
    }
}
