//! The threads of the process by role: their CPU time, and their wait for a core.
//!
//! The system counts both for every thread (`/proc/self/task/*/schedstat`). Their names distinguish the threads.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use prometheus::proto::MetricFamily;
use starling_process::exposition::Family;

/// Names the thread of a worker. The system shows the name too, as in `top -H`.
pub(crate) fn name_worker(number: u8) {
    name(&format!("worker-{number}"));
}

/// Names the thread of the `ChatServer`.
pub(crate) fn name_chat_server() {
    name("chat-server");
}

fn name(name: &str) {
    let written = fs::OpenOptions::new().write(true).open("/proc/thread-self/comm");
    // A thread without a name counts among the others.
    drop(written.and_then(|mut file| file.write_all(name.as_bytes())));
}

/// The role of a thread, and the number of the worker.
type Role = (&'static str, String);

fn role(name: &str, is_main: bool) -> Role {
    let role = match name {
        "chat-server" => "chat_server",
        "history" => "history",
        "history-read" => "history_read",
        "history-search" => "history_search",
        "history-log" => "history_log",
        _ if is_main => "main",
        _ => match name.strip_prefix("worker-") {
            Some(number) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
                return ("worker", number.to_owned());
            }
            _ => "other",
        },
    };
    (role, "-".to_owned())
}

/// What the system has counted for a thread, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    on_cpu: u64,
    in_run_queue: u64,
}

impl Times {
    fn parse(schedstat: &str) -> Option<Self> {
        let mut numbers = schedstat.split_whitespace().map(str::parse);
        Some(Self { on_cpu: numbers.next()?.ok()?, in_run_queue: numbers.next()?.ok()? })
    }

    fn add_growth(&mut self, before: Self, now: Self) {
        // A smaller number than before belongs to another thread with the same id.
        let grown = |before: u64, now: u64| if now >= before { now - before } else { now };
        self.on_cpu += grown(before.on_cpu, now.on_cpu);
        self.in_run_queue += grown(before.in_run_queue, now.in_run_queue);
    }
}

/// The times by role. A thread that ends keeps its part in them.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    last: BTreeMap<u32, Times>,
    by_role: BTreeMap<Role, Times>,
}

impl Threads {
    /// Reads the times of all threads.
    pub(crate) fn read(&mut self) {
        let mut seen = BTreeMap::new();
        for folder in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let Some(id) = folder.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let file = |name: &str| fs::read_to_string(folder.path().join(name));
            // A thread may end meanwhile.
            let (Ok(name), Ok(times)) = (file("comm"), file("schedstat")) else { continue };
            let Some(now) = Times::parse(&times) else { continue };
            let before = self.last.get(&id).copied().unwrap_or_default();
            let role = role(name.trim_end(), id == std::process::id());
            self.by_role.entry(role).or_default().add_growth(before, now);
            seen.insert(id, now);
        }
        self.last = seen;
    }

    pub(crate) fn families(&self) -> [MetricFamily; 2] {
        let mut cpu = Family::counter("chat_thread_cpu_seconds_total", "CPU time of the threads, by role.");
        let mut queue = Family::counter(
            "chat_thread_run_queue_seconds_total",
            "Time for which the threads were ready to run and had no core, by role.",
        );
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        for ((role, worker), times) in &self.by_role {
            let labels = [("role", *role), ("worker", worker.as_str())];
            cpu.add(&labels, seconds(times.on_cpu));
            queue.add(&labels, seconds(times.in_run_queue));
        }
        [cpu.finish(), queue.finish()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_known_by_its_name() {
        for (name, is_main, expected) in [
            ("worker-12", false, ("worker", "12")),
            ("worker-", false, ("other", "-")),
            ("tokio-runtime-w", false, ("other", "-")),
            ("chat-server", false, ("chat_server", "-")),
            ("history", false, ("history", "-")),
            ("history-log", false, ("history_log", "-")),
            ("starling", true, ("main", "-")),
        ] {
            assert_eq!(role(name, is_main), (expected.0, expected.1.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_named_thread_counts_its_cpu_time() {
        let mut threads = Threads::default();
        let worked = std::thread::spawn(|| {
            name_worker(77);
            let mut threads = Threads::default();
            let key = ("worker", "77".to_owned());
            // The system counts the time of a running thread at its next tick.
            while threads.by_role.get(&key).is_none_or(|times| times.on_cpu == 0) {
                threads.read();
            }
            threads.by_role[&key]
        });
        assert!(worked.join().unwrap().on_cpu > 0);
        threads.read();
        assert!(!threads.by_role.is_empty());
    }

    #[test]
    fn a_counter_never_falls() {
        let mut times = Times::default();
        times.add_growth(Times::default(), Times { on_cpu: 5, in_run_queue: 1 });
        times.add_growth(Times { on_cpu: 5, in_run_queue: 1 }, Times { on_cpu: 2, in_run_queue: 4 });
        assert_eq!(times, Times { on_cpu: 7, in_run_queue: 4 });
        assert_eq!(Times::parse("12 34 5\n"), Some(Times { on_cpu: 12, in_run_queue: 34 }));
        assert_eq!(Times::parse(""), None);
    }
}
