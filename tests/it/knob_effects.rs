//! Each knob has its documented effect, through the program. Most have tests near their limits; here are the others.

use std::fs;
use std::process::Command;

use bot_swarm::config::KNOBS;
use bot_swarm::report::document::Report;
use bot_swarm::report::folder;
use serde_json::{Value, json};
use starling::Config;
use test_kit::{Client, figures_when, raw};

use crate::harness::{TestServer, bot_swarm};
use crate::tidy;

/// Knobs whose lowest value is longer than a test may take; tests of the rules check them with a fake clock.
const BY_THE_RULES: [&str; 1] = ["CHAT_EMPTY_ROOM_SECONDS"];

/// The names of a bots' knob in a test: as a variable, a flag or a field of the configuration.
fn names_of_bots_knob(variable: &str) -> [String; 4] {
    let field = variable.trim_start_matches("BOT_").to_lowercase();
    let flag = format!("\"--{}\"", field.replace('_', "-"));
    [variable.to_owned(), flag, format!(" {field}:"), format!("Config {{ {field},")]
}

#[test]
fn every_knob_of_both_programs_is_set_by_a_test_of_what_it_does() {
    let is_test = |path: &std::path::Path| {
        let of_ranges = path.ends_with("tests/it/knobs.rs") || path.ends_with("tests/it/knob_effects.rs");
        path.components().any(|part| part.as_os_str() == "tests") && !of_ranges && !path.starts_with("tests/stack")
    };
    let tests = tidy::files().into_iter().filter(|path| is_test(path.strip_prefix(tidy::root()).unwrap()));
    let mut text: String = tests.filter_map(|path| fs::read_to_string(path).ok()).collect();
    // Settings in this file count, but the lists above do not.
    let own = include_str!("knob_effects.rs");
    text.push_str(own.split("// The effects.").last().unwrap());
    for knob in Config::knobs().into_iter().filter(|knob| !BY_THE_RULES.contains(&knob.variable)) {
        assert!(text.contains(knob.variable), "{} has no test", knob.variable);
    }
    for knob in KNOBS {
        let names = names_of_bots_knob(knob.variable);
        assert!(names.iter().any(|name| text.contains(name.as_str())), "{names:?} has no test");
    }
}

// The effects.

#[actix::test]
async fn as_many_ids_are_remembered_as_chat_remembered_ids_says() {
    let server = TestServer::start(&[("CHAT_REMEMBERED_IDS", "1024"), ("CHAT_MESSAGES_PER_SECOND", "0")]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    for id in 0..1_100 {
        alice.send_json(&json!({"Message": "x", "id": id.to_string()})).await;
    }
    let repeated = async |alice: &mut Client, id: &str| -> Value {
        alice.send_json(&json!({"Message": "x", "id": id})).await;
        loop {
            let frame: Value = serde_json::from_str(&alice.text().await).unwrap();
            if frame["type"] == "ack" && frame["id"] == id {
                return frame;
            }
        }
    };
    // The first ack of each id answers its first sending.
    assert_eq!(repeated(&mut alice, "1099").await.get("duplicate"), None);
    assert_eq!(repeated(&mut alice, "1099").await["duplicate"], true);
    assert_eq!(repeated(&mut alice, "0").await.get("duplicate"), None, "the oldest is forgotten");
}

#[actix::test]
async fn the_stored_history_stays_near_chat_history_keep_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("starling.db");
    let server = TestServer::start(&[
        ("CHAT_HISTORY", "sqlite"),
        ("CHAT_HISTORY_PATH", path.to_str().unwrap()),
        ("CHAT_HISTORY_KEEP_BYTES", "1000000"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
    ]);
    let mut alice = Client::connect(&server, "/ws?clientId=alice").await;
    let text = "word ".repeat(3_000);
    for id in 0..200 {
        alice.send_json(&json!({"Message": text, "id": id.to_string()})).await;
        while !alice.text().await.contains(r#""type":"ack""#) {}
    }
    // Three times the allowed bytes were sent.
    figures_when(&server, "the oldest messages go", |f| f.value("chat_history_dropped_messages_total", &[]) > 120.0)
        .await;
    let answer = raw::get(&server, "/api/rooms/lobby/messages?limit=200").await;
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    let kept = page["messages"].as_array().unwrap();
    assert!(!kept.is_empty() && kept.len() < 80, "{} messages", kept.len());
    assert_eq!(kept.last().unwrap()["seq"], 200, "the newest are kept");
}

/// Runs bots to their end, and reads their report.
async fn report_of_bots(server: &TestServer, flags: &[&str]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(bot_swarm().path());
    command.args(["--server-url", &format!("ws://{}/ws", server.address()), "--ramp-per-second", "1000"]);
    command.args(["--drain-seconds", "2", "--lateness-max-seconds", "60"]).args(flags);
    command.arg("--report").arg(folder.path()).current_dir(folder.path()).env_clear();
    let output = actix_web::web::block(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    folder::read(folder.path()).unwrap()
}

#[actix::test]
async fn bursts_of_bots_come_together_and_steady_messages_do_not() {
    let server = TestServer::start(&[("CHAT_MESSAGES_PER_SECOND", "0")]);
    let most_in_a_second = async |arrivals: &str| {
        let flags = ["--count", "1", "--messages-per-second", "10", "--seconds", "6", "--arrivals", arrivals];
        let report = report_of_bots(&server, &flags).await;
        report.series.iter().map(|second| second.sent).max().unwrap()
    };
    let (steady, burst) = (most_in_a_second("steady").await, most_in_a_second("burst:30").await);
    assert!(steady < 25 && burst >= 30, "{steady} steady, {burst} in bursts");
}

#[actix::test]
async fn bots_gather_in_few_rooms_as_bot_room_skew_says() {
    let server = TestServer::start(&[]);
    let fullest = async |skew: &str| {
        let flags = ["--count", "60", "--rooms", "10", "--room-skew", skew, "--seconds", "6"];
        let looked = figures_when(&server, "all are there", |f| f.value("chat_connections", &[]) > 59.5);
        let asked = async {
            looked.await;
            let rooms: Value = serde_json::from_str(&raw::get(&server, "/api/rooms").await.body).unwrap();
            rooms["rooms"].as_array().unwrap().iter().map(|room| room["count"].as_u64().unwrap()).max().unwrap()
        };
        let (_, fullest) = tokio::join!(report_of_bots(&server, &flags), asked);
        fullest
    };
    let (even, skewed) = (fullest("0").await, fullest("4").await);
    assert!(even <= 7 && skewed >= 40, "{even} members of the fullest room, or {skewed}");
}

#[actix::test]
async fn latencies_of_the_warm_up_are_left_out() {
    let server = TestServer::start(&[]);
    let flags = ["--count", "10", "--messages-per-second", "2", "--seconds", "6", "--warm-up-seconds", "4"];
    let report = report_of_bots(&server, &flags).await;
    let (timed, all) = (report.latencies["delivery"].percentiles.count, report.ledger.deliveries);
    assert!(timed > 0 && timed < all * 2 / 3, "{timed} of {all} deliveries are timed");
}

#[actix::test]
async fn a_limit_is_searched_in_steps_of_bot_find_factor_as_close_as_bot_find_precision() {
    let server = TestServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(bot_swarm().path());
    command.args(["find-limit", "--server-url", &format!("ws://{}/ws", server.address()), "--find-start", "2"]);
    command.args(["--find-factor", "4", "--find-most", "40", "--find-precision", "1", "--find-seconds", "0.5"]);
    command.args(["--drain-seconds", "1", "--lateness-max-seconds", "60", "--expect", "connected<=10"]);
    command.arg("--report").arg(folder.path()).current_dir(folder.path()).env_clear();
    let output = actix_web::web::block(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let file = fs::read_to_string(folder.path().join("limit.json")).unwrap_or_else(|error| panic!("{error}: {text}"));
    let limit: Value = serde_json::from_str(&file).unwrap();
    let mut tried: Vec<u64> =
        limit["loads"].as_array().unwrap().iter().map(|run| run["load"].as_u64().unwrap()).collect();
    // A load that did not hold is tried again.
    tried.dedup();
    assert_eq!(tried[..3], [2, 8, 32], "{file}");
    // With a precision of 1, the limit need be known only to a factor of two.
    assert!(tried.len() <= 5, "{tried:?}");
}
