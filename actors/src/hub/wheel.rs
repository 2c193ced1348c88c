//! The times at which connections are examined again: a timer wheel.
//!
//! A tick examines only the connections that are due, so an idle connection costs nothing between two pings. Times are
//! counted in ticks and not read from a clock: while the thread is stalled no time passes, so the thread does not
//! mistake its own stall for its clients' silence.

use std::time::Duration;

use crate::ids::SessionId;

/// Ticks in one revolution of the wheel. A connection that is due later is returned once per revolution, and put back.
const TURN: u32 = 64;

/// A number of ticks since the hub's start.
pub(super) type Tick = u32;

/// The current tick, and the connections due at each of the next ticks.
#[derive(Debug)]
pub(super) struct Wheel {
    now: Tick,
    due: Box<[Vec<SessionId>]>,
}

/// The length of a tick, for a given ping interval.
pub(super) fn period(heartbeat: Duration) -> Duration {
    (heartbeat / 4).clamp(Duration::from_millis(50), Duration::from_secs(1))
}

/// A heartbeat in ticks, rounded up.
pub(super) fn ticks(heartbeat: Duration) -> Tick {
    Tick::try_from(heartbeat.as_nanos().div_ceil(period(heartbeat).as_nanos())).unwrap_or(Tick::MAX / 4)
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { now: 0, due: (0..TURN).map(|_| Vec::new()).collect() }
    }

    /// The current tick.
    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// Advances to the next tick and returns the sessions that were put there. A session that was moved to an earlier
    /// tick since is among them; the caller must skip it if its own note has another tick.
    pub(super) fn advance(&mut self) -> Vec<SessionId> {
        self.now += 1;
        self.slot(self.now).map(std::mem::take).unwrap_or_default()
    }

    /// Puts a session at a future tick, at the earliest the next one. `noted` is the session's own note of its tick.
    pub(super) fn put(&mut self, session: SessionId, noted: &mut Tick, at: Tick) {
        let at = at.clamp(self.now + 1, self.now + TURN - 1);
        // If it is due sooner already, it stays there; when it is returned, the caller puts it at its next tick.
        if *noted <= self.now || at < *noted {
            *noted = at;
            if let Some(slot) = self.slot(at) {
                slot.push(session);
            }
        }
    }

    fn slot(&mut self, at: Tick) -> Option<&mut Vec<SessionId>> {
        self.due.get_mut((at % TURN) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::HubId;

    fn session(slot: u32) -> SessionId {
        SessionId::new(HubId(0), slot, 0)
    }

    /// The ticks at which a session that stands where its note says is given, up to `until`.
    fn given(wheel: &mut Wheel, noted: Tick, until: Tick) -> Vec<Tick> {
        let mut at = Vec::new();
        while wheel.now() < until {
            let due = wheel.advance();
            at.extend(due.iter().filter(|_| wheel.now() == noted).map(|_| wheel.now()));
        }
        at
    }

    #[test]
    fn a_session_is_given_once_at_its_tick() {
        let (mut wheel, mut noted) = (Wheel::new(), 0);
        wheel.put(session(1), &mut noted, 3);
        assert_eq!(given(&mut wheel, noted, 200), [3]);
    }

    #[test]
    fn who_is_moved_forward_is_given_once_and_who_would_be_moved_back_stays() {
        let (mut wheel, mut noted) = (Wheel::new(), 0);
        wheel.put(session(1), &mut noted, 9);
        wheel.put(session(1), &mut noted, 4);
        wheel.put(session(1), &mut noted, 12);
        assert_eq!(noted, 4);
        assert_eq!(given(&mut wheel, noted, 200), [4]);
    }

    #[test]
    fn what_is_past_or_further_than_a_turn_is_given_at_the_next_tick_or_after_a_turn() {
        let (mut wheel, mut soon, mut late) = (Wheel::new(), 0, 0);
        wheel.put(session(1), &mut soon, 0);
        assert_eq!((soon, given(&mut wheel, soon, 100)), (1, vec![1]));
        wheel.put(session(2), &mut late, Tick::MAX);
        assert_eq!(late, 100 + TURN - 1);
        assert_eq!(given(&mut wheel, late, 400), [late]);
    }

    #[test]
    fn a_heartbeat_is_a_whole_number_of_ticks_and_never_shorter_than_it_is() {
        for (millis, expected) in [(100, 2), (200, 4), (1_000, 4), (3_000, 4), (4_500, 5), (25_000, 25)] {
            let heartbeat = Duration::from_millis(millis);
            assert_eq!(ticks(heartbeat), expected);
            assert!(period(heartbeat) * ticks(heartbeat) >= heartbeat);
        }
    }
}
