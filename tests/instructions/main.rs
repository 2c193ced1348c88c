//! How many instructions a message costs the server in user space, counted by callgrind: a figure that does not depend
//! on how busy the machine is. Each test compares one script of messages with what was recorded.
//!
//! The server is the real program, built with the profile `quick`, as the README's first command builds it. A script sends one message at a time and waits until everybody has it, so the server does the same work every
//! time. It runs twice, once longer; the difference leaves out start, connecting and end.
//!
//! A message that has become cheaper: lower its figure here to what the test prints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends with what is wrong"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How much more than recorded is still the same: another libc, another compiler.
const TOLERANCE: f64 = 0.10;

const WARM_UP: usize = 100;
const MESSAGES: usize = 500;

/// The profile whose build is counted, where it is not `quick`: for comparing profiles.
const PROFILE: &str = "STARLING_PROFILE";

/// Builds the server, if no test before this one has, and returns the program.
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

/// Leaves this thread, and the processes that it starts, one core: with as many as there are, the server would have a
/// thread more, and wake it at other moments every time.
fn keep_to_one_core() {
    let allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).expect("it runs on a core");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).unwrap();
}

/// A server under callgrind, and its port.
struct Counted {
    process: Child,
    port: u16,
}

impl Counted {
    fn start(server: &Path, counts: &Path) -> Self {
        let mut process = Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", counts.display()))
            .arg(server)
            .env_clear()
            .envs([("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "1"), ("CHAT_HISTORY", "memory")])
            .env("CHAT_MESSAGES_PER_SECOND", "0")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(counts.parent().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .expect("valgrind is installed: scripts/install-test-tools");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let listening = log.by_ref().map(Result::unwrap).find(|line| line.contains("listening on"));
        let listening = listening.expect("the server starts");
        let port = listening.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
        let port = port.parse().unwrap();
        // Nobody else reads what it writes from now on.
        std::thread::spawn(move || log.for_each(drop));
        Self { process, port }
    }

    /// Ends the server and gives its count.
    fn stop(mut self, counts: &Path) -> u64 {
        let stopped = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(stopped.unwrap().success());
        assert!(self.process.wait().unwrap().success(), "the server ends in order");
        let counts = std::fs::read_to_string(counts).expect("callgrind has written its counts");
        let totals = counts.lines().find_map(|line| line.strip_prefix("totals: "));
        totals.and_then(|total| total.trim().parse().ok()).expect("callgrind tells the sum")
    }
}

/// One client: a WebSocket as simple as it gets.
struct Client(TcpStream);

impl Client {
    fn connect(port: u16, name: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let handshake = format!(
            "GET /ws/script?clientId={name} HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(handshake.as_bytes()).unwrap();
        let mut client = Self(socket);
        client.read_until(r#""type":"welcome""#);
        client
    }

    fn send(&mut self, text: &str) {
        let length = u16::try_from(text.len()).unwrap();
        assert!(length > 125, "the two bytes of the length are written always");
        let mut frame = vec![0x81, 0x80 | 0x7e];
        frame.extend(length.to_be_bytes());
        // A mask of zeros leaves the text as it is.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    fn read_until(&mut self, mark: &str) {
        let (mut read, mut buffer) = (Vec::<u8>::new(), [0; 4_096]);
        while !read.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            let count = self.0.read(&mut buffer).expect("it comes in time");
            assert!(count > 0, "the connection stays");
            read.extend(&buffer[..count]);
        }
    }
}

/// Who gets a message of the script.
#[derive(Clone, Copy)]
enum To {
    Room,
    Next,
}

/// Runs the script with so many messages and gives the server's instructions.
fn run(server: &Path, members: usize, to: To, messages: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let counts = folder.path().join("counts");
    let counted = Counted::start(server, &counts);
    let mut clients: Vec<Client> = (0..members).map(|n| Client::connect(counted.port, &format!("c{n}"))).collect();
    for number in 0..messages {
        let (sender, next) = (number % members, (number + 1) % members);
        let mark = format!("mark{number:06}.");
        let text = format!("{mark}{}", "x".repeat(117));
        match to {
            To::Room => {
                clients[sender].send(&format!(r#"{{"clientId":"c{sender}","Message":"{text}"}}"#));
                for client in &mut clients {
                    client.read_until(&mark);
                }
            }
            To::Next => {
                clients[sender].send(&format!(r#"{{"to":"c{next}","Message":"{text}"}}"#));
                clients[sender].read_until(&mark);
                clients[next].read_until(&mark);
            }
        }
    }
    drop(clients);
    counted.stop(&counts)
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
    costs_at_most(21_700, 4, To::Room);
}

#[test]
fn a_message_to_a_room_of_100_costs_no_more_instructions_than_recorded() {
    costs_at_most(55_200, 100, To::Room);
}

#[test]
fn a_private_message_costs_no_more_instructions_than_recorded() {
    costs_at_most(23_300, 4, To::Next);
}
