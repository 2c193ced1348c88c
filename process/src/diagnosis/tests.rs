//! Each cause and each healthy run as two readings of a server's metrics, in the form in which it serves them.

mod recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::*;

/// The seconds between the two readings.
const SECONDS: f64 = 10.0;

/// The load of a server: the growth of its counters per second, and its gauges.
#[derive(Debug, Clone)]
struct Load(BTreeMap<String, f64>);

/// The metrics that grow.
fn is_counter(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_sum")
}

impl Load {
    /// Two workers at half of their time, on four cores, most of which are idle.
    fn calm() -> Self {
        let mut load = Self(BTreeMap::new());
        for worker in ["0", "1"] {
            load.stage("session", worker, 0.1, 0.002);
            load.stage("hub", worker, 0.05, 0.002);
            load.stage("socket_write", worker, 0.3, 0.002);
            load.stage("worker_loop", worker, 0.5, 0.002);
            load.thread("worker", worker, 0.48, 0.02);
            load.set(&format!("chat_busiest_room_share{{worker=\"{worker}\"}}"), 0.2);
        }
        load.stage("chat_server", "-", 0.2, 0.001);
        load.stage("history", "-", 0.2, 0.005);
        load.stage("history_read", "-", 0.0, 0.001);
        load.thread("chat_server", "-", 0.2, 0.01);
        for (series, value) in [
            ("chat_cores", 4.0),
            ("process_cpu_seconds_total", 1.3),
            ("chat_machine_cpu_seconds_total{state=\"busy\"}", 1.5),
            ("chat_machine_cpu_seconds_total{state=\"idle\"}", 2.5),
            ("chat_machine_cpu_seconds_total{state=\"steal\"}", 0.0),
            ("chat_connections", 1_000.0),
            ("chat_connection_places", 1_000.0),
            ("chat_connections_limit", 10_000.0),
            ("chat_connections_slow", 0.0),
            ("chat_connects_total", 1.0),
            ("chat_rooms", 20.0),
            ("chat_rooms_limit", 10_000.0),
            ("chat_inboxes", 20.0),
            ("chat_inboxes_limit", 10_000.0),
            ("chat_credits_in_use", 5.0),
            ("chat_credits_limit", 1_024.0),
            ("chat_history_commit_seconds_count", 100.0),
            ("chat_history_commit_seconds_sum", 0.2),
            ("chat_disconnects_total{reason=\"slow_consumer\"}", 0.0),
            ("chat_container_memory_bytes", 50e6),
            ("chat_container_memory_limit_bytes", 0.0),
        ] {
            load.set(series, value);
        }
        load
    }

    fn set(&mut self, series: &str, value: f64) -> &mut Self {
        self.0.insert(series.to_owned(), value);
        self
    }

    /// Something other than this setting gives its limit.
    fn set_elsewhere(&mut self, setting: &str) -> &mut Self {
        self.set(&format!("chat_limit_set_elsewhere{{limit=\"{setting}\"}}"), 1.0)
    }

    /// A stage that is busy for this share, and in which most work waits this long.
    fn stage(&mut self, stage: &str, worker: &str, busy: f64, wait: f64) -> &mut Self {
        self.set(&format!("chat_stage_busy_seconds_total{{stage=\"{stage}\",worker=\"{worker}\"}}"), busy);
        for bound in [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, f64::INFINITY] {
            let series =
                format!("chat_stage_wait_seconds_bucket{{stage=\"{stage}\",worker=\"{worker}\",le=\"{bound:?}\"}}");
            let le = if bound.is_finite() { format!("{bound}") } else { "+Inf".to_owned() };
            let series = series.replace(&format!("{bound:?}"), &le);
            self.set(&series, if bound >= wait { 100.0 } else { 0.0 });
        }
        self
    }

    /// A limit with this setting refuses.
    fn refuse(&mut self, setting: &str, per_second: f64) -> &mut Self {
        self.set(&format!("chat_limit_refusals_total{{limit=\"{setting}\"}}"), per_second)
    }

    fn thread(&mut self, role: &str, worker: &str, on_cpu: f64, in_run_queue: f64) -> &mut Self {
        let labels = format!("{{role=\"{role}\",worker=\"{worker}\"}}");
        self.set(&format!("chat_thread_cpu_seconds_total{labels}"), on_cpu);
        self.set(&format!("chat_thread_run_queue_seconds_total{labels}"), in_run_queue)
    }

    /// The page after this many seconds of this load.
    fn page(&self, seconds: f64) -> String {
        let mut page = String::new();
        for (series, value) in &self.0 {
            let grows = is_counter(series) || series.contains("_bucket{");
            let value = if grows { value * seconds } else { *value };
            writeln!(page, "{series} {value}").unwrap();
        }
        page
    }

    fn verdict(&self) -> Verdict {
        let readings: Vec<Reading> = (0..=10)
            .map(|second| {
                let at = SECONDS * f64::from(second) / 10.0;
                Reading::parse(&self.page(1_000.0 + at), Duration::from_secs_f64(at)).unwrap()
            })
            .collect();
        observe(&readings)
    }
}

/// A calm server with a change.
fn with(change: impl FnOnce(&mut Load)) -> Load {
    let mut load = Load::calm();
    change(&mut load);
    load
}

/// A calm server with one change.
fn having(change: impl FnOnce(&mut Load) -> &mut Load) -> Load {
    let mut load = Load::calm();
    change(&mut load);
    load
}

/// A full worker 0 with these parts of its time.
fn full_worker(load: &mut Load, session: f64, hub: f64, write: f64) {
    load.stage("session", "0", session, 0.03);
    load.stage("hub", "0", hub, 0.04);
    load.stage("socket_write", "0", write, 0.03);
    load.stage("worker_loop", "0", 0.98, 0.04);
    load.thread("worker", "0", 0.97, 0.02);
    load.set("process_cpu_seconds_total", 1.9);
    load.set("chat_machine_cpu_seconds_total{state=\"busy\"}", 2.1);
}

/// Every cause, by the figures that it leaves.
fn causes() -> Vec<(What, Load)> {
    let throttled = |load: &mut Load| {
        load.set("chat_container_cpu_periods_total", 10.0);
        load.set("chat_container_cpu_throttled_periods_total", 9.0);
        load.set("chat_container_cpu_throttled_seconds_total", 0.7);
        load.set("chat_container_cpu_limit_cores", 0.25);
        load.stage("worker_loop", "0", 0.95, 0.08);
        load.thread("worker", "0", 0.2, 0.7);
    };
    vec![
        (What::History, having(|load| load.set("chat_not_ready{reason=\"history\"}", 1.0))),
        (What::CpuLimit, with(throttled)),
        (
            What::MemoryLimit,
            with(|load| {
                load.set("chat_container_memory_bytes", 125e6).set("chat_container_memory_limit_bytes", 128e6);
            }),
        ),
        (
            What::IoPressure,
            with(|load| {
                load.set("chat_pressure_seconds_total{of=\"container\",resource=\"io\",kind=\"full\"}", 0.5);
                load.stage("worker_loop", "0", 0.5, 0.1);
            }),
        ),
        (
            What::CpuShared,
            with(|load| {
                load.stage("worker_loop", "1", 0.97, 0.06).thread("worker", "1", 0.5, 0.45);
                load.set("chat_machine_cpu_seconds_total{state=\"busy\"}", 4.0);
            }),
        ),
        (
            What::ConnectStorm,
            with(|load| {
                load.stage("worker_loop", "0", 0.75, 0.03).set("chat_connects_total", 400.0);
                load.stage("socket_write", "0", 0.15, 0.01);
            }),
        ),
        (
            What::HotRoom,
            with(|load| {
                full_worker(load, 0.05, 0.1, 0.8);
                load.set("chat_busiest_room_share{worker=\"0\"}", 0.93);
            }),
        ),
        (What::SocketWrite, with(|load| full_worker(load, 0.05, 0.1, 0.8))),
        (What::Hub, with(|load| full_worker(load, 0.05, 0.7, 0.2))),
        (What::ChatServer, having(|load| load.stage("chat_server", "-", 0.97, 0.2))),
        (What::Session, with(|load| full_worker(load, 0.7, 0.1, 0.15))),
        (
            What::CpuLimit,
            with(|load| {
                load.set("process_cpu_seconds_total", 3.8);
                load.set("chat_machine_cpu_seconds_total{state=\"busy\"}", 3.9);
            }),
        ),
        (
            What::History,
            with(|load| {
                load.stage("history", "-", 0.98, 0.4);
                load.set("chat_history_commit_seconds_count", 10.0).set("chat_history_commit_seconds_sum", 0.98);
                load.set("chat_pressure_seconds_total{of=\"machine\",resource=\"io\",kind=\"full\"}", 0.6);
            }),
        ),
        (What::History, having(|load| load.stage("history_read", "-", 1.4, 0.3))),
        (What::Log, having(|load| load.stage("log", "-", 0.1, 0.9).set("chat_nodes_reachable", 1.0))),
        (What::NodeLag, having(|load| load.stage("log", "-", 0.9, 0.9).set("chat_nodes_lag_records", 5_000.0))),
        (What::Session, having(|load| load.set("chat_credit_wait_seconds_total", 7.5))),
    ]
    .into_iter()
    .chain(floods())
    .collect()
}

/// Every effect on clients, in the order of the rules.
fn floods() -> Vec<(What, Load)> {
    let refusing = |setting: &str, per_second| having(|load| load.refuse(setting, per_second));
    let counting = |series: &str, per_second| having(|load| load.set(series, per_second));
    vec![
        (What::Flood, refusing("CHAT_CONNECTIONS", 20.0)),
        (What::Flood, having(|load| load.refuse("CHAT_CONNECTIONS", 20.0).set_elsewhere("CHAT_CONNECTIONS"))),
        (What::Flood, refusing("CHAT_ROOMS", 0.3)),
        (What::Flood, refusing("CHAT_INBOXES", 0.3)),
        (What::SlowReaders, counting("chat_disconnects_total{reason=\"overload\"}", 0.3)),
        (
            What::SlowReaders,
            having(|load| {
                load.set("chat_disconnects_total{reason=\"overload\"}", 0.3).set_elsewhere("CHAT_OUTBOXES_BYTES")
            }),
        ),
        (What::SlowReaders, having(|load| load.set("chat_connections_slow", 40.0))),
        (What::Flood, refusing("CHAT_CONNECTIONS_PER_ADDRESS", 3.0)),
        (What::Flood, refusing("CHAT_HANDSHAKES_PER_SECOND", 3.0)),
        (What::Flood, refusing("CHAT_MESSAGES_PER_SECOND", 300.0)),
        (What::Flood, counting("chat_refused_handshakes_total{code=\"unauthorized\"}", 230.0)),
        (What::Flood, counting("chat_refused_handshakes_total{code=\"forbidden\"}", 50.0)),
        (What::Flood, counting("chat_disconnects_total{reason=\"frame_too_large\"}", 50.0)),
    ]
}

#[test]
fn every_cause_is_named_with_its_evidence() {
    let causes = causes();
    for (what, load) in &causes {
        let verdict = load.verdict();
        assert_eq!(verdict.what, *what, "{verdict:#?}");
        assert!(!verdict.evidence.is_empty() && verdict.sentence.ends_with('.'), "{verdict:#?}");
        assert!(verdict.evidence.iter().any(|evidence| evidence.value >= evidence.limit), "{verdict:#?}");
    }
    let tried: Vec<What> = causes.iter().map(|(what, _)| *what).collect();
    assert_eq!(tried, RULES.iter().map(|rule| rule.what).collect::<Vec<_>>(), "each rule has a cause here");
}

#[test]
fn the_values_are_those_of_the_protocol_and_each_has_a_rule() {
    let protocol = [
        "nothing",
        "cpu_limit",
        "memory_limit",
        "cpu_shared",
        "io_pressure",
        "session",
        "chat_server",
        "history",
        "hub",
        "socket_write",
        "hot_room",
        "slow_readers",
        "connect_storm",
        "flood",
        "log",
        "node_lag",
        "generator",
    ];
    let names = |all: &mut dyn Iterator<Item = &str>| all.map(str::to_owned).collect::<BTreeSet<_>>();
    let all = names(&mut What::ALL.iter().map(|what| what.as_str()));
    assert_eq!(all, names(&mut protocol.into_iter()));
    assert!(What::ALL.iter().all(|what| serde_json::to_value(what).unwrap() == what.as_str()));
    let ruled = names(&mut RULES.iter().map(|rule| rule.what.as_str()).chain(["nothing", "generator"]));
    assert_eq!(ruled, all);
}

#[test]
fn each_work_that_fills_a_worker_has_a_true_name() {
    let http = with(|load| full_worker(load, 0.1, 0.1, 0.15)).verdict();
    assert_eq!((http.what, http.sentence.contains("HTTP")), (What::Session, true), "{}", http.sentence);
    let frames = with(|load| full_worker(load, 0.7, 0.1, 0.15)).verdict();
    assert_eq!((frames.what, frames.sentence.contains("HTTP")), (What::Session, false), "{}", frames.sentence);
}

#[test]
fn the_chat_server_is_named_also_on_the_thread_of_the_only_worker() {
    let mut load = Load::calm();
    full_worker(&mut load, 0.1, 0.1, 0.15);
    load.stage("chat_server", "-", 0.6, 0.05);
    load.0.retain(|series, _| !series.contains("role=\"chat_server\""));
    let verdict = load.verdict();
    assert_eq!((verdict.what, verdict.subject.as_deref()), (What::ChatServer, Some("worker 0")), "{verdict:#?}");
}

#[test]
fn one_slow_client_is_told_from_many() {
    for (slow, subject, words) in
        [(1.0, Some("one client"), "1 of 1000 clients reads"), (40.0, None, "40 of 1000 clients read ")]
    {
        let verdict = having(|load| load.set("chat_connections_slow", slow)).verdict();
        assert_eq!((verdict.what, verdict.subject.as_deref()), (What::SlowReaders, subject));
        assert!(verdict.sentence.contains(words), "{}", verdict.sentence);
    }
}

#[test]
fn full_without_refusals_is_no_cause_and_near_only_if_the_next_one_is_refused() {
    for (table, nearest) in [
        ("chat_connection_places", What::Flood),
        // Another room gives way.
        ("chat_rooms", What::SocketWrite),
        // A client that connects always gets one.
        ("chat_inboxes", What::SocketWrite),
    ] {
        let full = having(|load| load.set(table, 10_000.0)).verdict();
        assert_eq!((full.what, full.nearest.what), (What::Nothing, nearest), "{table}: {full:#?}");
        assert!(full.evidence.iter().all(|evidence| evidence.value <= evidence.limit), "{table}: {full:#?}");
    }
}

#[test]
fn what_a_table_refuses_is_a_flood_however_full_it_is_at_the_readings() {
    for (setting, table, subject) in [
        ("CHAT_CONNECTIONS", "chat_connection_places", "connections"),
        ("CHAT_ROOMS", "chat_rooms", "rooms"),
        ("CHAT_INBOXES", "chat_inboxes", "inboxes"),
    ] {
        for used in [0.0, 9_999.0, 10_000.0] {
            for (refused, words) in [(1.0, "1 was refused in 10 seconds"), (2.0, "2 were refused in 10 seconds")] {
                let verdict = having(|load| load.refuse(setting, refused / SECONDS).set(table, used)).verdict();
                assert_eq!((verdict.what, verdict.subject.as_deref()), (What::Flood, Some(subject)), "{verdict:#?}");
                assert!(verdict.sentence.contains(words) && verdict.remedy.contains(setting), "{verdict:#?}");
            }
        }
    }
}

#[test]
fn a_limit_is_named_by_what_gives_it() {
    let connections = having(|load| load.refuse("CHAT_CONNECTIONS", 1.0));
    let outboxes = having(|load| load.set("chat_disconnects_total{reason=\"overload\"}", 1.0));
    for (load, setting, giver, raised) in [
        (connections, "CHAT_CONNECTIONS", "the limit of open files", "limit of open files"),
        (outboxes, "CHAT_OUTBOXES_BYTES", "their part of the memory limit", "container's memory limit"),
    ] {
        let own = load.verdict();
        assert!(own.sentence.contains(setting) && !own.sentence.contains(giver), "{own:#?}");
        assert!(own.remedy.contains(setting), "{own:#?}");
        let mut load = load;
        load.set_elsewhere(setting);
        let other = load.verdict();
        assert!(other.sentence.contains(giver) && !other.sentence.contains(setting), "{other:#?}");
        assert!(other.remedy.contains(raised) && !other.remedy.contains(setting), "{other:#?}");
        assert_eq!((own.what, own.subject), (other.what, other.subject));
    }
}

#[test]
fn memory_is_named_with_the_limit_that_it_reaches() {
    let container = ("chat_container_memory_bytes", "chat_container_memory_limit_bytes", "container");
    let process = ("process_resident_memory_bytes", "chat_memory_limit_bytes", "process");
    for (used, limit, of) in [container, process] {
        for (share, is_named) in [(0.89, false), (0.9, true), (1.0, true)] {
            let verdict = having(|load| load.set(used, share * 1e9).set(limit, 1e9)).verdict();
            assert_eq!(verdict.what == What::MemoryLimit, is_named, "{of} {share}: {verdict:#?}");
            if is_named {
                assert!(verdict.sentence.contains(of), "{}", verdict.sentence);
                let named = format!("memory of the {of}");
                let evidence = verdict.evidence.iter().find(|evidence| evidence.name == named);
                assert!(evidence.is_some_and(|evidence| evidence.value >= evidence.limit), "{verdict:#?}");
            }
        }
    }
}

#[test]
fn a_moment_after_the_start_is_no_rate() {
    for (series, in_a_second, expected) in [
        ("chat_limit_refusals_total{limit=\"CHAT_HANDSHAKES_PER_SECOND\"}", 3.0, What::Nothing),
        ("chat_limit_refusals_total{limit=\"CHAT_HANDSHAKES_PER_SECOND\"}", 6.0, What::Flood),
        ("chat_refused_handshakes_total{code=\"unauthorized\"}", 24.0, What::Nothing),
        ("chat_refused_handshakes_total{code=\"unauthorized\"}", 60.0, What::Flood),
    ] {
        let load = having(|load| load.set(series, in_a_second));
        let reading =
            |second: u32| Reading::parse(&load.page(f64::from(second)), Duration::from_secs(second.into())).unwrap();
        let verdict = observe(&[reading(0), reading(1)]);
        assert_eq!(verdict.what, expected, "{series} {in_a_second}: {verdict:#?}");
    }
}

#[test]
fn a_full_table_comes_before_one_slow_client() {
    let verdict = having(|load| load.refuse("CHAT_CONNECTIONS", 0.5).set("chat_connections_slow", 1.0)).verdict();
    assert_eq!((verdict.what, verdict.subject.as_deref()), (What::Flood, Some("connections")), "{verdict:#?}");
}

#[test]
fn one_client_that_waits_for_its_own_commands_is_enough() {
    for (waiting, expected) in [(0.4, What::Nothing), (0.8, What::Session)] {
        assert_eq!(having(|load| load.set("chat_credit_wait_seconds_total", waiting)).verdict().what, expected);
    }
}

#[test]
fn what_is_known_without_measurements_has_the_remedy_of_its_rule() {
    for (reason, what, words) in [
        ("history", What::History, "CHAT_HISTORY_PATH"),
        ("memory", What::MemoryLimit, "CHAT_MEMORY_BYTES"),
        ("log", What::Log, "NATS"),
        ("stopping", What::Nothing, "Nothing to do"),
        ("died", What::Nothing, "Nothing to do"),
    ] {
        let verdict = not_ready(reason);
        assert_eq!(verdict.what, what, "{reason}");
        assert!(verdict.remedy.contains(words) && verdict.is_measured(), "{verdict:#?}");
    }
}

#[test]
fn a_server_that_is_stopping_says_only_that() {
    for reason in ["stopping", "died"] {
        for (what, load) in causes() {
            let mut load = load;
            let verdict = load.set(&format!("chat_not_ready{{reason=\"{reason}\"}}"), 1.0).verdict();
            assert_eq!(verdict, Verdict::stopping(), "{what:?}");
        }
    }
}

#[test]
fn a_server_that_is_not_ready_never_says_that_nothing_is_saturated() {
    for (reason, what, words) in [
        ("died", What::Nothing, "The server is stopping"),
        ("stopping", What::Nothing, "The server is stopping"),
        ("memory", What::MemoryLimit, "short of memory"),
        ("log", What::Log, "NATS cannot be reached"),
        ("history", What::History, "Nothing can be stored"),
    ] {
        let verdict = having(|load| load.set(&format!("chat_not_ready{{reason=\"{reason}\"}}"), 1.0)).verdict();
        assert_eq!(verdict.what, what, "{reason}");
        assert!(verdict.sentence.contains(words), "{reason}: {}", verdict.sentence);
    }
}

#[test]
fn each_limit_of_clients_has_its_own_remedy() {
    let limit = |setting: &str| format!("chat_limit_refusals_total{{limit=\"{setting}\"}}");
    let handshake = |code: &str| format!("chat_refused_handshakes_total{{code=\"{code}\"}}");
    let closed = |reason: &str| format!("chat_disconnects_total{{reason=\"{reason}\"}}");
    for (series, per_second, subject, remedy) in [
        (limit("CHAT_MESSAGES_PER_SECOND"), 12.0, "commands", "CHAT_MESSAGES_PER_SECOND"),
        (limit("CHAT_JOINS_PER_MINUTE"), 12.0, "commands", "CHAT_JOINS_PER_MINUTE"),
        (limit("CHAT_ROOMS_PER_CLIENT"), 12.0, "commands", "CHAT_ROOMS_PER_CLIENT"),
        (limit("CHAT_INBOXES_PER_CLIENT"), 12.0, "commands", "CHAT_INBOXES_PER_CLIENT"),
        (limit("CHAT_HANDSHAKES_PER_SECOND"), 1.5, "handshakes of an address", "CHAT_HANDSHAKES_PER_SECOND"),
        (limit("CHAT_CONNECTIONS_PER_ADDRESS"), 1.5, "connections of an address", "CHAT_CONNECTIONS_PER_ADDRESS"),
        (handshake("forbidden"), 12.0, "handshakes", "CHAT_ALLOWED_ORIGINS"),
        (handshake("name_taken"), 12.0, "handshakes", "code"),
        ("chat_failed_tls_handshakes_total".to_owned(), 12.0, "handshakes", "certificate"),
        ("chat_broken_connections_total{reason=\"slow\"}".to_owned(), 12.0, "handshakes", "code"),
        (closed("no_sign_of_life"), 12.0, "closings", "CHAT_HEARTBEAT_SECONDS"),
        (closed("frame_too_large"), 12.0, "closings", "CHAT_FRAME_BYTES"),
        (handshake("unauthorized"), 12.0, "tokens", "key"),
        ("chat_rejected_commands_total{code=\"unauthorized\"}".to_owned(), 12.0, "tokens", "key"),
    ] {
        let verdict = having(|load| load.set(&series, per_second)).verdict();
        assert_eq!((verdict.what, verdict.subject.as_deref()), (What::Flood, Some(subject)), "{verdict:#?}");
        assert!(verdict.remedy.contains(remedy), "{}", verdict.remedy);
        let few = having(|load| load.set(&series, per_second / 2.0)).verdict();
        assert_eq!(few.what, What::Nothing, "{series}: {few:#?}");
    }
}

#[test]
fn a_slow_commit_is_named_also_if_nothing_waits_for_it() {
    let slow = |commits: f64, others: f64| {
        with(|load| {
            load.stage("history", "-", 0.2, 0.005);
            load.set("chat_history_commit_seconds_count", commits);
            load.set("chat_history_commit_seconds_sum", commits * 0.09);
            for (part, seconds) in [("commit", 0.09), ("socket_write", others)] {
                let labels = format!("{{part=\"{part}\"}}");
                load.set(&format!("chat_delivery_part_seconds_sum{labels}"), seconds * commits);
                let bucket = format!("chat_delivery_part_seconds_bucket{{part=\"{part}\",le=\"+Inf\"}}");
                load.set(&bucket, commits);
            }
        })
    };
    for (commits, others, expected) in [
        (2.0, 0.000_3, What::History),
        // The rest of the way takes longer.
        (2.0, 0.3, What::Nothing),
        // One slow commit.
        (0.1, 0.000_3, What::Nothing),
    ] {
        let verdict = slow(commits, others).verdict();
        assert_eq!(verdict.what, expected, "{commits} {others}: {verdict:#?}");
    }
}

#[test]
fn figures_are_shown_without_noise() {
    let verdict = with(|load| {
        load.set("process_cpu_seconds_total", 3.876_543_21).set("chat_connections_limit", 3.0);
        load.set("chat_machine_cpu_seconds_total{state=\"busy\"}", 3.9);
    });
    let verdict = verdict.verdict();
    assert!(verdict.sentence.contains("97 % of its cores: 3.88 of 4."), "{}", verdict.sentence);
    let (value, limit) = (verdict.evidence[0].value, verdict.evidence[0].limit);
    assert!((value - 3.877).abs() < 1e-9 && (limit - 3.8).abs() < 1e-9, "{verdict:#?}");
}

#[test]
fn the_nearest_limit_is_another_than_the_one_that_is_reached() {
    let full = having(|load| load.stage("chat_server", "-", 0.97, 0.2)).verdict();
    assert_eq!((full.what, full.nearest.what), (What::ChatServer, What::SocketWrite), "{full:#?}");
    assert!((full.nearest.used - 0.5).abs() < 1e-9);
}

#[test]
fn the_parts_of_the_latency_come_in_their_order_with_their_shares() {
    let mut load = Load::calm();
    for (part, mean) in [("socket_write", 0.003), ("hub_wait", 0.001)] {
        let labels = format!("{{part=\"{part}\"}}");
        load.set(&format!("chat_delivery_part_seconds_sum{labels}"), mean * 100.0);
        for (bound, count) in [("0.001", 50.0), ("0.005", 100.0), ("+Inf", 100.0)] {
            load.set(&format!("chat_delivery_part_seconds_bucket{{part=\"{part}\",le=\"{bound}\"}}"), count);
        }
    }
    let latency = load.verdict().latency;
    let told: Vec<_> = latency.iter().map(|it| (&*it.part, it.p50_ms.round(), (it.share * 100.0).round())).collect();
    assert_eq!(told, [("hub_wait", 1.0, 25.0), ("socket_write", 1.0, 75.0)]);
    assert!(latency.iter().all(|it| it.p99_ms > 4.0));
}

#[test]
fn healthy_runs_raise_no_alarm() {
    for (name, load) in [
        ("half of the load", Load::calm()),
        (
            "idle",
            with(|load| {
                for worker in ["0", "1"] {
                    load.stage("worker_loop", worker, 0.01, 0.001).thread("worker", worker, 0.01, 0.0);
                    load.stage("socket_write", worker, 0.0, 0.001).stage("session", worker, 0.0, 0.001);
                }
            }),
        ),
        // A burst fills the queues for a moment; the threads have time left.
        ("bursts", having(|load| load.stage("hub", "0", 0.1, 0.1).stage("worker_loop", "0", 0.6, 0.05))),
        ("a rolling restart", having(|load| load.set("chat_connects_total", 200.0))),
        ("a few mistakes of clients", having(|load| load.refuse("CHAT_MESSAGES_PER_SECOND", 1.0))),
        // The programs beside the server use the machine, and it has the cores that it needs.
        ("a busy machine", having(|load| load.set("chat_machine_cpu_seconds_total{state=\"busy\"}", 3.9))),
        // Pressure of the machine's disk that delays nothing here.
        (
            "a busy disk",
            having(|load| load.set("chat_pressure_seconds_total{of=\"machine\",resource=\"io\",kind=\"full\"}", 0.6)),
        ),
    ] {
        let verdict = load.verdict();
        assert_eq!(verdict.what, What::Nothing, "{name}: {verdict:#?}");
        assert!(verdict.sentence.contains("nearest"), "{name}: {}", verdict.sentence);
    }
}

#[test]
fn the_second_cause_is_named_once_the_first_is_relieved() {
    let both = with(|load| {
        full_worker(load, 0.05, 0.1, 0.8);
        load.set("chat_container_cpu_periods_total", 10.0);
        load.set("chat_container_cpu_throttled_periods_total", 9.0);
        load.set("chat_container_cpu_throttled_seconds_total", 0.7);
    });
    assert_eq!(both.verdict().what, What::CpuLimit);
    let mut relieved = both;
    relieved.set("chat_container_cpu_throttled_periods_total", 0.0);
    relieved.set("chat_container_cpu_throttled_seconds_total", 0.0);
    assert_eq!(relieved.verdict().what, What::SocketWrite);
}

#[test]
fn a_worker_unlike_the_others_is_named() {
    let verdict = with(|load| {
        full_worker(load, 0.05, 0.1, 0.8);
        load.stage("worker_loop", "1", 0.1, 0.001);
    });
    let verdict = verdict.verdict();
    assert_eq!(verdict.subject.as_deref(), Some("worker 0"));
    assert!(verdict.sentence.contains("the other workers are busy only 10 %"), "{}", verdict.sentence);
    assert!(verdict.confidence > 0.8);
}

#[test]
fn a_full_thread_whose_work_has_no_stage_is_named() {
    let verdict = having(|load| load.stage("chat_server", "-", 0.005, 0.001).thread("chat_server", "-", 0.97, 0.01));
    let verdict = verdict.verdict();
    assert_eq!(verdict.what, What::ChatServer);
    assert!(verdict.confidence < 0.8);
    assert!(verdict.sentence.contains("outside its stage"), "{}", verdict.sentence);
}

#[test]
fn a_moment_in_which_a_client_is_slow_is_no_verdict() {
    let (calm, slow) = (Load::calm(), having(|load| load.set("chat_connections_slow", 1.0)));
    let reading = |load: &Load, second: u32| {
        Reading::parse(&load.page(f64::from(second)), Duration::from_secs(second.into())).unwrap()
    };
    let readings = [reading(&calm, 1), reading(&calm, 2), reading(&slow, 3), reading(&calm, 4)];
    assert_eq!(observe(&readings).what, What::Nothing);
}

#[test]
fn a_log_that_cannot_be_reached_is_named_and_one_that_answers_is_not() {
    let out = having(|load| load.set("chat_nodes_reachable", 0.0)).verdict();
    assert!(out.what == What::Log && out.confidence > 0.8, "{out:#?}");
    let healthy = having(|load| load.stage("log", "-", 0.3, 0.01).set("chat_nodes_reachable", 1.0)).verdict();
    assert_eq!(healthy.what, What::Nothing, "{healthy:#?}");
}

#[test]
fn without_two_readings_nothing_is_known() {
    assert_eq!(observe(&[]), Verdict::unmeasured());
    let reading = Reading::parse(&Load::calm().page(1.0), Duration::ZERO).unwrap();
    assert_eq!(observe(std::slice::from_ref(&reading)), Verdict::unmeasured());
    assert_eq!(observe(&[reading.clone(), reading]), Verdict::unmeasured(), "no time has passed");
    assert!(!Verdict::unmeasured().is_measured() && Load::calm().verdict().is_measured());
    assert!(Reading::parse("process_cpu_seconds_total 5\n", Duration::ZERO).is_none());
}

#[test]
fn a_server_without_the_newer_figures_is_judged_by_its_stages() {
    let mut load = Load(BTreeMap::new());
    load.stage("socket_write", "0", 0.8, 0.05).stage("worker_loop", "0", 0.97, 0.05).stage(
        "chat_server",
        "-",
        0.1,
        0.0,
    );
    assert_eq!(load.verdict().what, What::SocketWrite);
}

#[test]
fn families_and_their_page_are_the_same_reading() {
    use crate::exposition::{Family, histogram};
    let families = |seconds: u32| {
        let grown = f64::from(seconds);
        let mut busy = Family::counter("chat_stage_busy_seconds_total", "Busy.");
        let mut waits = Family::histogram("chat_stage_wait_seconds", "Waits.");
        let labels = [("stage", "worker_loop"), ("worker", "0")];
        busy.add(&labels, 0.95 * grown);
        waits.add_histogram(
            &labels,
            histogram([(0.01, 0), (0.1, u64::from(seconds) * 10)], u64::from(seconds) * 10, 1.0),
        );
        [busy.finish(), waits.finish(), Family::single_gauge("chat_connections", "Open.", 3.0)]
    };
    let at = |seconds: u32| Duration::from_secs(seconds.into());
    let page = |seconds| prometheus::TextEncoder::new().encode_to_string(&families(seconds)).unwrap();
    let direct = observe(&[Reading::of(&families(5), at(5)), Reading::of(&families(15), at(15))]);
    let read = observe(&[5, 15].map(|seconds| Reading::parse(&page(seconds), at(seconds)).unwrap()));
    assert_eq!(direct, read);
    assert_eq!(direct.what, What::Session);
}
