//! The swarm's time: nanoseconds of its host's monotonic clock.
//!
//! Linux's `CLOCK_MONOTONIC` is one clock for all processes of a host, containers included. So a message can carry its
//! planned time, and every bot on the host can tell its delivery time, whichever process sent it. Bots on different
//! hosts compare their clocks with the server's, see [`server_clock`](crate::server_clock).

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point in time: nanoseconds of the host's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The value for messages without a planned time.
    pub const UNPLANNED: Self = Self(0);

    /// The time from `earlier` to this point; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The point that is later by `duration`.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_nanos().try_into().unwrap_or(u64::MAX)))
    }
}

/// A host's identity and its monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Host {
    tag: u16,
    clock_ahead: Duration,
}

impl Host {
    /// The host of this process.
    pub fn this() -> Self {
        Self { tag: host_tag().unwrap_or_default(), clock_ahead: Duration::ZERO }
    }

    /// A host that differs from all others, with a clock that is ahead of this host's by `clock_ahead`. For tests of
    /// messages between hosts.
    pub fn pretended(tag: u16, clock_ahead: Duration) -> Self {
        Self { tag, clock_ahead }
    }

    /// A number that is equal for all processes on one host and (almost certainly) differs between hosts; 0: unknown.
    pub fn tag(self) -> u16 {
        self.tag
    }

    /// Reads the host's clock.
    pub fn now(self) -> Nanos {
        let time = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
        Nanos(seconds * 1_000_000_000 + nanos).after(self.clock_ahead)
    }
}

/// The processor time of the calling thread since its start.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The [tag](Host::tag) of the host of this process.
///
/// Derived from the identity of the monotonic clock: the kernel's boot id and the time namespace, because a container
/// may have its own. `None` if there is no boot id: then only the process's own messages are timed exactly.
fn host_tag() -> Option<u16> {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    // On kernels without time namespaces, all processes share one clock.
    let namespace = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    let tag = crate::tag::tag(&format!("{} {}", boot_id.trim(), namespace.display()));
    #[expect(clippy::cast_possible_truncation, reason = "16 of the 24 bits are enough to tell hosts apart")]
    Some((tag ^ (tag >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let host = Host::this();
        let (first, second) = (host.now(), host.now());
        assert!(second >= first);
        assert_eq!(first.since(first.after(Duration::from_secs(1))), Duration::ZERO);
    }

    #[test]
    fn a_pretended_host_has_its_own_tag_and_time() {
        let there = Host::pretended(7, Duration::from_secs(5));
        let apart = there.now().since(Host::this().now());
        assert_eq!(there.tag(), 7);
        assert!((4..=5).contains(&apart.as_secs()), "{apart:?}");
    }
}
