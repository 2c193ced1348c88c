//! A server under callgrind, and what it has done: its instructions in user space, and its system calls.

use std::net::SocketAddr;
use std::ops::Sub;
use std::path::Path;

use tempfile::TempDir;
use test_kit::process::Signal;
use test_kit::{Process, Program};

/// What a server has done since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) instructions: u64,
    /// Without those that read a clock: outside of valgrind they never enter the kernel.
    pub(crate) system_calls: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        let (instructions, system_calls) =
            (self.instructions - less.instructions, self.system_calls - less.system_calls);
        Self { instructions, system_calls }
    }
}

/// A server that counts.
#[derive(Debug)]
pub(crate) struct Counted {
    process: Process,
    folder: TempDir,
}

impl Counted {
    /// Starts this program with one worker, its history in memory and these variables.
    pub(crate) fn start(program: &Path, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = |option: &str, file: &str| format!("--{option}={}", folder.path().join(file).display());
        let (counts, log) = (out("callgrind-out-file", COUNTS), out("log-file", LOG));
        let tool = ["valgrind", "--tool=callgrind", "--trace-syscalls=yes", &counts, &log];
        let defaults = [
            ("CHAT_BIND", "127.0.0.1:0"),
            ("CHAT_WORKERS", "1"),
            ("CHAT_HISTORY", "memory"),
            ("CHAT_MESSAGES_PER_SECOND", "0"),
        ];
        let process = Program::new(program).with(&defaults).under(&tool).start(folder.path(), variables);
        Self { process, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address()
    }

    /// Suspends the server while `send` runs, so that it gets everything that was sent at once. How many system calls
    /// it takes would otherwise depend on how busy the machine is.
    pub(crate) fn while_suspended(&self, send: impl FnOnce()) {
        self.process.signal(Signal::STOP);
        send();
        self.process.signal(Signal::CONT);
    }

    /// Ends the server and returns its counts.
    pub(crate) fn stop(self) -> Counts {
        let Self { process, folder } = self;
        process.stop();
        let counts = written(&folder, COUNTS);
        let totals = counts.lines().find_map(|line| line.strip_prefix("totals: "));
        let total: u64 = totals.and_then(|total| total.trim().parse().ok()).expect("callgrind tells the sum");
        let instructions = total - with_all_that_it_calls(BY_TIME, &counts);
        Counts { instructions, system_calls: system_calls(&written(&folder, LOG)) }
    }

    /// The system calls so far.
    pub(crate) fn system_calls(&self) -> u64 {
        system_calls(&written(&self.folder, LOG))
    }
}

/// What valgrind has written to a file so far.
fn written(folder: &TempDir, file: &str) -> String {
    std::fs::read_to_string(folder.path().join(file)).expect("valgrind has written it")
}

const COUNTS: &str = "counts";
const LOG: &str = "log";

/// The number of system calls in a log that the clients caused. Left out is what the server does by time, more often
/// per message on a busy machine: it reads clocks and files about itself, and wakes for its timers.
///
/// A call that waits has a second line, for its end.
fn system_calls(log: &str) -> u64 {
    let count = |wanted: &dyn Fn(&str) -> bool| log.lines().filter(|line| wanted(line)).count() as u64;
    let is_call = |line: &str| line.starts_with("SYSCALL[") && line.contains(" sys_");
    let by_time = |line: &str| BY_TIME_CALLS.iter().any(|name| line.contains(name));
    let closes_of_files = count(&|line| is_call(line) && line.contains(" sys_openat"));
    let timers = count(&|line| line.contains(TIMER));
    count(&|line| is_call(line) && !by_time(line)) - closes_of_files - timers
}

/// The calls that serve no client while the history is in memory.
const BY_TIME_CALLS: &[&str] = &[
    "sys_clock_gettime",
    "sys_getdents64",
    "sys_getpid",
    "sys_lseek",
    "sys_newfstatat",
    "sys_openat",
    "sys_read ",
    "sys_readlinkat",
    "sys_statx",
];

/// The end of an `epoll_wait` without an event.
const TIMER: &str = "](232) ... [async] --> Success(0x0)";

/// The function with which the server reads its own metrics once a second. On a busy machine it runs more often per
/// message, so it is not counted.
const BY_TIME: &str = "starling::diagnosis::Diagnosis::watch::{{closure}}";

/// The count of a function with everything that it calls. In callgrind's file, one line identifies the called function
/// by its number in brackets, and once by its name. The next line has the number of calls, and the line after it ends
/// with the count.
fn with_all_that_it_calls(function: &str, counts: &str) -> u64 {
    let named = counts.lines().find(|line| line.ends_with(&format!(") {function}"))).expect("callgrind names it");
    let number = named.split_once("=(").and_then(|(_, rest)| rest.split_once(')')).expect("it has a number").0;
    let called = format!("cfn=({number})");
    let mut lines = counts.lines();
    let mut sum = 0;
    while lines.by_ref().any(|line| line == called || line.starts_with(&format!("{called} "))) {
        let cost = lines.by_ref().skip_while(|line| !line.starts_with("calls=")).nth(1).expect("it has a count");
        sum += cost.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok()).expect("a count is a number");
    }
    sum
}
