//! Time as the swarm sees it: nanoseconds of the monotonic clock.
//!
//! Linux's `CLOCK_MONOTONIC` is one clock for all processes of a host, containers included. So a message can carry
//! its planned time, and every bot on the host can tell how long it took, whichever process sent it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time: nanoseconds of the host's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// No point in time: of what was not planned.
    pub const UNPLANNED: Self = Self(0);

    /// Reads the clock.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
        Self(seconds * 1_000_000_000 + nanos)
    }

    /// The time from `earlier` to this point; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point so much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_nanos().try_into().unwrap_or(u64::MAX)))
    }
}

/// Processor time of the calling thread since it began.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A number that processes on one host share and those on other hosts (all but surely) do not.
///
/// Taken from the kernel's boot id, which is also what the monotonic clock belongs to. `None` where there is no such
/// file: then only the messages of the own process are timed.
pub fn host_tag() -> Option<u16> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let tag = crate::marker::tag(boot_id.trim());
    #[expect(clippy::cast_possible_truncation, reason = "16 of the 32 bits are enough to tell hosts apart")]
    Some((tag ^ (tag >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let first = Nanos::now();
        let second = Nanos::now();
        assert!(second >= first);
        assert_eq!(first.since(first.after(Duration::from_secs(1))), Duration::ZERO);
    }
}
