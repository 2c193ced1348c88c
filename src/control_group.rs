//! The resource limits of this process, from its control group, which is a container's.
//!
//! Both versions of control groups are supported. Every ancestor group may have a limit; the tightest one applies.

use std::fs;
use std::path::{Path, PathBuf};

use procfs::process::Process;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// Where the system counts the pressure on the whole machine.
const PRESSURE: &str = "/proc/pressure";

/// Memory of a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Bytes in use, without caches that the kernel can drop.
    pub(crate) used: u64,
    /// The limit in bytes; above it the kernel kills the process.
    pub(crate) limit: u64,
}

/// How often and for how long a control group was stopped at its CPU limit, since its creation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Throttling {
    pub(crate) periods: u64,
    pub(crate) throttled: u64,
    pub(crate) seconds: f64,
}

/// The number of cores that this process may use: those in its affinity mask, limited by its CPU quota, rounded up.
pub(crate) fn cores() -> usize {
    // The standard library also considers the quota, but rounds it down.
    let counted = std::thread::available_parallelism().map_or(1, usize::from);
    let allowed = Process::myself().and_then(|process| process.status()).ok().and_then(|status| status.cpus_allowed);
    let allowed = allowed.map_or(counted, |masks| masks.iter().map(|mask| mask.count_ones() as usize).sum());
    match ControlGroups::own().cpu_share() {
        Some(share) => rounded_up(share).min(allowed),
        None => counted,
    }
    .max(1)
}

/// The numbers of the cores in the affinity mask; empty if the system does not say.
pub(crate) fn allowed_cores() -> Vec<usize> {
    let status = Process::myself().and_then(|process| process.status()).ok();
    let ranges = status.and_then(|status| status.cpus_allowed_list).unwrap_or_default();
    ranges.into_iter().flat_map(|(first, last)| first..=last).map(|core| core as usize).collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are small and not negative")]
fn rounded_up(share: f64) -> usize {
    share.ceil() as usize
}

/// The control groups of a process.
#[derive(Debug)]
pub(crate) struct ControlGroups {
    mount: PathBuf,
    /// The lines of `/proc/self/cgroup`: controllers, and the path below their mount point.
    paths: Vec<(String, String)>,
}

impl ControlGroups {
    /// The control groups of this process.
    pub(crate) fn own() -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::new(Path::new(MOUNT), &text)
    }

    fn new(mount: &Path, text: &str) -> Self {
        let parts = text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let paths = parts.map(|(controllers, path)| (controllers.to_owned(), path.to_owned())).collect();
        Self { mount: mount.to_owned(), paths }
    }

    /// The folders of a controller, from the process's own group upwards. In a container the path may be the host's,
    /// which does not exist here; the mount point itself does.
    fn folders(&self, controller: &str) -> Vec<PathBuf> {
        let find = |wanted: &dyn Fn(&str) -> bool| self.paths.iter().find(|(names, _)| wanted(names));
        let (mount, path) = if let Some((names, path)) = find(&|names| names.split(',').any(|name| name == controller))
        {
            let joined = self.mount.join(names);
            (if joined.is_dir() { joined } else { self.mount.join(controller) }, path)
        } else if let Some((_, path)) = find(&str::is_empty) {
            (self.mount.clone(), path)
        } else {
            return Vec::new();
        };
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().map(|path| mount.join(path)).filter(|folder| folder.is_dir()).collect()
    }

    /// The number of cores in the CPU quota; `None`: no quota.
    pub(crate) fn cpu_share(&self) -> Option<f64> {
        let shares = self.folders("cpu").into_iter().filter_map(|folder| {
            let (quota, period) = match fs::read_to_string(folder.join("cpu.max")) {
                Ok(text) => {
                    let (quota, period) = text.trim().split_once(' ')?;
                    (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
                }
                Err(_) => (number(&folder.join("cpu.cfs_quota_us"))?, number(&folder.join("cpu.cfs_period_us"))?),
            };
            (quota > 0.0 && period > 0.0).then_some(quota / period)
        });
        shares.min_by(f64::total_cmp)
    }

    /// How often the tightest of the CPU limits was reached.
    pub(crate) fn throttling(&self) -> Throttling {
        let groups = self.folders("cpu").into_iter().filter_map(|folder| {
            let stat = fs::read_to_string(folder.join("cpu.stat")).ok()?;
            let field = |name: &str| {
                let value =
                    stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
                value.unwrap_or(0)
            };
            // Version 2 counts microseconds, version 1 nanoseconds.
            let seconds = field("throttled_usec") as f64 / 1e6 + field("throttled_time") as f64 / 1e9;
            Some(Throttling { periods: field("nr_periods"), throttled: field("nr_throttled"), seconds })
        });
        groups.max_by(|a, b| a.seconds.total_cmp(&b.seconds).then(a.periods.cmp(&b.periods))).unwrap_or_default()
    }

    /// The time for which some and all tasks waited for a resource (`cpu`, `memory` or `io`), in seconds: of the
    /// `container` if the system counts that, otherwise of the `machine`. 0 if it counts neither.
    pub(crate) fn pressure(&self, resource: &str) -> (&'static str, [f64; 2]) {
        let own =
            self.unified().and_then(|folder| fs::read_to_string(folder.join(format!("{resource}.pressure"))).ok());
        let (of, text) = match own {
            Some(text) => ("container", text),
            None => ("machine", fs::read_to_string(Path::new(PRESSURE).join(resource)).unwrap_or_default()),
        };
        let total = |kind: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(kind)?.rsplit_once("total="));
            line.and_then(|(_, micros)| micros.parse::<u64>().ok()).unwrap_or(0) as f64 / 1e6
        };
        (of, ["some ", "full "].map(total))
    }

    /// The process's own group of version 2, if all controllers are in it.
    fn unified(&self) -> Option<PathBuf> {
        let [(names, path)] = &self.paths[..] else { return None };
        let folder = self.mount.join(path.trim_start_matches('/'));
        names.is_empty().then(|| if folder.is_dir() { folder } else { self.mount.clone() })
    }

    /// The memory in use in the process's own group, limited or not.
    pub(crate) fn memory_used(&self) -> Option<u64> {
        Some(memory_of(self.folders("memory").first()?)?.used)
    }

    /// The memory of the tightest limit; `None`: there is no limit.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let limited = self.folders("memory").into_iter().filter_map(|folder| memory_of(&folder));
        // Version 1 reports a number that no machine has if there is no limit.
        limited.filter(|memory| memory.limit < 1 << 60).min_by_key(|memory| memory.limit.saturating_sub(memory.used))
    }
}

/// The memory of a group. Without a limit, the limit is a number that no machine has.
fn memory_of(folder: &Path) -> Option<Memory> {
    let file = |name: &str| folder.join(name);
    let (limit, used, droppable) = match number::<u64>(&file("memory.current")) {
        Some(used) => (number(&file("memory.max")).unwrap_or(u64::MAX), used, "inactive_file "),
        None => (
            number(&file("memory.limit_in_bytes"))?,
            number::<u64>(&file("memory.usage_in_bytes"))?,
            "total_inactive_file ",
        ),
    };
    let stat = fs::read_to_string(file("memory.stat")).unwrap_or_default();
    let droppable = stat.lines().find_map(|line| line.strip_prefix(droppable)?.parse().ok()).unwrap_or(0);
    Some(Memory { used: used.saturating_sub(droppable), limit })
}

/// The number in a file; `None` if the file contains `max`, or does not exist.
fn number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control groups of these files.
    fn groups(text: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, ControlGroups) {
        let mount = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = mount.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let groups = ControlGroups::new(mount.path(), text);
        (mount, groups)
    }

    #[test]
    fn a_share_of_cores_is_rounded_up_and_the_tightest_counts() {
        let v1 = "2:cpu,cpuacct:/docker/x\n1:memory:/docker/x\n";
        for (text, files, cores) in [
            ("0::/\n", &[("cpu.max", "max 100000\n")][..], None),
            ("0::/\n", &[("cpu.max", "150000 100000\n")], Some(2)),
            ("0::/\n", &[("cpu.max", "200000 100000\n")], Some(2)),
            ("0::/a/b\n", &[("a/cpu.max", "50000 100000\n"), ("a/b/cpu.max", "250000 100000\n")], Some(1)),
            ("0::/of/the/host\n", &[("cpu.max", "250000 100000\n")], Some(3)),
            (v1, &[("cpu/cpu.cfs_quota_us", "-1\n"), ("cpu/cpu.cfs_period_us", "100000\n")], None),
            (v1, &[("cpu/cpu.cfs_quota_us", "150000\n"), ("cpu/cpu.cfs_period_us", "100000\n")], Some(2)),
            (
                v1,
                &[
                    ("cpu,cpuacct/docker/x/cpu.cfs_quota_us", "10\n"),
                    ("cpu,cpuacct/docker/x/cpu.cfs_period_us", "100\n"),
                ],
                Some(1),
            ),
            ("", &[], None),
        ] {
            let (_mount, groups) = groups(text, files);
            assert_eq!(groups.cpu_share().map(rounded_up), cores, "{text}{files:?}");
        }
    }

    #[test]
    fn throttling_and_pressure_are_read_from_both_versions() {
        let stat = "usage_usec 9\nnr_periods 40\nnr_throttled 10\nthrottled_usec 2500000\n";
        let psi = "some avg10=1.00 avg60=0.00 avg300=0.00 total=3000000\nfull avg10=0.00 total=500000\n";
        let files = [("app/cpu.stat", stat), ("cpu.stat", "usage_usec 9\n"), ("app/io.pressure", psi)];
        let (_mount, v2) = groups("0::/app\n", &files);
        assert_eq!(v2.throttling(), Throttling { periods: 40, throttled: 10, seconds: 2.5 });
        assert_eq!(v2.pressure("io"), ("container", [3.0, 0.5]));
        assert_eq!(v2.pressure("cpu").0, "machine", "the group has no such file");
        let stat = "nr_periods 40\nnr_throttled 10\nthrottled_time 2500000000\n";
        let (_mount, v1) = groups("2:cpu:/x\n0::/\n", &[("cpu/x/cpu.stat", stat), ("io.pressure", psi)]);
        assert_eq!(v1.throttling(), Throttling { periods: 40, throttled: 10, seconds: 2.5 });
        assert_eq!(v1.pressure("io").0, "machine", "version 2 has no controllers there");
        let (_mount, none) = groups("", &[]);
        assert_eq!(none.throttling(), Throttling::default());
    }

    #[test]
    fn memory_is_what_cannot_be_dropped_against_the_limit() {
        let v2 = |limit| {
            [("memory.max", limit), ("memory.current", "900\n"), ("memory.stat", "anon 5\ninactive_file 300\n")]
        };
        let (_mount, limited) = groups("0::/\n", &v2("1000\n"));
        assert_eq!(limited.memory(), Some(Memory { used: 600, limit: 1_000 }));
        let (_mount, unlimited) = groups("0::/\n", &v2("max\n"));
        assert_eq!((unlimited.memory(), unlimited.memory_used()), (None, Some(600)));
        let v1 = |limit| {
            [
                ("memory/memory.limit_in_bytes", limit),
                ("memory/memory.usage_in_bytes", "900\n"),
                ("memory/memory.stat", "inactive_file 1\ntotal_inactive_file 300\n"),
            ]
        };
        let (_mount, limited) = groups("4:memory:/docker/x\n", &v1("1000\n"));
        assert_eq!(limited.memory(), Some(Memory { used: 600, limit: 1_000 }));
        let (_mount, unlimited) = groups("4:memory:/docker/x\n", &v1("9223372036854771712\n"));
        assert_eq!(unlimited.memory(), None);
    }
}
