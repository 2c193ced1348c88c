//! Slow mode: when a client may write in a room again. Kept by name, so a new connection does not end the wait. Not
//! stored, and with other nodes each node has its own.

use std::time::Duration;

use rustc_hash::FxHashMap;
use starling_protocol::ClientId;

use crate::clock::Instant;
use crate::ids::RoomId;

/// Most waits that are remembered. If there are more, all are forgotten: some clients may write early once.
const WAITS_MAX: usize = 100_000;

/// The number of waits from which on a new one first looks for those that are over.
const SWEEP_AT: usize = 1_024;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Slowed {
    /// The end of each wait.
    waits: FxHashMap<(RoomId, ClientId), Instant>,
    sweep_at: usize,
}

impl Default for Slowed {
    fn default() -> Self {
        Self { waits: FxHashMap::default(), sweep_at: SWEEP_AT }
    }
}

impl Slowed {
    /// The time after which a client may write in a room; `None`: now.
    pub(crate) fn wait(&self, room: RoomId, name: &ClientId, now: Instant) -> Option<Duration> {
        let wait = self.waits.get(&(room, name.clone()))?.saturating_duration_since(now);
        Some(wait).filter(|wait| !wait.is_zero())
    }

    /// Notes that a client has written in a room, and may write again after this time.
    pub(crate) fn note(&mut self, room: RoomId, name: &ClientId, wait: Duration, now: Instant) {
        if self.waits.len() >= self.sweep_at {
            self.waits.retain(|_, end| *end > now);
            if self.waits.len() >= WAITS_MAX {
                self.waits.clear();
            }
            self.sweep_at = (2 * self.waits.len()).clamp(SWEEP_AT, WAITS_MAX);
        }
        self.waits.insert((room, name.clone()), now + wait);
    }

    /// Forgets the waits of a room, because its slow mode has changed or it has ended.
    pub(crate) fn forget(&mut self, room: RoomId) {
        self.waits.retain(|(other, _), _| *other != room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_wait_is_of_one_client_in_one_room_and_the_waits_are_bounded() {
        let name = |number: usize| ClientId::parse(&format!("c{number}")).unwrap();
        let (mut slowed, now, wait) = (Slowed::default(), clock::now(), Duration::from_secs(5));
        slowed.note(RoomId(1), &name(1), wait, now);
        assert_eq!(slowed.wait(RoomId(1), &name(1), now), Some(wait));
        assert_eq!((slowed.wait(RoomId(2), &name(1), now), slowed.wait(RoomId(1), &name(2), now)), (None, None));
        assert_eq!(slowed.wait(RoomId(1), &name(1), now + wait), None);
        for number in 0..3 * WAITS_MAX {
            slowed.note(RoomId(1), &name(number), wait, now);
            assert!(slowed.waits.len() <= WAITS_MAX);
        }
        slowed.note(RoomId(2), &name(1), wait, now);
        slowed.forget(RoomId(1));
        assert_eq!(slowed.waits.len(), 1);
        // Those that are over give way first.
        for number in 0..WAITS_MAX {
            slowed.note(RoomId(1), &name(number), wait, now + wait * u32::try_from(number / SWEEP_AT).unwrap());
        }
        assert!(slowed.waits.len() <= 2 * SWEEP_AT);
    }
}
