//! The memory and processor time of the swarm's own process.

use std::time::Duration;

use procfs::process::Process;

/// The resources that the process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Footprint {
    /// Processor time in user mode.
    pub user: Duration,
    /// Processor time in kernel mode.
    pub system: Duration,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open files, including sockets.
    pub open_files: u64,
}

impl Footprint {
    /// Reads the current values; all zero if the system does not provide them.
    pub fn now() -> Self {
        let Ok(stat) = Process::myself().and_then(|process| process.stat()) else { return Self::default() };
        let ticks = |count: u64| Duration::from_secs_f64(count as f64 / procfs::ticks_per_second() as f64);
        Self {
            user: ticks(stat.utime),
            system: ticks(stat.stime),
            resident_bytes: stat.rss * procfs::page_size(),
            open_files: open_files(),
        }
    }

    /// The resources that were used since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            resident_bytes: self.resident_bytes.saturating_sub(earlier.resident_bytes),
            open_files: self.open_files.saturating_sub(earlier.open_files),
        }
    }
}

fn open_files() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    // Since 6.2, Linux reports the number as the folder's size; before, the size is 0 and the files are counted.
    match std::fs::metadata(FOLDER).map(|folder| folder.len()) {
        Ok(size @ 1..) => size,
        _ => std::fs::read_dir(FOLDER).map_or(0, |files| files.count() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_footprint() {
        let footprint = Footprint::now();
        assert!(footprint.resident_bytes > 100_000);
        assert!(footprint.open_files >= 3, "{footprint:?}");
    }
}
