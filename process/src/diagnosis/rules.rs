//! The rules, as a table: first a history that fails, which no load causes; then from outside the server inwards, from the
//! last stage to the first, and the clients.

use super::verdict::{Evidence, LIKELY, SURE, Unit, What};
use super::window::{CONTAINER_MEMORY, INBOXES, PLACES, PROCESS_MEMORY, ROOMS, UseAndLimit, Window};

/// The utilisation from which a thread counts as full: the queue of a thread that is busy 90 % of the time is about ten
/// deep.
const FULL: f64 = 0.9;

/// The wait, in seconds, from which a queue counts as growing; the runtime's timer alone causes about a millisecond.
const WAITS: f64 = 0.02;

/// The share of time for which a busy thread must have waited for a core.
const WITHOUT_CORE: f64 = 0.25;

/// Cores that other programs must use to count as the reason that a thread has none.
const OTHERS: f64 = 0.3;

/// One cause, and its signs.
#[derive(Debug)]
pub struct Rule {
    /// The cause.
    pub what: What,
    /// The signs, for people.
    pub when: &'static str,
    /// The remedy.
    pub remedy: &'static str,
    /// The observation that would refute it.
    pub would_refute: &'static str,
    /// Looks for the signs.
    pub(super) find: fn(&Window<'_>) -> Option<Found>,
}

/// The signs of a cause.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) subject: Option<String>,
    pub(super) confidence: f64,
    pub(super) sentence: String,
    pub(super) evidence: Vec<Evidence>,
}

impl Found {
    fn sure(sentence: String, evidence: Vec<Evidence>) -> Self {
        Self { subject: None, confidence: SURE, sentence, evidence }
    }

    fn of(self, subject: String) -> Self {
        Self { subject: Some(subject), ..self }
    }

    fn sure_if(self, is_sure: bool) -> Self {
        Self { confidence: if is_sure { SURE } else { LIKELY }, ..self }
    }
}

/// All rules, in the order in which they are tried.
pub const RULES: &[Rule] = &[
    Rule {
        what: What::History,
        when: "nothing can be stored, so `/readyz` is 503",
        remedy: "Read the reason at /readyz or in the log; give the disk of CHAT_HISTORY_PATH space, or replace it.",
        would_refute: "A message that is stored meanwhile.",
        find: nothing_is_stored,
    },
    Rule {
        what: What::CpuLimit,
        when: "the container was stopped in a fifth of its periods, or for a tenth of the time",
        remedy: "Raise the container's CPU limit, or lower the load.",
        would_refute: "The same waits with a higher CPU limit.",
        find: cpu_limit,
    },
    Rule {
        what: What::MemoryLimit,
        when: "90 % of the container's memory limit or of CHAT_MEMORY_BYTES is in use, or the server refuses connections for lack of memory, or the container waits for memory a tenth of the time",
        remedy: "Raise the container's memory limit or CHAT_MEMORY_BYTES, or lower CHAT_HISTORY_BYTES, CHAT_OUTBOXES_BYTES or CHAT_CONNECTIONS.",
        would_refute: "The same refusals and waits with more memory.",
        find: memory_limit,
    },
    Rule {
        what: What::IoPressure,
        when: "the container waits for the disk a third of the time, and the history is not why",
        remedy: "Find the program that uses the disk, or give the server a disk of its own.",
        would_refute: "The same waits while no program uses the disk.",
        find: io_pressure,
    },
    Rule {
        what: What::CpuShared,
        when: "a busy thread was ready to run and had no core for a quarter of the time, while others used cores",
        remedy: "Give the server cores of its own: another machine for the other programs, or fewer of them.",
        would_refute: "The same waits on a machine without other programs.",
        find: cpu_shared,
    },
    Rule {
        what: What::ConnectStorm,
        when: "a worker is busy 60 % of the time, half of it or more with HTTP and handshakes, and 50 connections come a second",
        remedy: "Let clients wait at random before they reconnect; lower CHAT_HANDSHAKES_PER_SECOND; more workers.",
        would_refute: "The same busy time without new connections.",
        find: connect_storm,
    },
    Rule {
        what: What::HotRoom,
        when: "a worker is full, mostly by deliveries, and half of them go to one room",
        remedy: "Split the room, slow it down, or use more workers if there are cores.",
        would_refute: "The same utilisation after the room was split.",
        find: |window| full_worker(window, What::HotRoom, "deliveries"),
    },
    Rule {
        what: What::SocketWrite,
        when: "a worker is full, mostly by writing to sockets",
        remedy: "Use more workers if there are cores, or smaller rooms: the number of deliveries counts.",
        would_refute: "The same utilisation with fewer deliveries.",
        find: |window| full_worker(window, What::SocketWrite, "writing to sockets"),
    },
    Rule {
        what: What::Hub,
        when: "a worker is full, mostly by its hub",
        remedy: "Use more workers if there are cores, or fewer joins, private messages and answers.",
        would_refute: "The same utilisation with fewer events.",
        find: |window| full_worker(window, What::Hub, "its hub"),
    },
    Rule {
        what: What::ChatServer,
        when: "the ChatServer's stage or thread is full",
        remedy: "Send fewer, larger messages; ask for `rooms`, history and searches less often.",
        would_refute: "The same utilisation with fewer commands.",
        find: |window| chat_server(window).or_else(|| full_worker(window, What::ChatServer, "the ChatServer")),
    },
    Rule {
        what: What::Session,
        when: "a worker is full, mostly by reading frames from clients, or by their HTTP requests and TLS",
        remedy: "Use more workers if there are cores, or lower CHAT_MESSAGES_PER_SECOND; ask less over HTTP; end TLS in a proxy.",
        would_refute: "The same utilisation with fewer frames and HTTP requests from clients.",
        find: |window| full_worker(window, What::Session, "reading from clients"),
    },
    Rule {
        what: What::CpuLimit,
        when: "the server uses 95 % of the cores that it may",
        remedy: "Give the server more cores, or lower the load.",
        would_refute: "The same waits with more cores.",
        find: cores_used,
    },
    Rule {
        what: What::History,
        when: "the history's thread is full, or a commit takes 50 ms and messages wait 100 ms for it, or spend half of their time in it",
        remedy: "Use a faster disk for CHAT_HISTORY_PATH.",
        would_refute: "The same commit times on a faster disk.",
        find: disk,
    },
    Rule {
        what: What::History,
        when: "the reading of the history is busy all of the time",
        remedy: "Search less often; raise CHAT_HISTORY_BYTES, so that fewer pages come from the disk.",
        would_refute: "The same waits while nobody reads old messages.",
        find: history_read,
    },
    Rule {
        what: What::Log,
        when: "NATS cannot be reached or takes no records, or a record takes half a second from packing to reading it back",
        remedy: "Look at the servers of NATS: their disks, their CPU, and the network between them.",
        would_refute: "The same waits with another NATS.",
        find: log,
    },
    Rule {
        what: What::NodeLag,
        when: "this node is a thousand records of the log behind",
        remedy: "Give this node as much CPU and as fast a disk as the others have.",
        would_refute: "The same lag on a faster machine.",
        find: node_lag,
    },
    Rule {
        what: What::Session,
        when: "commands wait half of the time or more because CHAT_SERVER_CREDITS of them are in flight",
        remedy: "Raise CHAT_SERVER_CREDITS, if there is memory.",
        would_refute: "The same waits with a higher limit.",
        find: credits,
    },
    Rule {
        what: What::Flood,
        when: "a connection is refused because CHAT_CONNECTIONS of them are open",
        remedy: "Raise CHAT_CONNECTIONS, and the limit of open files if it allows no more, or use another server.",
        would_refute: "The same refusals with a higher limit.",
        find: |window| places_full(window, false),
    },
    Rule {
        what: What::Flood,
        when: "a connection is refused because as many are open as the limit of open files allows",
        remedy: "Raise the hard limit of open files (ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile= of Docker), or use another server.",
        would_refute: "The same refusals with a higher limit.",
        find: |window| places_full(window, true),
    },
    Rule {
        what: What::Flood,
        when: "a room is refused because there are CHAT_ROOMS of them, and none of them is empty",
        remedy: "Raise CHAT_ROOMS, if there is memory.",
        would_refute: "The same refusals with a higher limit.",
        find: |window| full_table(window, "rooms", "CHAT_ROOMS", "CHAT_ROOMS", ROOMS),
    },
    Rule {
        what: What::Flood,
        when: "an inbox is refused because there are CHAT_INBOXES of them, and none of them may be dropped",
        remedy: "Raise CHAT_INBOXES, if there is memory.",
        would_refute: "The same refusals with a higher limit.",
        find: |window| full_table(window, "inboxes", "CHAT_INBOXES", "CHAT_INBOXES", INBOXES),
    },
    Rule {
        what: What::SlowReaders,
        when: "clients were closed because all outboxes together have reached CHAT_OUTBOXES_BYTES",
        remedy: "Raise CHAT_OUTBOXES_BYTES, if there is memory, or lower CHAT_OUTBOX_BYTES, so that the slowest clients are closed before.",
        would_refute: "The same closings with a higher limit.",
        find: |window| outboxes_full(window, false),
    },
    Rule {
        what: What::SlowReaders,
        when: "clients were closed because all outboxes together have reached their part of the memory limit, which is below CHAT_OUTBOXES_BYTES",
        remedy: "Raise the container's memory limit or CHAT_MEMORY_BYTES, or lower CHAT_OUTBOX_BYTES, so that the slowest clients are closed before.",
        would_refute: "The same closings with a higher limit.",
        find: |window| outboxes_full(window, true),
    },
    Rule {
        what: What::SlowReaders,
        when: "a frame has waited a second for a client, or clients were closed because they are slow",
        remedy: "One client: nothing to do, the server closes it at its limit. Many: look at what they have in common: their network, or the load of their machine.",
        would_refute: "The same waits for these clients on another network.",
        find: slow_readers,
    },
    Rule {
        what: What::Flood,
        when: "a connection a second is refused because its address has too many",
        remedy: "Nothing to do, unless many clients share an address: then raise CHAT_CONNECTIONS_PER_ADDRESS, or name their proxy in CHAT_TRUSTED_PROXIES.",
        would_refute: "Refusals of addresses that keep to their limit.",
        find: |window| too_many_of_one_address(window, "connections", "CHAT_CONNECTIONS_PER_ADDRESS"),
    },
    Rule {
        what: What::Flood,
        when: "a handshake a second is refused because its address makes too many",
        remedy: "Nothing to do, unless many clients share an address: then raise CHAT_HANDSHAKES_PER_SECOND, or name their proxy in CHAT_TRUSTED_PROXIES.",
        would_refute: "Refusals of addresses that keep to their limit.",
        find: |window| too_many_of_one_address(window, "handshakes", "CHAT_HANDSHAKES_PER_SECOND"),
    },
    Rule {
        what: What::Flood,
        when: "ten commands a second are refused by a limit of their client",
        remedy: "Nothing to do, unless a client needs more: then raise CHAT_MESSAGES_PER_SECOND, for joins CHAT_JOINS_PER_MINUTE, for rooms CHAT_ROOMS_PER_CLIENT, or for inboxes CHAT_INBOXES_PER_CLIENT.",
        would_refute: "Refusals of clients that keep to their limits.",
        find: too_many_commands,
    },
    Rule {
        what: What::Flood,
        when: "ten handshakes or commands a second are refused because their token is not valid",
        remedy: "Nothing to do, unless they come from your clients: then compare the key and the clock of the service that makes their tokens with the server's.",
        would_refute: "Refusals of valid tokens.",
        find: wrong_tokens,
    },
    Rule {
        what: What::Flood,
        when: "ten handshakes a second fail for another reason, with those of TLS and requests that are no HTTP or too slow",
        remedy: "Nothing to do, unless they come from your clients: then look up the code in the protocol, CHAT_ALLOWED_ORIGINS if it is `forbidden`, and the certificate for TLS.",
        would_refute: "Failures of handshakes that keep to the protocol.",
        find: failing_handshakes,
    },
    Rule {
        what: What::Flood,
        when: "ten connections a second are closed because of what their clients send, or because they are silent",
        remedy: "Nothing to do, unless they are your clients: then raise CHAT_HEARTBEAT_SECONDS for `no_sign_of_life`, CHAT_FRAME_BYTES for `frame_too_large`, or look up the reason in the metrics.",
        would_refute: "Closings of clients that keep to the protocol.",
        find: closed_for_their_clients,
    },
];

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn nothing_is_stored(window: &Window<'_>) -> Option<Found> {
    window.is_not_ready("history").then(|| {
        let sentence =
            "Nothing can be stored: the history fails, so messages and new connections are refused.".to_owned();
        Found::sure(sentence, vec![Evidence::new("the history fails", Unit::Count, 1.0, 1.0)])
    })
}

fn cpu_limit(window: &Window<'_>) -> Option<Found> {
    let periods = window.rate("chat_container_cpu_periods_total", &[]);
    let stopped = window.rate("chat_container_cpu_throttled_periods_total", &[]);
    let seconds = window.rate("chat_container_cpu_throttled_seconds_total", &[]);
    let share = if periods > 0.0 { stopped / periods } else { 0.0 };
    let cores = window.gauge("chat_container_cpu_limit_cores");
    (share >= 0.2 || seconds >= 0.1).then(|| {
        let sentence = format!(
            "The container's CPU limit holds the server back: it was stopped in {} of the periods.",
            percent(share)
        );
        let evidence = vec![
            Evidence::new("periods in which the container was stopped", Unit::Ratio, share, 0.2),
            Evidence::new("time for which it was stopped", Unit::Ratio, seconds, 0.1),
            Evidence::new("cores used", Unit::Cores, window.cores_used(), cores),
        ];
        Found::sure(sentence, evidence).sure_if(share >= 0.2 && seconds >= 0.05)
    })
}

fn memory_limit(window: &Window<'_>) -> Option<Found> {
    let of_what = [("container", CONTAINER_MEMORY), ("process", PROCESS_MEMORY)];
    let uses = of_what.map(|(of, [used, limit])| (of, window.gauge(used), window.gauge(limit)));
    let share = |(_, used, limit): &(&str, f64, f64)| if *limit > 0.0 { used / limit } else { 0.0 };
    let limited = || uses.iter().filter(|(_, _, limit)| *limit > 0.0);
    let fullest = limited().max_by(|a, b| share(a).total_cmp(&share(b)));
    let full = fullest.map_or(0.0, share);
    let pressure = window.pressure("container", "memory", "some");
    let refuses = window.is_not_ready("memory");
    (full >= 0.9 || refuses || pressure >= 0.1).then(|| {
        let sentence = if refuses {
            "The server is short of memory, and refuses new connections and searches.".to_owned()
        } else if full >= 0.9 {
            format!("The memory of the {} is {} full.", fullest.map_or("", |(of, ..)| of), percent(full))
        } else {
            format!("The container waited for memory {} of the time.", percent(pressure))
        };
        let in_use = |(of, used, limit): &(&str, f64, f64)| {
            Evidence::new(format!("memory of the {of}"), Unit::Bytes, *used, 0.9 * limit)
        };
        let mut evidence: Vec<_> = limited().map(in_use).collect();
        evidence.extend([
            Evidence::new("the server refuses work for lack of memory", Unit::Count, f64::from(u8::from(refuses)), 1.0),
            Evidence::new("time in which tasks waited for memory", Unit::Ratio, pressure, 0.1),
        ]);
        Found::sure(sentence, evidence).sure_if(full >= 0.9 || refuses)
    })
}

fn io_pressure(window: &Window<'_>) -> Option<Found> {
    let pressure = window.pressure("container", "io", "full").max(window.pressure("machine", "io", "full"));
    let wait = window.workers.iter().map(|worker| worker.whole.wait).fold(0.0, f64::max);
    (pressure >= 0.33 && wait >= WAITS && window.history.busy < 0.5).then(|| {
        let sentence = format!("Everything waited for the disk {} of the time.", percent(pressure));
        let evidence = vec![
            Evidence::new("time in which all tasks waited for the disk", Unit::Ratio, pressure, 0.33),
            Evidence::new("wait of a worker, p99", Unit::Seconds, wait, WAITS),
        ];
        Found::sure(sentence, evidence).sure_if(false)
    })
}

fn cpu_shared(window: &Window<'_>) -> Option<Found> {
    let chat_thread = window.thread("chat_server", "-").map(|thread| ("the ChatServer".to_owned(), thread));
    let workers = window.workers.iter().filter_map(|worker| Some((worker.name(), worker.thread?)));
    let (name, thread) = workers.chain(chat_thread).max_by(|a, b| a.1.in_run_queue.total_cmp(&b.1.in_run_queue))?;
    let others = window.cores_of_others();
    let wants = thread.on_cpu + thread.in_run_queue;
    (thread.in_run_queue >= WITHOUT_CORE && wants >= 0.6 && others >= OTHERS).then(|| {
        let sentence = format!(
            "Other programs take the cores: {name} was ready to run and had none {} of the time.",
            percent(thread.in_run_queue)
        );
        let evidence = vec![
            Evidence::new(
                format!("time for which {name} waited for a core"),
                Unit::Ratio,
                thread.in_run_queue,
                WITHOUT_CORE,
            ),
            Evidence::new("cores that others use", Unit::Cores, others, OTHERS),
        ];
        Found::sure(sentence, evidence).of(name)
    })
}

fn connect_storm(window: &Window<'_>) -> Option<Found> {
    let worker = window.workers.first()?;
    let connects = window.rate("chat_connects_total", &[]);
    let rest = worker.coming();
    (connects >= 50.0 && worker.whole.busy >= 0.6 && rest >= 0.5 * worker.whole.busy).then(|| {
        let sentence =
            format!("A storm of new connections: {connects:.0} a second take {} of {}.", percent(rest), worker.name());
        let evidence = vec![
            Evidence::new("new connections", Unit::PerSecond, connects, 50.0),
            Evidence::new(worker.name(), Unit::Ratio, worker.whole.busy, 0.6),
            Evidence::new("its time for HTTP, TLS and handshakes", Unit::Ratio, rest, 0.5 * worker.whole.busy),
        ];
        Found::sure(sentence, evidence).of(worker.name()).sure_if(worker.whole.wait >= WAITS)
    })
}

fn full_worker(window: &Window<'_>, what: What, filler: &str) -> Option<Found> {
    let worker = window.workers.first().filter(|worker| worker.whole.busy >= FULL)?;
    let (filled_by, part) = worker.filled_by();
    (filled_by == what).then(|| {
        let name = worker.name();
        let is_http = what == What::Session && worker.coming() > worker.session.busy;
        let filler = if is_http { "HTTP, with TLS and handshakes," } else { filler };
        let by = if what == What::HotRoom {
            format!("deliveries take {}, and {} of them go to one room", percent(part), percent(worker.busiest_room))
        } else {
            format!("{filler} takes {}", percent(part))
        };
        let others: Vec<f64> = window.workers.iter().skip(1).map(|other| other.whole.busy).collect();
        let mean = others.iter().sum::<f64>() / others.len().max(1) as f64;
        let is_alone = !others.is_empty() && mean < 0.6 * worker.whole.busy;
        let unlike =
            if is_alone { format!("; the other workers are busy only {}", percent(mean)) } else { String::new() };
        let sentence = format!("The thread of {name} is full ({} busy): {by}{unlike}.", percent(worker.whole.busy));
        let mut evidence = vec![
            Evidence::new(name.clone(), Unit::Ratio, worker.whole.busy, FULL),
            Evidence::new("the part that fills it", Unit::Ratio, part, 0.5 * worker.whole.busy),
            Evidence::new(format!("wait of {name}, p99"), Unit::Seconds, worker.whole.wait.max(worker.hub.wait), WAITS),
        ];
        if what == What::HotRoom {
            evidence.push(Evidence::new("deliveries to the busiest room", Unit::Ratio, worker.busiest_room, 0.5));
        }
        let waits = worker.whole.wait.max(worker.hub.wait).max(worker.session.wait);
        Found::sure(sentence, evidence).of(name).sure_if(waits >= WAITS)
    })
}

fn chat_server(window: &Window<'_>) -> Option<Found> {
    let stage = window.chat_server;
    let thread = window.thread("chat_server", "-").map_or(0.0, |thread| thread.on_cpu);
    let busy = stage.busy.max(thread);
    (busy >= FULL).then(|| {
        let sentence = if stage.busy >= FULL {
            format!("The ChatServer is full: its stage is busy {} of the time.", percent(stage.busy))
        } else {
            format!(
                "The ChatServer's thread is full ({}), mostly by work outside its stage, such as lists and pages.",
                percent(thread)
            )
        };
        let evidence = vec![
            Evidence::new("the ChatServer's stage", Unit::Ratio, stage.busy, FULL),
            Evidence::new("the ChatServer's thread", Unit::Ratio, thread, FULL),
            Evidence::new("wait for the ChatServer, p99", Unit::Seconds, stage.wait, WAITS),
        ];
        Found::sure(sentence, evidence).sure_if(stage.wait >= WAITS)
    })
}

/// The share of its cores from which the server uses all of them. It is more than [`FULL`]: with one core, the stage that
/// fills it is full before.
const ALL_CORES: f64 = 0.95;

fn cores_used(window: &Window<'_>) -> Option<Found> {
    let (used, cores) = (window.cores_used(), window.cores()?);
    (used >= ALL_CORES * cores).then(|| {
        let sentence = format!("The server uses {} of its cores: {used:.2} of {cores}.", percent(used / cores));
        Found::sure(sentence, vec![Evidence::new("cores used", Unit::Cores, used, ALL_CORES * cores)])
    })
}

fn disk(window: &Window<'_>) -> Option<Found> {
    let (history, commit) = (window.history, window.commit_seconds());
    let share = window.share_of_latency("commit");
    // One slow commit in five seconds is no slow disk.
    let is_slow = commit >= 0.05 && window.commits() >= 3.0 && (history.wait >= 0.1 || share >= 0.5);
    (history.busy >= FULL || is_slow).then(|| {
        let sentence = format!(
            "The disk is slow: a commit of the history takes {:.0} ms, and its thread is busy {} of the time.",
            commit * 1e3,
            percent(history.busy)
        );
        let evidence = vec![
            Evidence::new("a commit", Unit::Seconds, commit, 0.05),
            Evidence::new("the history's thread", Unit::Ratio, history.busy, FULL),
            Evidence::new("wait for a commit, p99", Unit::Seconds, history.wait, 0.1),
            Evidence::new("commits in the time of deliveries", Unit::Ratio, share, 0.5),
        ];
        Found::sure(sentence, evidence).sure_if(history.wait >= WAITS)
    })
}

fn history_read(window: &Window<'_>) -> Option<Found> {
    let stage = window.history_read;
    (stage.busy >= FULL && stage.wait >= WAITS).then(|| {
        let sentence = format!("Reading the stored history is busy {} of the time.", percent(stage.busy));
        let evidence = vec![
            Evidence::new("reading of the history", Unit::Ratio, stage.busy, FULL),
            Evidence::new("wait for a page, p99", Unit::Seconds, stage.wait, WAITS),
        ];
        // Several threads may share the work, so this may be more than all of one.
        Found::sure(sentence, evidence).sure_if(false)
    })
}

/// The wait for the log, in seconds, from which it counts as slow. An election of its leader takes longer.
const LOG_WAITS: f64 = 0.5;

/// The number of records by which a node must be behind for three seconds.
const LAGS: f64 = 1_000.0;

fn log(window: &Window<'_>) -> Option<Found> {
    let (is_away, wait) = (window.is_log_away(), window.log.wait);
    // A node that is behind reads its own records late, too.
    let is_slow = wait >= LOG_WAITS && window.lasting("chat_nodes_lag_records") < LAGS;
    (is_away || is_slow).then(|| {
        let sentence = if is_away {
            "NATS cannot be reached, or takes no records: this node waits for the log of all nodes.".to_owned()
        } else {
            format!("NATS is slow: a record takes {:.0} ms until it is read back.", wait * 1e3)
        };
        let evidence = vec![
            Evidence::new("NATS is out of reach or takes no records", Unit::Count, f64::from(u8::from(is_away)), 1.0),
            Evidence::new("from packing a record to reading it back, p99", Unit::Seconds, wait, LOG_WAITS),
        ];
        Found::sure(sentence, evidence)
    })
}

fn node_lag(window: &Window<'_>) -> Option<Found> {
    let lag = window.lasting("chat_nodes_lag_records");
    (lag >= LAGS).then(|| {
        let sentence = format!("This node is {lag:.0} records behind the log of all nodes.");
        Found::sure(sentence, vec![Evidence::new("records that this node has not applied", Unit::Count, lag, LAGS)])
    })
}

/// The mean number of connections that wait for a credit. A single client waits at most all of the time that its own
/// commands leave.
const WAITS_FOR_CREDITS: f64 = 0.5;

fn credits(window: &Window<'_>) -> Option<Found> {
    let waiting = window.rate("chat_credit_wait_seconds_total", &[]);
    (waiting >= WAITS_FOR_CREDITS).then(|| {
        let limit = window.gauge("chat_credits_limit");
        let sentence = format!(
            "CHAT_SERVER_CREDITS is reached, {limit:.0} commands in flight: on average {waiting:.1} connections wait to be read."
        );
        let evidence = vec![
            Evidence::new("connections that wait, on average", Unit::Ratio, waiting, WAITS_FOR_CREDITS),
            Evidence::new("latency before the ChatServer", Unit::Ratio, window.share_of_latency("session"), 0.5),
        ];
        Found::sure(sentence, evidence).of("commands in flight".to_owned())
    })
}

/// `of_memory`: by their part of the memory limit instead of `CHAT_OUTBOXES_BYTES`.
fn outboxes_full(window: &Window<'_>, of_memory: bool) -> Option<Found> {
    let setting = "CHAT_OUTBOXES_BYTES";
    let closed = window.growth("chat_disconnects_total", &["overload"]);
    (closed >= 1.0 && window.is_set_elsewhere(setting) == of_memory).then(|| {
        let verb = if closed < 1.5 { "client was" } else { "clients were" };
        let limit = if of_memory { "their part of the memory limit" } else { setting };
        let sentence =
            format!("The outboxes of all clients together are full, by {limit}: {closed:.0} {verb} closed for it.");
        let name = "clients closed because all outboxes are full";
        Found::sure(sentence, vec![Evidence::new(name, Unit::Count, closed, 1.0)]).of("outboxes".to_owned())
    })
}

fn slow_readers(window: &Window<'_>) -> Option<Found> {
    let (slow, all) = (window.lasting("chat_connections_slow"), window.gauge("chat_connections"));
    let closed = window.growth("chat_disconnects_total", &["slow_consumer"]);
    (slow >= 1.0 || closed >= 1.0).then(|| {
        let sentence = if slow >= 1.0 {
            let verb = if slow < 2.0 { "reads" } else { "read" };
            format!("{slow:.0} of {all:.0} clients {verb} too slowly: a frame has waited for a second.")
        } else {
            "Clients were closed because they read too slowly.".to_owned()
        };
        let evidence = vec![
            Evidence::new("clients that are slow now", Unit::Count, slow, 1.0),
            Evidence::new("clients closed as too slow", Unit::Count, closed, 1.0),
        ];
        let found = Found::sure(sentence, evidence);
        if (1.0..2.0).contains(&slow) { found.of("one client".to_owned()) } else { found }
    })
}

/// `of_open_files`: the limit of open files gives the places, because it allows fewer than `CHAT_CONNECTIONS`, or that is 0.
fn places_full(window: &Window<'_>, of_open_files: bool) -> Option<Found> {
    let setting = "CHAT_CONNECTIONS";
    let limit = if of_open_files { "the limit of open files" } else { setting };
    let is_this_limit = window.is_set_elsewhere(setting) == of_open_files;
    is_this_limit.then(|| full_table(window, "connections", setting, limit, PLACES)).flatten()
}

/// The signs that things are refused because all of their places are taken. `giver`: the limit, for people.
fn full_table(
    window: &Window<'_>,
    things: &str,
    setting: &str,
    giver: &str,
    [used, limit]: UseAndLimit,
) -> Option<Found> {
    let refused = window.refusals(setting);
    (refused >= 1.0).then(|| {
        let (used, limit) = (window.gauge(used), window.gauge(limit));
        let verb = if refused < 1.5 { "was" } else { "were" };
        let sentence = format!(
            "There is no place for more {things}: {giver} allows {limit:.0}, and {refused:.0} {verb} refused in {:.0} \
             seconds.",
            window.seconds()
        );
        let evidence = vec![
            Evidence::new(format!("{things} refused because there is no place"), Unit::Count, refused, 1.0),
            Evidence::new(format!("{things} now"), Unit::Count, used, limit),
        ];
        Found::sure(sentence, evidence).of(things.to_owned())
    })
}

fn too_many_of_one_address(window: &Window<'_>, things: &str, setting: &str) -> Option<Found> {
    let refused = window.per_second(window.refusals(setting));
    (refused >= 1.0).then(|| {
        let sentence = format!("Addresses have too many {things}: {refused:.1} a second are refused by {setting}.");
        let name = format!("{things} refused by {setting}");
        let evidence = vec![Evidence::new(name, Unit::PerSecond, refused, 1.0)];
        Found::sure(sentence, evidence).of(format!("{things} of an address"))
    })
}

/// Refusals a second from which clients count as a flood: less are mistakes.
const FLOOD: f64 = 10.0;

/// The limits of one connection or of one client.
const OF_A_CLIENT: [&str; 4] =
    ["CHAT_MESSAGES_PER_SECOND", "CHAT_JOINS_PER_MINUTE", "CHAT_ROOMS_PER_CLIENT", "CHAT_INBOXES_PER_CLIENT"];

fn too_many_commands(window: &Window<'_>) -> Option<Found> {
    let by_limit = OF_A_CLIENT.map(|setting| (setting, window.refusals(setting)));
    let refused = window.per_second(by_limit.iter().map(|(_, refused)| refused).sum());
    (refused >= FLOOD).then(|| {
        let most = by_limit.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |(setting, _)| setting);
        let sentence = format!(
            "Clients send more than they may: {refused:.0} commands a second are refused, most of them by {most}."
        );
        let name = "commands refused by a limit of their client";
        Found::sure(sentence, vec![Evidence::new(name, Unit::PerSecond, refused, FLOOD)]).of("commands".to_owned())
    })
}

fn wrong_tokens(window: &Window<'_>) -> Option<Found> {
    let refused = |name| window.growth(name, &["unauthorized"]);
    let refused = refused("chat_refused_handshakes_total") + refused("chat_rejected_commands_total");
    let refused = window.per_second(refused);
    (refused >= FLOOD).then(|| {
        let sentence =
            format!("Clients have no valid token: {refused:.0} handshakes and commands a second are refused.");
        let name = "handshakes and commands refused without a valid token";
        Found::sure(sentence, vec![Evidence::new(name, Unit::PerSecond, refused, FLOOD)]).of("tokens".to_owned())
    })
}

/// The codes of refused handshakes that other rules judge.
const JUDGED_CODES: [&str; 4] = ["too_many_connections", "rate_limited", "unavailable", "unauthorized"];

fn failing_handshakes(window: &Window<'_>) -> Option<Found> {
    let by_code = window.growth_by_label("chat_refused_handshakes_total");
    let mut by_reason: Vec<_> = by_code.filter(|(code, _)| !JUDGED_CODES.contains(code)).collect();
    by_reason.push(("TLS", window.growth("chat_failed_tls_handshakes_total", &[])));
    let broken = window.growth_by_label("chat_broken_connections_total");
    by_reason.extend(broken.filter(|(reason, _)| ["malformed", "slow"].contains(reason)));
    let failed = window.per_second(by_reason.iter().map(|(_, failed)| failed).sum());
    (failed >= FLOOD).then(|| {
        let most = by_reason.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |(reason, _)| reason);
        let sentence =
            format!("Clients cannot connect: {failed:.0} handshakes a second fail, most of them by `{most}`.");
        let name = "handshakes that fail for another reason";
        Found::sure(sentence, vec![Evidence::new(name, Unit::PerSecond, failed, FLOOD)]).of("handshakes".to_owned())
    })
}

/// The reasons of closings that a client has caused, apart from those that other rules judge.
const CAUSED_BY_CLIENTS: [&str; 6] =
    ["no_sign_of_life", "policy", "binary_frame", "not_utf8", "frame_too_large", "protocol_error"];

fn closed_for_their_clients(window: &Window<'_>) -> Option<Found> {
    let by_reason = window.growth_by_label("chat_disconnects_total");
    let by_reason: Vec<_> = by_reason.filter(|(reason, _)| CAUSED_BY_CLIENTS.contains(reason)).collect();
    let closed = window.per_second(by_reason.iter().map(|(_, closed)| closed).sum());
    (closed >= FLOOD).then(|| {
        let most = by_reason.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("", |(reason, _)| reason);
        let sentence = format!("{closed:.0} connections a second are closed, most of them for `{most}`.");
        let name = "connections closed because of their clients";
        Found::sure(sentence, vec![Evidence::new(name, Unit::PerSecond, closed, FLOOD)]).of("closings".to_owned())
    })
}
