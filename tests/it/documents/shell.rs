//! Runs the commands of a page as written, in a clean folder.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use test_kit::LOOK;

use crate::harness::{bot_swarm, starling};
use crate::tidy;

/// The deadline of a command. `cargo run` may build first.
const DEADLINE: Duration = Duration::from_mins(10);

/// The address of the chat in every document.
pub(crate) const CHAT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// A clean folder with the project's programs where its builds put them, and with `cargo` for the project.
pub(crate) struct Shell {
    folder: TempDir,
    path: String,
    /// The line that a reader types once in each terminal.
    export: String,
    /// Servers that keep running.
    running: Vec<Child>,
}

impl Shell {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("a clean földer ").tempdir().unwrap();
        let toolchain = folder.path().join(".toolchain");
        fs::create_dir(&toolchain).unwrap();
        // The folder has no Cargo.toml; with one, cargo would build everything again for it.
        let cargo = toolchain.join("cargo");
        let manifest = tidy::root().join("Cargo.toml");
        let script = format!(
            "#!/bin/sh\ncommand=$1; shift\nexec {:?} \"$command\" --manifest-path {:?} \"$@\"\n",
            env!("CARGO"),
            manifest
        );
        fs::write(&cargo, script).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let programs = folder.path().join("target/quick");
        fs::create_dir_all(&programs).unwrap();
        for program in [starling(), bot_swarm()] {
            symlink(program.path(), programs.join(program.path().file_name().unwrap())).unwrap();
        }
        for linked in ["scripts", ".env.example"] {
            symlink(tidy::root().join(linked), folder.path().join(linked)).unwrap();
        }
        let tools = tidy::root().join("target/test-tools/bin");
        let inherited = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{inherited}", toolchain.display(), tools.display());
        Self { folder, path, export: export_of_the_readme(), running: Vec::new() }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -euo pipefail\n{}\n{script}", self.export)]);
        command.current_dir(self.folder.path()).env("PATH", &self.path).env("RUST_BACKTRACE", "0");
        let inherited = std::env::vars().map(|(name, _)| name);
        for name in
            inherited.filter(|name| ["CHAT_", "BOT_", "CARGO_PKG", "RUST_LOG"].iter().any(|p| name.starts_with(p)))
        {
            command.env_remove(name);
        }
        // A separate process group, so that all of its processes can be stopped.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a script to its end. Returns the exit code and both outputs, one after the other.
    pub(crate) fn run(&self, script: &str) -> (Option<i32>, String) {
        let child = self.command(script).spawn().unwrap();
        let group = Pid::from_child(&child);
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
        let output = told.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            kill_process_group(group, Signal::KILL).unwrap_or_default();
            panic!("does not end within {} s: {script}", DEADLINE.as_secs())
        });
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts a server that runs until the page is done, and waits until it accepts connections.
    pub(crate) fn start_server(&mut self, script: &str) {
        self.stop_servers();
        let mut child = self.command(script).stdout(Stdio::null()).spawn().unwrap();
        let lines = lines_of(child.stderr.take().unwrap());
        let mut said = Vec::new();
        let asked = tokio::time::Instant::now();
        while std::net::TcpStream::connect(CHAT).is_err() {
            said.extend(lines.try_iter());
            assert!(child.try_wait().unwrap().is_none(), "it ends: {script}{said:#?}");
            assert!(asked.elapsed() < DEADLINE, "nobody listens on {CHAT}: {script}{said:#?}");
            thread::sleep(LOOK);
        }
        self.running.push(child);
    }

    /// Stops all started servers, and checks that they end with success.
    pub(crate) fn stop_servers(&mut self) {
        for mut child in self.running.drain(..) {
            kill_process_group(Pid::from_child(&child), Signal::TERM).unwrap();
            // `cargo run` passes on the exit code of its program, or is ended by the signal itself.
            let status = child.wait().unwrap();
            assert!(status.success() || status.code().is_none(), "{status}");
            while std::net::TcpStream::connect(CHAT).is_ok() {
                thread::sleep(LOOK);
            }
        }
    }

    /// Runs a session as a page shows it: a command after `$ `, and below it the input and the output of the program,
    /// in this order.
    ///
    /// Lines that begin with `[`, `*`, `!` or a blank are output; all lines of a program that reads no input are output
    /// too. `…` stands for any text; alone on a line, for any lines.
    pub(crate) fn hold(&self, session: &str) {
        let mut exported = String::new();
        for part in session.split_terminator("$ ").skip(1) {
            let (command, shown) = part.split_once('\n').unwrap_or((part, ""));
            let shown: Vec<&str> = shown.lines().collect();
            if command.starts_with("export ") {
                exported.push_str(command);
                exported.push('\n');
            } else if command.starts_with("websocat") {
                self.converse(&format!("{exported}{command}"), &shown);
            } else {
                let (code, output) = self.run(&format!("{exported}{command}"));
                assert_eq!(code, Some(0), "{command}\n{output}");
                let lines: Vec<&str> = output.lines().collect();
                assert!(lines_match(&shown, &lines), "{command}\nshown:   {shown:#?}\nwritten: {lines:#?}");
            }
        }
    }

    fn converse(&self, command: &str, shown: &[&str]) {
        let mut child = self.command(command).stdin(Stdio::piped()).spawn().unwrap();
        let mut typed = child.stdin.take().unwrap();
        let written = lines_of(child.stdout.take().unwrap());
        for line in shown {
            if !line.starts_with(['[', '*', '!', ' ', '{']) {
                writeln!(typed, "{line}").unwrap();
                continue;
            }
            let next = written.recv_timeout(Duration::from_secs(15));
            let next = match next {
                Ok(next) => next,
                Err(RecvTimeoutError::Timeout) => panic!("{command}: {line:?} does not come"),
                Err(RecvTimeoutError::Disconnected) => {
                    let mut errors = String::new();
                    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
                    panic!("{command}: ends before {line:?}: {errors}")
                }
            };
            assert!(line_matches(line, &next), "{command}\nshown:   {line}\nwritten: {next}");
        }
        drop(typed);
        kill_process_group(Pid::from_child(&child), Signal::TERM).unwrap_or_default();
        child.wait().unwrap();
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for child in &mut self.running {
            kill_process_group(Pid::from_child(child), Signal::KILL).unwrap_or_default();
            child.wait().map(drop).unwrap_or_default();
        }
    }
}

/// The README's line that puts the programs on the path: the shell finds them only through it.
fn export_of_the_readme() -> String {
    let readme = fs::read_to_string(tidy::root().join("README.md")).unwrap();
    let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with("export PATH=")).collect();
    let [line] = lines[..] else { panic!("the README has {} lines that set PATH", lines.len()) };
    line.to_owned()
}

fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = mpsc::channel();
    thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    lines
}

/// Whether a line matches the document.
fn line_matches(shown: &str, written: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = written.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether lines match the document.
fn lines_match(shown: &[&str], written: &[&str]) -> bool {
    match (shown.split_first(), written.split_first()) {
        (None, None) => true,
        (Some((&"…", shown)), _) => (0..=written.len()).any(|skipped| lines_match(shown, &written[skipped..])),
        (Some((line, shown)), Some((other, written))) => line_matches(line, other) && lines_match(shown, written),
        _ => false,
    }
}

#[test]
fn an_ellipsis_stands_for_any_text_and_alone_for_any_lines() {
    assert!(line_matches("a … c", "a b c") && line_matches("…", "") && line_matches("a", "a"));
    assert!(!line_matches("a … c", "a b d") && !line_matches("a", "ab") && !line_matches("a…bb", "ab"));
    assert!(lines_match(&["a", "…"], &["a", "b", "c"]) && lines_match(&["…", "c"], &["a", "b", "c"]));
    assert!(!lines_match(&["a"], &["a", "b"]) && !lines_match(&["…", "d"], &["a", "b", "c"]));
    assert!(lines_match(&[], &[]) && !lines_match(&[], &["a"]));
}
