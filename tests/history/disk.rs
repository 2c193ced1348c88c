//! Small file systems for tests, which fail in the same way as disks. Requires root, or sudo without a password.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{TempDir, tempdir};

/// A command that runs as root.
fn as_root(tool: &str) -> Command {
    if rustix::process::geteuid().is_root() {
        return Command::new(tool);
    }
    let mut command = Command::new("sudo");
    command.args(["--non-interactive", tool]);
    command
}

/// Runs a tool that makes or mounts a file system, or a control group.
pub(crate) fn run_as_root(tool: &str, options: &[&str], paths: &[&Path]) {
    let arguments = options.iter().map(OsStr::new).chain(paths.iter().map(|path| path.as_os_str()));
    let status = as_root(tool).args(arguments).status();
    let is_done = status.is_ok_and(|status| status.success());
    assert!(is_done, "this test needs root, or sudo without a password: {tool} {options:?} {paths:?}");
}

/// A mounted file system. It is unmounted on drop.
struct Mount(TempDir);

impl Mount {
    fn new(kind: &str, options: &str, source: &Path) -> Self {
        let folder = tempdir().unwrap();
        run_as_root("mount", &["-t", kind, "-o", options], &[source, folder.path()]);
        // Root mounts it, but the test's user uses it.
        run_as_root("chown", &[&rustix::process::geteuid().as_raw().to_string()], &[folder.path()]);
        Self(folder)
    }

    /// A file system of this size in memory.
    fn in_memory(size: &str) -> Self {
        Self::new("tmpfs", &format!("size={size}"), Path::new("tmpfs"))
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        as_root("umount").arg("-l").arg(self.0.path()).status().map(drop).unwrap_or_default();
    }
}

/// A disk that a test can break and repair.
pub(crate) trait Disk {
    /// The folder for the database.
    fn folder(&self) -> &Path;
    /// Makes every further write fail.
    fn fail(&self);
    /// Repairs the disk.
    fn mend(&self);
}

/// A disk that becomes full.
pub(crate) struct SmallDisk(Mount);

impl SmallDisk {
    pub(crate) fn new() -> Self {
        Self(Mount::in_memory("4m"))
    }
}

impl Disk for SmallDisk {
    fn folder(&self) -> &Path {
        self.0.0.path()
    }

    fn fail(&self) {
        self.0.fill();
    }

    fn mend(&self) {
        self.0.free();
    }
}

/// A block device with less storage than it reports. It accepts writes, and fails when they are synced.
pub(crate) struct ThinDisk {
    volume: Mount,
    storage: Mount,
}

impl ThinDisk {
    pub(crate) fn new() -> Self {
        let storage = Mount::in_memory("8m");
        let image = storage.0.path().join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        // Without a journal, because a file system with one becomes read-only at its first error.
        run_as_root("mkfs.ext4", &["-q", "-F", "-O", "^has_journal"], &[&image]);
        Self { volume: Mount::new("ext4", "loop,errors=remount-ro", &image), storage }
    }

    /// Makes the kernel report an error in the file system, which then becomes read-only.
    pub(crate) fn becomes_read_only(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let folder = self.volume.0.path().to_str().unwrap();
        let mounted = mounts.lines().find(|line| line.contains(folder)).unwrap();
        let device = mounted.split(' ').next().unwrap().strip_prefix("/dev/").unwrap();
        let trigger = format!("echo 1 >/sys/fs/ext4/{device}/trigger_fs_error");
        assert!(as_root("sh").args(["-c", &trigger]).status().unwrap().success());
    }

    /// Unmounts the file system, repairs it, and mounts it again.
    pub(crate) fn mounted_again(self) -> Self {
        let Self { volume, storage } = self;
        drop(volume);
        let image = storage.0.path().join("image");
        // Exit code 1 means that e2fsck has repaired something.
        let checked = Command::new("e2fsck").args(["-f", "-p"]).arg(&image).status().unwrap();
        assert!(matches!(checked.code(), Some(0 | 1)), "{checked}");
        Self { volume: Mount::new("ext4", "loop,errors=remount-ro", &image), storage }
    }
}

impl Disk for ThinDisk {
    fn folder(&self) -> &Path {
        self.volume.0.path()
    }

    fn fail(&self) {
        self.storage.fill();
    }

    fn mend(&self) {
        self.storage.free();
    }
}
