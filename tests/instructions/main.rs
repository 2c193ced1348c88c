//! The number of instructions that a message costs the server in user space, counted by callgrind. It does not depend
//! on the load of the machine. Each test compares one script of messages with a recorded figure.
//!
//! The server is the real program, built with the profile `quick`, as the README's first command builds it. A script
//! sends one message at a time and waits until all clients have it, so the server does the same work every time. It
//! runs twice, once longer; the difference leaves out start, connecting and end.
//!
//! If a message has become cheaper, lower its figure here to the printed one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends with what is wrong"
)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use test_kit::blocking::Blocking;
use test_kit::raw::TEXT;
use test_kit::{Process, Program};

/// The tolerance above the recorded figure, for another libc or compiler.
const TOLERANCE: f64 = 0.10;

const WARM_UP: usize = 100;
const MESSAGES: usize = 500;

/// The build profile to count instead of `quick`, to compare profiles.
const PROFILE: &str = "STARLING_PROFILE";

/// Builds the server unless an earlier test has, and returns the program.
fn server() -> PathBuf {
    let profile = std::env::var(PROFILE).unwrap_or_else(|_| "quick".to_owned());
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--profile", &profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo runs").success(), "the server can be built");
    let target = Path::new(env!("CARGO_BIN_EXE_starling")).ancestors().nth(2).unwrap();
    target.join(profile).join("starling")
}

/// Restricts this thread, and the processes that it starts, to one core. With more cores, the server would have one
/// more thread, which it would wake at other moments in each run.
fn keep_to_one_core() {
    let allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).expect("it runs on a core");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
}

/// Starts the server under callgrind.
fn start(server: &Path, counts: &Path) -> Process {
    let out = format!("--callgrind-out-file={}", counts.display());
    let variables = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_WORKERS", "1"),
        ("CHAT_HISTORY", "memory"),
        ("CHAT_MESSAGES_PER_SECOND", "0"),
    ];
    Program::new(server).under(&["valgrind", "--tool=callgrind", &out]).start(counts.parent().unwrap(), &variables)
}

/// The function with which the server reads its own metrics once a second. On a busy machine it runs more often per
/// message, so it is not counted.
const BY_TIME: &str = "starling::diagnosis::Diagnosis::watch::{{closure}}";

/// Ends the server and returns its count.
fn stop(server: Process, counts: &Path) -> u64 {
    server.stop();
    let counts = std::fs::read_to_string(counts).expect("callgrind has written its counts");
    let totals = counts.lines().find_map(|line| line.strip_prefix("totals: "));
    let total: u64 = totals.and_then(|total| total.trim().parse().ok()).expect("callgrind tells the sum");
    total - with_all_that_it_calls(BY_TIME, &counts)
}

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

/// Connects a client.
fn connect(server: SocketAddr, name: &str) -> Blocking {
    let path = format!("/ws/script?clientId={name}");
    let mut client = Blocking::connect(server, None, &path, Duration::from_mins(1)).unwrap();
    client.receive_until(r#""type":"welcome""#).unwrap();
    client
}

fn send(client: &mut Blocking, text: &str) {
    assert!(text.len() > 125, "the header is of the same length in every script");
    client.send(TEXT, text.as_bytes()).unwrap();
}

/// The receivers of a message of the script.
#[derive(Clone, Copy)]
enum To {
    Room,
    Next,
}

/// Runs the script with this many messages and returns the server's instructions.
fn run(server: &Path, members: usize, to: To, messages: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let counts = folder.path().join("counts");
    let server = start(server, &counts);
    let mut clients: Vec<_> = (0..members).map(|n| connect(server.address(), &format!("c{n}"))).collect();
    for number in 0..messages {
        let (sender, next) = (number % members, (number + 1) % members);
        let mark = format!("mark{number:06}.");
        let text = format!("{mark}{}", "x".repeat(117));
        match to {
            To::Room => {
                send(&mut clients[sender], &format!(r#"{{"clientId":"c{sender}","Message":"{text}"}}"#));
                for client in &mut clients {
                    client.receive_until(&mark).unwrap();
                }
            }
            To::Next => {
                send(&mut clients[sender], &format!(r#"{{"to":"c{next}","Message":"{text}"}}"#));
                clients[sender].receive_until(&mark).unwrap();
                clients[next].receive_until(&mark).unwrap();
            }
        }
    }
    drop(clients);
    stop(server, &counts)
}

fn costs_at_most(recorded: u32, members: usize, to: To) {
    let server = server();
    keep_to_one_core();
    let count = run(&server, members, to, WARM_UP + MESSAGES) - run(&server, members, to, WARM_UP);
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds")]
    let each = count as f64 / MESSAGES as f64;
    println!("{each:.0} instructions a message, {recorded} recorded");
    let most = f64::from(recorded) * (1.0 + TOLERANCE);
    assert!(each <= most, "a message costs {each:.0} instructions, {recorded} were recorded");
}

#[test]
fn a_message_to_a_room_of_4_costs_no_more_instructions_than_recorded() {
    costs_at_most(22_500, 4, To::Room);
}

#[test]
fn a_message_to_a_room_of_100_costs_no_more_instructions_than_recorded() {
    costs_at_most(56_500, 100, To::Room);
}

#[test]
fn a_private_message_costs_no_more_instructions_than_recorded() {
    costs_at_most(23_400, 4, To::Next);
}
