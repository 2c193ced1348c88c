//! The figures from the readings of some seconds: rates, shares and waits.

use super::latency::{self, PartOfLatency};
use super::reading::{Buckets, Reading, grown};
use super::verdict::{Evidence, Unit, What};

/// A thread's time per second, as the system counts it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Thread {
    pub(super) on_cpu: f64,
    pub(super) in_run_queue: f64,
}

/// A stage of one thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stage {
    /// The share of the time in which it worked.
    pub(super) busy: f64,
    /// The 99th percentile of the wait, in seconds; 0 if no work came.
    pub(super) wait: f64,
}

/// A worker's thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Worker {
    pub(super) number: String,
    pub(super) whole: Stage,
    /// TLS, handshakes and HTTP requests.
    pub(super) http: Stage,
    pub(super) session: Stage,
    pub(super) hub: Stage,
    pub(super) write: Stage,
    /// The `ChatServer`, if it has no thread of its own but runs on this one.
    pub(super) chat_server: Stage,
    pub(super) thread: Option<Thread>,
    pub(super) busiest_room: f64,
}

/// The figures between the first and the last reading.
#[derive(Debug)]
pub(super) struct Window<'a> {
    seconds: f64,
    first: &'a Reading,
    last: &'a Reading,
    all: &'a [Reading],
    /// The busiest first.
    pub(super) workers: Vec<Worker>,
    pub(super) chat_server: Stage,
    pub(super) history: Stage,
    pub(super) history_read: Stage,
    /// The log of several nodes.
    pub(super) log: Stage,
}

impl<'a> Window<'a> {
    /// `None`: there are fewer than two readings, or no time between them.
    pub(super) fn of(all: &'a [Reading]) -> Option<Self> {
        let (first, last) = all.first().zip(all.last())?;
        let seconds = last.at.checked_sub(first.at)?.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let [chat_server, history, history_read, log] = [Stage::default(); 4];
        let mut window =
            Self { seconds, first, last, all, workers: Vec::new(), chat_server, history, history_read, log };
        window.chat_server = window.stage("chat_server", "-");
        window.history = window.stage("history", "-");
        window.history_read = window.stage("history_read", "-");
        window.log = window.stage("log", "-");
        let numbers = last.stages.keys().filter(|(stage, _)| stage == "worker_loop").map(|(_, number)| number);
        let mut workers: Vec<Worker> = numbers.map(|number| window.worker(number)).collect();
        workers.sort_by(|a, b| b.whole.busy.total_cmp(&a.whole.busy));
        window.workers = workers;
        Some(window)
    }

    fn stage(&self, stage: &str, worker: &str) -> Stage {
        let key = (stage.to_owned(), worker.to_owned());
        let Some(now) = self.last.stages.get(&key) else { return Stage::default() };
        let before = self.first.stages.get(&key).cloned().unwrap_or_default();
        let mut waits = Buckets::default();
        waits.add_growth(&now.waits, &before.waits);
        let busy = grown(before.busy_seconds, now.busy_seconds) / self.seconds;
        Stage { busy, wait: waits.quantile(0.99).unwrap_or(0.0) }
    }

    fn worker(&self, number: &str) -> Worker {
        // With one core the only worker's thread is the ChatServer's, too.
        let thread = self.thread("worker", number);
        let shares_thread = thread.is_some() && self.thread("chat_server", "-").is_none();
        Worker {
            number: number.to_owned(),
            whole: self.stage("worker_loop", number),
            http: self.stage("http", number),
            session: self.stage("session", number),
            hub: self.stage("hub", number),
            write: self.stage("socket_write", number),
            chat_server: if shares_thread { self.chat_server } else { Stage::default() },
            thread,
            busiest_room: self.last.get("chat_busiest_room_share", &[number]).unwrap_or(0.0),
        }
    }

    /// The time of a thread; `None` where the system does not count it.
    pub(super) fn thread(&self, role: &str, worker: &str) -> Option<Thread> {
        Some(Thread {
            on_cpu: self.rate_of("chat_thread_cpu_seconds_total", &[role, worker])?,
            in_run_queue: self.rate_of("chat_thread_run_queue_seconds_total", &[role, worker])?,
        })
    }

    /// The length of the window.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The growth of a counter per second; 0 if the server does not have it.
    pub(super) fn rate(&self, name: &str, labels: &[&str]) -> f64 {
        self.rate_of(name, labels).unwrap_or(0.0)
    }

    fn rate_of(&self, name: &str, labels: &[&str]) -> Option<f64> {
        Some(grown(self.first.get(name, labels)?, self.last.get(name, labels)?) / self.seconds)
    }

    /// The growth of a counter; 0 if the server does not have it.
    pub(super) fn growth(&self, name: &str, labels: &[&str]) -> f64 {
        self.rate(name, labels) * self.seconds
    }

    /// The number of refusals by a limit with this setting.
    pub(super) fn refusals(&self, setting: &str) -> f64 {
        self.growth("chat_limit_refusals_total", &[setting])
    }

    /// So many events as a rate. A window that has just begun counts as a whole one: a moment is no rate.
    pub(super) fn per_second(&self, events: f64) -> f64 {
        events / self.seconds.max(WHOLE_SECONDS)
    }

    /// The growth of a counter with one label, by the label.
    pub(super) fn growth_by_label(&self, name: &'static str) -> impl Iterator<Item = (&'a str, f64)> {
        self.last
            .by_label(name)
            .map(move |(label, now)| (label, grown(self.first.get(name, &[label]).unwrap_or(0.0), now)))
    }

    /// Whether the server refuses work for this reason at the end, as `/readyz` says.
    pub(super) fn is_not_ready(&self, reason: &str) -> bool {
        self.last.get("chat_not_ready", &[reason]).is_some_and(|is_so| is_so > 0.0)
    }

    /// Whether something other than this setting gives the limit in force, so that a higher value would change nothing.
    pub(super) fn is_set_elsewhere(&self, setting: &str) -> bool {
        self.last.get("chat_limit_set_elsewhere", &[setting]).is_some_and(|is_so| is_so > 0.0)
    }

    /// A gauge at the end; 0 if the server does not have it.
    pub(super) fn gauge(&self, name: &str) -> f64 {
        self.last.get(name, &[]).unwrap_or(0.0)
    }

    /// Whether the log of several nodes cannot be written at the end. A server without other nodes has no log.
    pub(super) fn is_log_away(&self) -> bool {
        self.is_not_ready("log") || self.last.get("chat_nodes_reachable", &[]).is_some_and(|reachable| reachable < 1.0)
    }

    /// The least value of a gauge in the newest three readings: a short peak does not count.
    pub(super) fn lasting(&self, name: &str) -> f64 {
        let newest = self.all.iter().rev().take(3).map(|reading| reading.get(name, &[]).unwrap_or(0.0));
        newest.min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// Cores that the server uses.
    pub(super) fn cores_used(&self) -> f64 {
        let of_threads = || {
            let threads = self.last.threads();
            threads.map(|(role, worker)| self.rate("chat_thread_cpu_seconds_total", &[role, worker])).sum()
        };
        self.rate_of("process_cpu_seconds_total", &[]).unwrap_or_else(of_threads)
    }

    /// Cores that the server may use, by its affinity and its limit; `None` if it does not say.
    pub(super) fn cores(&self) -> Option<f64> {
        let (cores, limit) = (self.gauge("chat_cores"), self.gauge("chat_container_cpu_limit_cores"));
        (cores > 0.0).then(|| if limit > 0.0 { cores.min(limit) } else { cores })
    }

    /// Cores that other programs use, with those that the host of a virtual machine took.
    pub(super) fn cores_of_others(&self) -> f64 {
        let machine = |state| self.rate("chat_machine_cpu_seconds_total", &[state]);
        (machine("busy") - self.cores_used()).max(0.0) + machine("steal")
    }

    /// The number of commits of the history.
    pub(super) fn commits(&self) -> f64 {
        self.growth("chat_history_commit_seconds_count", &[])
    }

    /// How long a commit of the history took, in seconds.
    pub(super) fn commit_seconds(&self) -> f64 {
        let commits = self.commits();
        if commits > 0.0 { self.growth("chat_history_commit_seconds_sum", &[]) / commits } else { 0.0 }
    }

    /// The share of this part in the time of deliveries; 0 without a delivery.
    pub(super) fn share_of_latency(&self, part: &str) -> f64 {
        self.latency().iter().find(|it| it.part == part).map_or(0.0, |it| it.share)
    }

    /// The share of time in which all tasks waited for a resource: of the container, or, if the system counts only
    /// that, of the machine.
    pub(super) fn pressure(&self, of: &str, resource: &str, kind: &str) -> f64 {
        self.rate("chat_pressure_seconds_total", &[of, resource, kind])
    }

    /// The parts of the time of deliveries.
    pub(super) fn latency(&self) -> Vec<PartOfLatency> {
        latency::latency(self.first, self.last)
    }

    /// All figures with a limit that the server has, each with the verdict when its limit is reached; `None` for what may
    /// be full.
    pub(super) fn distances(&self) -> Vec<(Option<What>, Evidence)> {
        let busy = |name: &str, busy| Evidence::new(name, Unit::Ratio, busy, 1.0);
        let mut all = vec![
            (Some(What::ChatServer), busy("the ChatServer's thread", self.chat_server.busy)),
            (Some(What::History), busy("the history's thread", self.history.busy)),
        ];
        if let Some(worker) = self.workers.first() {
            all.push((Some(worker.filled_by().0), busy(&worker.name(), worker.whole.busy)));
        }
        if let Some(cores) = self.cores() {
            let cores = Evidence::new("the server's cores", Unit::Cores, self.cores_used(), cores);
            all.push((Some(What::CpuLimit), cores));
        }
        all.extend(TABLES.map(|(what, name, unit, [value, limit])| {
            (what, Evidence::new(name, unit, self.gauge(value), self.gauge(limit)))
        }));
        all.retain(|(_, it)| it.limit > 0.0);
        all
    }
}

/// The seconds of a whole window of the server's own diagnosis.
const WHOLE_SECONDS: f64 = 5.0;

/// The gauges of a use and of its limit.
pub(super) type UseAndLimit = [&'static str; 2];
pub(super) const CONTAINER_MEMORY: UseAndLimit = ["chat_container_memory_bytes", "chat_container_memory_limit_bytes"];
pub(super) const PROCESS_MEMORY: UseAndLimit = ["process_resident_memory_bytes", "chat_memory_limit_bytes"];
pub(super) const PLACES: UseAndLimit = ["chat_connection_places", "chat_connections_limit"];
pub(super) const ROOMS: UseAndLimit = ["chat_rooms", "chat_rooms_limit"];
pub(super) const INBOXES: UseAndLimit = ["chat_inboxes", "chat_inboxes_limit"];

/// What has a configured limit, with the verdict when it is reached.
const TABLES: [(Option<What>, &str, Unit, UseAndLimit); 9] = [
    (Some(What::MemoryLimit), "the container's memory", Unit::Bytes, CONTAINER_MEMORY),
    (Some(What::MemoryLimit), "the memory of the process", Unit::Bytes, PROCESS_MEMORY),
    (Some(What::Flood), "the connections", Unit::Count, PLACES),
    // An empty room gives way to another.
    (None, "the rooms", Unit::Count, ROOMS),
    // A connected client always gets one, also beyond the limit.
    (None, "the inboxes", Unit::Count, INBOXES),
    (Some(What::Session), "the commands in flight", Unit::Count, ["chat_credits_in_use", "chat_credits_limit"]),
    (
        Some(What::SlowReaders),
        "the outboxes of all clients",
        Unit::Bytes,
        ["chat_outbox_bytes", "chat_outboxes_limit_bytes"],
    ),
    // Older messages leave the memory.
    (None, "the messages in memory", Unit::Bytes, ["chat_history_memory_bytes", "chat_history_memory_limit_bytes"]),
    // Of the last minute: its client may be gone.
    (
        None,
        "the fullest outbox of the last minute",
        Unit::Bytes,
        ["chat_outbox_bytes_highest", "chat_outbox_limit_bytes"],
    ),
];

impl Worker {
    /// Its name for people.
    pub(super) fn name(&self) -> String {
        format!("worker {}", self.number)
    }

    /// The share of its time for connections that come, and for requests: HTTP, TLS, handshakes, and the work of no stage.
    pub(super) fn coming(&self) -> f64 {
        let of_stages = self.session.busy + self.hub.busy + self.write.busy + self.chat_server.busy;
        (self.whole.busy - of_stages).max(self.http.busy)
    }

    /// The work that takes the most of its time, and the share of the time.
    pub(super) fn filled_by(&self) -> (What, f64) {
        // Of equal stages the last one counts: it is nearest to the socket.
        let parts = [
            (What::Session, self.session.busy + self.coming()),
            (What::ChatServer, self.chat_server.busy),
            (What::Hub, self.hub.busy),
            (What::SocketWrite, self.write.busy),
        ];
        let most = parts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((What::Session, 0.0));
        let is_delivering = matches!(most.0, What::SocketWrite | What::Hub);
        if is_delivering && self.busiest_room >= 0.5 { (What::HotRoom, self.hub.busy + self.write.busy) } else { most }
    }
}
