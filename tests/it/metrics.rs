//! The metrics: exported and documented ones are the same, and they count correctly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::json;
use test_kit::{Client, Exposition, figures_when, raw};

use crate::harness::TestServer;

/// Metrics whose labels come from actix-web-prom; they appear with the first request.
const HTTP: &str = "chat_http_";

/// A row of a table of `docs/metrics.md`.
#[derive(Debug)]
struct Documented {
    kind: String,
    labels: BTreeSet<String>,
    meaning: String,
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap()
}

/// The metrics of the page: rows of `name`, type, labels, meaning.
fn documented() -> BTreeMap<String, Documented> {
    let page = page();
    let mut metrics = BTreeMap::new();
    let mut lines = page.lines();
    while lines.by_ref().any(|line| line == "| metric | type | labels | meaning |") {
        for line in lines.by_ref().skip(1).take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, kind, labels, meaning] = cells[..] else { panic!("not four cells: {line}") };
            let labels =
                labels.split(", ").filter(|label| *label != "–").map(|label| label.trim_matches('`').to_owned());
            let row = Documented { kind: kind.to_owned(), labels: labels.collect(), meaning: meaning.to_owned() };
            assert!(metrics.insert(name.trim_matches('`').to_owned(), row).is_none(), "twice: {name}");
        }
    }
    metrics
}

/// The names of all metrics, including those of the swarm, which its own tests check against the page.
pub(crate) fn documented_names() -> BTreeSet<String> {
    let page = page();
    let swarm = page.lines().filter_map(|line| line.strip_prefix("| `swarm_")?.split_once('`'));
    documented().into_keys().chain(swarm.map(|(name, _)| format!("swarm_{name}"))).collect()
}

/// A server with some activity of every kind.
async fn busy_server() -> (TestServer, [Client; 2]) {
    // A receiver of webhooks has metrics, even if nobody listens there.
    let server =
        TestServer::start(&[("CHAT_WEBHOOK_URLS", "http://127.0.0.1:9/"), ("CHAT_WEBHOOK_SECRET", "0123456789abcdef")]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
    alice.send_json(&json!({"Message": "to all"})).await;
    alice.expect(r#"{"type":"message"}"#).await;
    bob.expect(r#"{"type":"message"}"#).await;
    (server, [alice, bob])
}

#[actix::test]
async fn every_exported_metric_is_documented_and_every_documented_one_exported() {
    let (server, _clients) = busy_server().await;
    let _first = Exposition::scrape(&server).await;
    let figures = Exposition::scrape(&server).await;
    let mut documented = documented();
    // Compared with the log itself, in tests/nodes.
    documented.retain(|name, _| !name.starts_with("chat_nodes_"));
    let names = |set: BTreeSet<&String>| set.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(figures.families.keys().collect()), names(documented.keys().collect()));
    for (name, family) in &figures.families {
        let row = &documented[name];
        assert_eq!((&family.kind, family.label_names()), (&row.kind, row.labels.clone()), "{name}");
        assert!(row.meaning.len() > 10, "{name} says what it means");
    }
}

#[actix::test]
async fn every_value_of_a_label_is_documented() {
    let (server, _clients) = busy_server().await;
    let figures = Exposition::scrape(&server).await;
    let page = page();
    for (name, family) in figures.families.iter().filter(|(name, _)| !name.starts_with(HTTP)) {
        for (label, value) in family.samples.iter().flat_map(|sample| &sample.labels) {
            let is_number = value.parse::<f64>().is_ok() || value == "+Inf";
            assert!(is_number || page.contains(&format!("`{value}`")), "{name}: {label}={value}");
        }
    }
}

#[actix::test]
async fn names_say_their_unit_and_counters_that_they_are_counters() {
    let (server, _clients) = busy_server().await;
    let figures = Exposition::scrape(&server).await;
    for (name, family) in &figures.families {
        assert!(name.starts_with("chat_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == "counter", "{name}");
        if family.kind == "histogram" {
            assert!(["_seconds", "_bytes", "_messages"].iter().any(|unit| name.ends_with(unit)), "{name}");
        }
    }
}

#[actix::test]
async fn every_stage_has_the_same_series() {
    let (server, _clients) = busy_server().await;
    let figures = Exposition::scrape(&server).await;
    let mut stages =
        BTreeSet::from(["chat_server", "history", "history_read"].map(|name| (name.to_owned(), "-".to_owned())));
    for worker in ["0", "1"] {
        stages.extend(
            ["http", "session", "hub", "socket_write", "worker_loop"].map(|name| (name.to_owned(), worker.to_owned())),
        );
    }
    let families: Vec<_> = figures.families.iter().filter(|(name, _)| name.starts_with("chat_stage_")).collect();
    assert_eq!(families.len(), 6);
    for (name, family) in families {
        let label =
            |sample: &test_kit::exposition::Sample| (sample.labels["stage"].clone(), sample.labels["worker"].clone());
        assert_eq!(family.samples.iter().map(label).collect::<BTreeSet<_>>(), stages, "{name}");
    }
}

#[actix::test]
async fn counters_move_with_what_happens() {
    let server = TestServer::start(&[]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let mut bob = Client::connect(&server, "/ws/dev?clientId=bob").await;
    for room in ["dev", "ops"] {
        alice.send_json(&json!({"type": "join", "room": room})).await;
        alice.expect(r#"{"type":"joined"}"#).await;
    }
    // One message to the lobby, two to rooms, of which bob is in one, and one private message.
    for message in [
        json!({"Message": "12345"}),
        json!({"Message": "12345", "room": "dev"}),
        json!({"Message": "12345", "room": "ops"}),
    ] {
        alice.send_json(&message).await;
        alice.expect(r#"{"type":"message"}"#).await;
    }
    bob.expect(r#"{"type":"message","room":"dev"}"#).await;
    alice.send_json(&json!({"Message": "12345", "to": "bob"})).await;
    alice.expect(r#"{"type":"message","to":"bob"}"#).await;
    bob.expect(r#"{"type":"message","to":"bob"}"#).await;
    for _ in 0..3 {
        alice.send_json(&json!({"type": "dance"})).await;
        alice.expect(r#"{"type":"error","code":"unknown_type"}"#).await;
    }
    bob.send(awc::ws::Message::Binary("x".into())).await;
    bob.expect_close(1003).await;
    raw::handshake(&server, "/ws?clientId=alice").await.expect_refusal(409, "name_taken");
    raw::get(&server, "/healthz").await;
    let mut carol = Client::connect(&server, "/ws?clientId=carol").await;
    carol.send_close(1000).await;
    carol.expect_close(1000).await;

    let gone = |figures: &Exposition| figures.value("chat_sessions", &[]) < 1.5;
    let figures = figures_when(&server, "only alice is left", gone).await;
    for (name, labels, expected) in [
        ("chat_connections", &[][..], 1.0),
        ("chat_connects_total", &[], 3.0),
        ("chat_welcome_seconds_count", &[], 3.0),
        ("chat_disconnects_total", &[("reason", "binary_frame")], 1.0),
        ("chat_disconnects_total", &[("reason", "client")], 1.0),
        ("chat_disconnects_total", &[("reason", "lost")], 0.0),
        ("chat_messages_total", &[("kind", "global")], 1.0),
        ("chat_messages_total", &[("kind", "room")], 2.0),
        ("chat_messages_total", &[("kind", "private")], 1.0),
        ("chat_message_bytes_count", &[], 4.0),
        ("chat_message_bytes_sum", &[], 20.0),
        ("chat_deliveries_total", &[], 6.0),
        ("chat_delivery_seconds_count", &[], 6.0),
        ("chat_rejected_commands_total", &[("code", "unknown_type")], 3.0),
        ("chat_rejected_commands_total", &[("code", "bad_json")], 0.0),
        ("chat_refused_handshakes_total", &[("code", "name_taken")], 1.0),
        ("chat_frame_received_bytes_count", &[], 9.0),
        ("chat_session_panics_total", &[], 0.0),
        ("chat_rooms", &[], 3.0),
        ("chat_outbox_bytes", &[], 0.0),
        ("chat_outbox_frames", &[], 0.0),
        ("chat_http_requests_total", &[("endpoint", "/healthz"), ("status", "200")], 1.0),
    ] {
        let value = figures.value(name, labels);
        assert!((value - expected).abs() < 0.001, "{name} {labels:?} is {value}, not {expected}");
    }
    assert!(figures.value("process_cpu_seconds_total", &[]) >= 0.0);
    assert!(figures.value("process_resident_memory_bytes", &[]) > 1e6);
}

/// With the history in memory and on the disk, in rooms and in private.
#[actix::test]
async fn the_parts_of_a_delivery_add_up_to_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let stored = [("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", path.to_str().unwrap())];
    for (settings, is_stored) in [(&[][..], false), (&stored, true)] {
        let server = TestServer::start(settings);
        let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
        let mut bob = Client::connect(&server, "/ws?clientId=bob").await;
        for _ in 0..20 {
            alice.send_json(&json!({"Message": "to all"})).await;
            bob.expect(r#"{"type":"message"}"#).await;
            bob.send_json(&json!({"Message": "to one", "to": "alice"})).await;
            bob.expect(r#"{"type":"message","to":"alice"}"#).await;
        }
        let all = |figures: &Exposition| figures.value("chat_delivery_seconds_count", &[]) > 79.5;
        let figures = figures_when(&server, "all is delivered", all).await;
        let whole = figures.value("chat_delivery_seconds_sum", &[]);
        let parts = figures.value("chat_delivery_part_seconds_sum", &[]);
        assert!((whole - parts).abs() < 1e-6, "{parts} of {whole}");
        for part in ["session", "chat_server_wait", "commit", "chat_server", "hub_wait", "socket_write"] {
            let count = figures.value("chat_delivery_part_seconds_count", &[("part", part)]);
            assert!((count - 80.0).abs() < 0.5, "{part}: {count}");
        }
        let commit = figures.value("chat_delivery_part_seconds_sum", &[("part", "commit")]);
        assert_eq!(commit > 0.1 * whole, is_stored, "{commit} of {whole}");
        assert_eq!(figures.value("chat_history_sync_seconds_count", &[]) > 0.5, is_stored);
        assert!(figures.value("chat_history_memory_bytes", &[]) > 100.0);
    }
}

#[actix::test]
async fn a_client_that_sends_too_fast_counts_once() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "1"), ("CHAT_BURST", "1")]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    for _ in 0..5 {
        alice.send_json(&json!({"type": "ping"})).await;
    }
    alice.expect(r#"{"type":"pong"}"#).await;
    for _ in 0..4 {
        alice.expect(r#"{"type":"error","code":"rate_limited"}"#).await;
    }
    let limited = Exposition::scrape(&server).await.value("chat_limited_clients_total", &[]);
    assert!((limited - 1.0).abs() < 0.1, "{limited}");
}

#[actix::test]
async fn what_enters_a_stage_leaves_it_and_waits_and_works() {
    let (server, _clients) = busy_server().await;
    let stages = ["session", "chat_server", "hub", "socket_write"];
    let is_quiet = |figures: &Exposition| {
        stages.iter().all(|stage| figures.value("chat_stage_backlog", &[("stage", stage)]) < 0.5)
            && figures.value("chat_stage_completions_total", &[("stage", "worker_loop")]) > 0.5
    };
    let figures = figures_when(&server, "the stages are empty", is_quiet).await;
    for stage in stages.iter().chain(&["worker_loop"]) {
        let of = |name: &str| figures.value(name, &[("stage", stage)]);
        assert!(of("chat_stage_arrivals_total") > 0.5, "{stage}");
        assert!((of("chat_stage_arrivals_total") - of("chat_stage_completions_total")).abs() < 1.5, "{stage}");
        assert!(of("chat_stage_wait_seconds_count") > 0.5, "{stage}");
        assert!(of("chat_stage_busy_seconds_total") > 0.0, "{stage}");
    }
}

#[actix::test]
async fn the_highest_of_a_minute_belongs_to_no_reader() {
    let (server, _clients) = busy_server().await;
    let peak = |figures: &Exposition| figures.value("chat_stage_backlog_peak", &[("stage", "chat_server")]);
    let highest = |figures: &Exposition| figures.value("chat_mailbox_messages_highest", &[("actor", "chat_server")]);
    for reader in 0..3 {
        let figures = Exposition::scrape(&server).await;
        assert!(peak(&figures) > 0.5 && highest(&figures) > 0.5, "reader {reader} sees the messages of the start");
    }
}

#[actix::test]
async fn a_client_that_reads_nothing_is_counted_as_slow_while_it_waits() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "16777216")]);
    let silent = raw::Raw::connect(&server, "/ws?clientId=silent").await;
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let is_slow = |figures: &Exposition| figures.value("chat_connections_slow", &[]) > 0.5;
    let text = "x".repeat(8_000);
    // The kernel's buffers take some megabytes before a frame waits.
    while Exposition::scrape(&server).await.value("chat_outbox_bytes", &[]) < 100_000.0 {
        for _ in 0..50 {
            alice.send_json(&json!({"Message": text})).await;
            alice.expect(r#"{"type":"message"}"#).await;
        }
    }
    let figures = figures_when(&server, "one client is slow", is_slow).await;
    assert!(figures.value("chat_outbox_bytes_highest", &[]) >= 100_000.0, "what still waits is the highest");
    assert!(figures.value("chat_busiest_room_share", &[]) > 0.99, "there is one room");
    drop(silent);
    figures_when(&server, "nobody is slow", |figures| !is_slow(figures)).await;
}

#[actix::test]
async fn a_client_that_is_closed_as_slow_is_counted_as_slow_no_more() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0"), ("CHAT_OUTBOX_BYTES", "262144")]);
    let _silent = raw::Raw::connect(&server, "/ws?clientId=silent").await;
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let text = "x".repeat(8_000);
    let closed = |figures: &Exposition| figures.value("chat_disconnects_total", &[("reason", "slow_consumer")]) > 0.5;
    while !closed(&Exposition::scrape(&server).await) {
        for _ in 0..50 {
            alice.send_json(&json!({"Message": text})).await;
            alice.expect(r#"{"type":"message"}"#).await;
        }
    }
    // Its socket is still open, beside those of alice and of the reader of these figures.
    let lingers = |figures: &Exposition| {
        figures.value("chat_connections_slow", &[]) < 0.5 && figures.value("chat_connections_open", &[]) > 2.5
    };
    figures_when(&server, "nobody is slow", lingers).await;
}

#[actix::test]
async fn the_threads_have_names_and_the_machine_a_clock() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("history.db");
    let server = TestServer::start(&[("CHAT_HISTORY", "sqlite"), ("CHAT_HISTORY_PATH", database.to_str().unwrap())]);
    // The threads are read at most once a second, so the first figures may be older than the last thread.
    let are_there = |figures: &Exposition| {
        let samples = &figures.families["chat_thread_cpu_seconds_total"].samples;
        ["worker", "main", "history"].iter().all(|role| samples.iter().any(|sample| sample.labels["role"] == *role))
    };
    let figures = figures_when(&server, "every thread is counted", are_there).await;
    for role in ["worker", "main", "history"] {
        for name in ["chat_thread_cpu_seconds_total", "chat_thread_run_queue_seconds_total"] {
            assert!(figures.value(name, &[("role", role)]) >= 0.0, "{name} {role}");
        }
    }
    assert!(figures.value("chat_cores", &[]) >= 1.0);
    assert!(figures.value("chat_machine_cpu_seconds_total", &[("state", "busy")]) > 0.0);
    assert!(figures.value("chat_container_memory_bytes", &[]) >= 0.0);
}
