//! A control group with a memory limit, like a container's. Requires root, or sudo without a password.

use std::path::{Path, PathBuf};

use super::disk::run_as_root;

/// A control group. It is removed on drop, and its processes must have ended before.
pub(crate) struct ControlGroup {
    folder: PathBuf,
    procs: String,
}

impl ControlGroup {
    /// Makes a group whose processes together may use this many bytes of memory.
    pub(crate) fn with_memory(bytes: u64) -> Self {
        let is_v1 = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
        let (mount, limit) =
            if is_v1 { ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") } else { ("/sys/fs/cgroup", "memory.max") };
        let folder = Path::new(mount).join(format!("starling-test-{}", std::process::id()));
        run_as_root("mkdir", &[], &[&folder]);
        let procs = folder.join("cgroup.procs").to_str().unwrap().to_owned();
        let this = Self { folder, procs };
        // In version 2, the parent group must enable the memory controller.
        let allow = if is_v1 { "" } else { "echo +memory >/sys/fs/cgroup/cgroup.subtree_control;" };
        run_as_root("sh", &["-c", &format!("{allow} echo {bytes} >\"$0\"")], &[&this.folder.join(limit)]);
        this
    }

    /// The command that runs a program in the group: a tool with its arguments, to be put before the program.
    pub(crate) fn enter(&self) -> [&str; 5] {
        let root = if rustix::process::geteuid().is_root() { "env" } else { "sudo" };
        ["sh", "-c", "echo $$ | $0 tee \"$1\" >/dev/null && exec \"$2\"", root, &self.procs]
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        run_as_root("rmdir", &[], &[&self.folder]);
    }
}
