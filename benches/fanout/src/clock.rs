//! The monotonic clock in nanoseconds: a marker carries such a time.

use rustix::time::{ClockId, clock_gettime};

pub(crate) const SECOND: u64 = 1_000_000_000;

/// Reads the clock.
#[expect(clippy::cast_sign_loss, reason = "the monotonic clock has no negative parts")]
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Converts seconds. Negative ones count as none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a conversion to an integer saturates")]
pub(crate) fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
