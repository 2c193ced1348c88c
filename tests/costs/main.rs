//! Budgets that do not depend on the machine: what a message, a connection and a heartbeat cost the server, in
//! instructions of user space and in system calls, and the memory of an idle connection. Each test compares one script
//! with a recorded figure.
//!
//! The server is the real program, built with the profile `quick`, as the README's first command builds it. A script
//! does one thing at a time and waits for its effect, so the server does the same work every time. It runs twice, once
//! longer; the difference leaves out the start and the end.
//!
//! If something has become cheaper, lower its figure here to the printed one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends with what is wrong"
)]

mod counted;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use test_kit::Program;
use test_kit::blocking::Blocking;
use test_kit::raw::{PONG, TEXT};

use self::counted::{Counted, Counts};

/// The tolerance above the recorded figure, for another libc or compiler.
const TOLERANCE: f64 = 0.10;

const WARM_UP: usize = 100;
const TIMES: usize = 500;

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

/// What one of many costs.
struct Recorded {
    instructions: u32,
    system_calls: f64,
}

/// Counts what each of [`TIMES`] costs, and compares it with what was recorded. `run` does it at least this often on a
/// new server, and returns how often.
fn costs_at_most(what: &str, recorded: &Recorded, run: impl Fn(&Path, usize) -> (usize, Counts)) {
    let server = server();
    keep_to_one_core();
    let ((more, longer), (few, shorter)) = (run(&server, WARM_UP + TIMES), run(&server, WARM_UP));
    let counts = longer - shorter;
    #[expect(clippy::cast_precision_loss, reason = "far below what a double holds")]
    let each = |count: u64| count as f64 / (more - few) as f64;
    let (instructions, calls) = (each(counts.instructions), each(counts.system_calls));
    let Recorded { instructions: most, system_calls: most_calls } = recorded;
    println!("{what}: {instructions:.0} instructions, {most} recorded; {calls:.1} system calls, {most_calls} recorded");
    let limit = 1.0 + TOLERANCE;
    assert!(
        instructions <= f64::from(*most) * limit,
        "{what} costs {instructions:.0} instructions, {most} were recorded"
    );
    assert!(calls <= most_calls * limit, "{what} costs {calls:.1} system calls, {most_calls} were recorded");
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

/// Sends this many messages, one at a time, in a room with so many members.
fn say(server: &Path, members: usize, to: To, messages: usize) -> (usize, Counts) {
    let server = Counted::start(server, &[]);
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
    (messages, server.stop())
}

#[test]
fn a_message_to_a_room_of_4_costs_no_more_than_recorded() {
    let recorded = Recorded { instructions: 22_500, system_calls: 6.0 };
    costs_at_most("a message to a room of 4", &recorded, |server, times| say(server, 4, To::Room, times));
}

#[test]
fn a_message_to_a_room_of_100_costs_no_more_than_recorded() {
    let recorded = Recorded { instructions: 56_500, system_calls: 102.0 };
    costs_at_most("a message to a room of 100", &recorded, |server, times| say(server, 100, To::Room, times));
}

#[test]
fn a_private_message_costs_no_more_than_recorded() {
    let recorded = Recorded { instructions: 23_400, system_calls: 4.0 };
    costs_at_most("a private message", &recorded, |server, times| say(server, 4, To::Next, times));
}

#[test]
fn a_connection_costs_no_more_than_recorded() {
    let recorded = Recorded { instructions: 92_000, system_calls: 13.1 };
    costs_at_most("a connection, from its handshake to its end", &recorded, |server, times| {
        let server = Counted::start(server, &[]);
        for number in 0..times {
            drop(connect(server.address(), &format!("c{number}")));
        }
        (times, server.stop())
    });
}

#[test]
fn a_heartbeat_costs_no_more_than_recorded() {
    const CLIENTS: usize = 100;
    let recorded = Recorded { instructions: 4_450, system_calls: 2.1 };
    costs_at_most("a heartbeat of an idle connection", &recorded, |server, times| {
        let server = Counted::start(server, &[("CHAT_HEARTBEAT_SECONDS", "1")]);
        let mut clients: Vec<_> = (0..CLIENTS).map(|n| connect(server.address(), &format!("c{n}"))).collect();
        let calls_of_connecting = server.system_calls();
        for _ in 0..times / CLIENTS {
            let pings: Vec<_> = clients.iter_mut().map(|client| client.receive_ping().unwrap()).collect();
            server.while_suspended(|| {
                for (client, ping) in clients.iter_mut().zip(&pings) {
                    client.send(PONG, ping).unwrap();
                }
            });
        }
        // Connecting and closing a hundred times takes more or fewer calls, as events come together.
        let system_calls = server.system_calls() - calls_of_connecting;
        // On a busy machine more pings come than are answered.
        let unanswered: usize = clients.into_iter().map(|client| client.close().unwrap()).sum();
        (times + unanswered, Counts { system_calls, ..server.stop() })
    });
}

#[test]
fn an_idle_connection_takes_no_more_memory_than_recorded() {
    const RECORDED: f64 = 1_500.0;
    let open_files = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: open_files, maximum: open_files }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "1"), ("CHAT_HISTORY", "memory")];
    let server = Program::new(server()).start(folder.path(), &variables);
    let mut clients = Vec::new();
    let mut grow = |to: usize| {
        for number in clients.len()..to {
            clients.push(connect(server.address(), &format!("c{number}")));
        }
        server.memory_mib().0 * 1_048_576.0
    };
    // The first thousand take what they share. The allocator takes memory in large steps: the more, the steadier.
    let (before, after) = (grow(1_000), grow(9_000));
    let each = (after - before) / 8_000.0;
    println!("an idle connection: {each:.0} bytes, {RECORDED} recorded");
    assert!(each <= RECORDED * (1.0 + TOLERANCE), "an idle connection takes {each:.0} bytes, {RECORDED} were recorded");
    server.stop();
}
