//! What the swarm itself costs: memory and processor time of its process.

use std::time::Duration;

use procfs::process::Process;

/// What the process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Processor time in the process' own code.
    pub user: Duration,
    /// Processor time in the kernel, for the process.
    pub system: Duration,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

impl Footprint {
    /// Reads it; all zero where the system does not tell.
    pub fn now() -> Self {
        let Ok(stat) = Process::myself().and_then(|process| process.stat()) else { return Self::default() };
        let ticks = |count: u64| Duration::from_secs_f64(count as f64 / procfs::ticks_per_second() as f64);
        Self { user: ticks(stat.utime), system: ticks(stat.stime), resident_bytes: stat.rss * procfs::page_size() }
    }

    /// What was used since then.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            resident_bytes: self.resident_bytes.saturating_sub(earlier.resident_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_footprint() {
        assert!(Footprint::now().resident_bytes > 100_000);
    }
}
