//! The output while the program runs: on a terminal, and in a log.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use test_kit::free_port;
use test_kit::process::{Signal, output_of, signal};

use crate::process::{program, stdout};
use crate::server::TestServer;
use crate::wait_until;

const ROWS: NonZeroU16 = NonZeroU16::new(24).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// A terminal with its screen.
struct Terminal {
    screen: Arc<Mutex<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a program whose standard error is a terminal.
    fn start(mut command: Command) -> (Self, Child) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let terminal = openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize { ws_row: ROWS.get(), ws_col: COLUMNS.get(), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let child = command.stderr(ioctl_tiocgptpeer(&terminal, flags).unwrap()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(ROWS, COLUMNS, 0)));
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let (mut terminal, mut bytes) = (File::from(terminal), [0; 4_096]);
            // Reading fails once the other end is closed everywhere.
            while let Ok(count) = terminal.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..count]);
            }
        });
        (Self { screen, reader: Some(reader) }, child)
    }

    /// The text on the screen.
    fn text(&self) -> String {
        let parser = self.screen.lock().unwrap();
        let lines: Vec<String> = parser.screen().rows(0, COLUMNS.get()).collect();
        lines.join("\n")
    }

    /// Waits until the other end is closed everywhere.
    fn ended(&mut self) {
        self.reader.take().map(JoinHandle::join).unwrap().unwrap();
    }
}

/// A swarm that sends a lot until it is stopped, with its result in a pipe.
fn swarm(server: &TestServer) -> Command {
    let mut command = program();
    command
        .args(["--server-url", &server.url(), "--count", "5", "--messages-per-second", "20"])
        .args(["--drain-seconds", "1s", "--lateness-max-seconds", "60"])
        .env("TERM", "xterm")
        .stdout(Stdio::piped());
    command
}

async fn stopped(child: Child) -> Output {
    signal(&child, Signal::TERM);
    output_of(child).await
}

/// The last figure of a row, if there is exactly one table on the screen.
fn whole_run(screen: &str, row: &str) -> Option<u64> {
    let tables = screen.matches("last second").count();
    let row = screen.lines().filter(|_| tables == 1).find(|line| line.starts_with(row))?;
    row.split_whitespace().last()?.replace(',', "").parse().ok()
}

#[actix_rt::test]
async fn a_terminal_shows_one_table_that_is_rewritten_and_the_verdict_goes_to_standard_output() {
    let server = TestServer::start().await;
    let (mut terminal, child) = Terminal::start(swarm(&server));
    let sent = || whole_run(&terminal.text(), "sent ");
    wait_until("the table", || sent().is_some_and(|sent| sent > 0)).await;
    let before = sent();
    wait_until("the table of a later second", || sent() > before).await;
    let screen = terminal.text();
    for row in
        ["bots ", "acknowledged ", "deliveries ", "p50 ", "p99 ", "longest ", "unanswered ", "wrong so far ", "errors "]
    {
        assert_eq!(screen.lines().filter(|line| line.starts_with(row)).count(), 1, "{row}\n{screen}");
    }
    let output = stopped(child).await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("KEPT: clean\n"), "{}", stdout(&output));
    terminal.ended();
    let screen = terminal.text();
    assert!(!screen.contains("last second"), "the table is gone when there is a result\n{screen}");
}

#[actix_rt::test]
async fn without_a_server_the_reason_is_told_at_once_and_in_the_first_line_of_the_result() {
    let unused = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = program();
    command.args(["--server-url", &format!("ws://{unused}/ws"), "--count", "3"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let reason = "× connect: connection refused";
    let advice = "(no server listens at BOT_SERVER_URL)";
    // This line comes before the first regular line, which comes after five seconds.
    let first = lines.next().unwrap();
    assert!(first.ends_with(&format!("{reason} {advice}")) && !first.contains("bots"), "{first}");
    assert!(lines.any(|line| line.contains("0/3 bots") && line.ends_with(reason)), "the regular line does not say why");
    let output = stopped(child).await;
    assert!(stdout(&output).starts_with("BROKEN: bots: no bot was connected ("), "{}", stdout(&output));
    assert!(
        stdout(&output).lines().next().unwrap().ends_with(&format!("{reason}): no server listens at BOT_SERVER_URL"))
    );
    assert_eq!(output.status.code(), Some(1));
}

#[actix_rt::test]
async fn without_a_terminal_there_are_plain_lines() {
    let server = TestServer::start().await;
    let mut child = swarm(&server).stderr(Stdio::piped()).spawn().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (told, read) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&lines));
    let reader = std::thread::spawn(move || told.lines().for_each(|line| read.lock().unwrap().push(line.unwrap())));
    let has_told = || lines.lock().unwrap().iter().any(|line| line.contains("5/5 bots") && line.contains(" sent/s "));
    wait_until("a line", has_told).await;
    let output = stopped(child).await;
    reader.join().unwrap();
    assert!(stdout(&output).starts_with("KEPT: clean\n"), "{}", stdout(&output));
    let lines = lines.lock().unwrap();
    assert!(lines.iter().all(|line| !line.contains('\u{1b}') && !line.contains("last second")), "{lines:?}");
}
