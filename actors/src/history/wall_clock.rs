//! Whether the wall clock can be trusted for the age of messages: it must not have been set for a while, and the ages of
//! the messages must be plausible.

use std::time::Duration;

use crate::clock::Instant;

/// The largest allowed difference between the wall clock and the monotonic clock from one look to the next. A larger one
/// means that the wall clock was set.
const DRIFT_MAX: Duration = Duration::from_secs(2);

/// How long the wall clock must run steadily before messages are dropped by age.
pub(super) const TRUSTED_AFTER: Duration = Duration::from_mins(1);

/// A message that exceeds the age limit by this much indicates a wrong clock: it is years ahead now, or was years
/// behind when the message was stored.
const AGE_SURPLUS_MAX: Duration = Duration::from_hours(365 * 24);

/// How long the wall clock must run steadily before messages of such an age are dropped.
pub(super) const PROVEN_AFTER: Duration = Duration::from_hours(24);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct WallClock {
    /// The time since which the clock has run steadily.
    even_since: Instant,
    looked_at: Instant,
    said_ms: u64,
}

impl WallClock {
    pub(super) fn new(now: Instant, unix_ms: u64) -> Self {
        Self { even_since: now, looked_at: now, said_ms: unix_ms }
    }

    /// Compares the two clocks.
    pub(super) fn look(&mut self, now: Instant, unix_ms: u64) {
        let expected = self.said_ms.saturating_add(millis(now.saturating_duration_since(self.looked_at)));
        if expected.abs_diff(unix_ms) > millis(DRIFT_MAX) {
            self.even_since = now;
        }
        (self.looked_at, self.said_ms) = (now, unix_ms);
    }

    /// Whether the clock had run steadily for long enough at the last look to drop messages that are kept for this time
    /// and have this age.
    pub(super) fn is_trusted(&self, kept: Duration, ages: Plausibility) -> bool {
        let needed = if ages == Plausibility::Plausible { TRUSTED_AFTER } else { PROVEN_AFTER };
        self.looked_at.saturating_duration_since(self.even_since) >= needed.min(kept)
    }
}

/// Whether the ages of the stored messages fit the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plausibility {
    Plausible,
    /// The age of a message in days, which exceeds the age limit by too much.
    TooOld(u64),
    /// The number of days that the newest message is ahead of the clock.
    Behind(u64),
}

impl Plausibility {
    /// Compares the wall clock with the time of the oldest message among those that are kept for some time, and with that
    /// of the newest one of all.
    pub(super) fn of((oldest, newest): (u64, u64), kept: Duration, unix_ms: u64) -> Self {
        let days = |ms| ms / millis(Duration::from_hours(24));
        let age = unix_ms.saturating_sub(oldest);
        if age.saturating_sub(millis(kept)) > millis(AGE_SURPLUS_MAX) {
            Self::TooOld(days(age))
        } else if newest.saturating_sub(unix_ms) > millis(AGE_SURPLUS_MAX) {
            Self::Behind(days(newest - unix_ms))
        } else {
            Self::Plausible
        }
    }
}

/// The milliseconds of a duration; of one that is too long, the most.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_wall_clock_that_was_set_says_nothing_of_age_until_it_has_gone_on_evenly() {
        let (start, hour) = (clock::now(), Duration::from_hours(1));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut clock = WallClock::new(start, 1_000_000);
        let mut is_trusted = |seconds, unix_ms| {
            clock.look(at(seconds), unix_ms);
            clock.is_trusted(hour, Plausibility::Plausible)
        };
        assert!(!is_trusted(59, 1_059_000), "the clock may have been set just before the start");
        assert!(is_trusted(60, 1_060_500));
        // The clock is two days ahead for three seconds.
        let ahead = 172_800_000;
        assert!(!is_trusted(61, 1_061_000 + ahead));
        assert!(!is_trusted(64, 1_064_000));
        assert!(!is_trusted(123, 1_123_000));
        assert!(is_trusted(124, 1_124_000));
        // The clock is set back by a quarter of an hour, and stays so.
        assert!(!is_trusted(125, 1_125_000 - 3_600_000 / 4));
        assert!(is_trusted(185, 1_185_000 - 3_600_000 / 4));
        let second = Duration::from_secs(1);
        assert!(clock.is_trusted(second, Plausibility::TooOld(800)), "what is kept for a second needs no longer");
        assert!(!clock.is_trusted(hour, Plausibility::TooOld(800)));
    }
}
