//! The CPU time and the memory of processes, as the kernel counts them.

use procfs::process::Process;
use serde::Serialize;

/// The sums over some processes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Usage {
    pub(crate) cpu_user_s: f64,
    pub(crate) cpu_sys_s: f64,
    /// Resident bytes.
    pub(crate) rss: u64,
    /// The largest resident bytes so far.
    pub(crate) hwm: u64,
}

impl Usage {
    /// Reads the figures of these processes. One that has ended has none.
    pub(crate) fn of(processes: &[i32]) -> Self {
        let known = processes.iter().filter_map(|id| Self::of_one(&Process::new(*id).ok()?));
        known.fold(Self::default(), |sum, one| Self {
            cpu_user_s: sum.cpu_user_s + one.cpu_user_s,
            cpu_sys_s: sum.cpu_sys_s + one.cpu_sys_s,
            rss: sum.rss + one.rss,
            hwm: sum.hwm + one.hwm,
        })
    }

    /// Reads the figures of this process.
    pub(crate) fn own() -> Self {
        Process::myself().ok().and_then(|process| Self::of_one(&process)).unwrap_or_default()
    }

    fn of_one(process: &Process) -> Option<Self> {
        let (stat, status) = (process.stat().ok()?, process.status().ok()?);
        let per_second = procfs::ticks_per_second() as f64;
        let bytes = |kibibytes: Option<u64>| kibibytes.unwrap_or(0) * 1024;
        Some(Self {
            cpu_user_s: stat.utime as f64 / per_second,
            cpu_sys_s: stat.stime as f64 / per_second,
            rss: bytes(status.vmrss),
            hwm: bytes(status.vmhwm),
        })
    }

    pub(crate) fn cpu_s(&self) -> f64 {
        self.cpu_user_s + self.cpu_sys_s
    }
}
