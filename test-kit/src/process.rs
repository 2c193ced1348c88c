//! Starts the programs of this project as an operator does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::{DEADLINE, LOOK, Listens, blocking, within};

/// A program with default environment variables.
#[derive(Debug, Clone)]
pub struct Program {
    /// The path of the program, after an optional tool and the tool's arguments.
    words: Vec<OsString>,
    defaults: Vec<(String, String)>,
}

impl Program {
    /// The program at this path. Panics if the file does not exist.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        assert!(path.exists(), "{} does not exist: run cargo build -p starling -p bot-swarm", path.display());
        Self { words: vec![path.into()], defaults: Vec::new() }
    }

    /// A program of another package, which cargo builds into the same folder.
    pub fn beside(path: impl AsRef<Path>, name: &str) -> Self {
        Self::new(path.as_ref().with_file_name(name))
    }

    /// The path of the program.
    pub fn path(&self) -> &Path {
        Path::new(self.words.last().unwrap())
    }

    /// Adds default variables.
    #[must_use]
    pub fn with(mut self, variables: &[(&str, &str)]) -> Self {
        self.defaults.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Runs the program under a tool: puts the tool and its arguments before the path.
    #[must_use]
    pub fn under(mut self, tool: &[impl AsRef<str>]) -> Self {
        self.words.splice(0..0, tool.iter().map(|word| word.as_ref().into()));
        self
    }

    /// A command that runs the program in this folder. It inherits only `PATH` from the test's environment.
    pub fn command(&self, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(arguments).current_dir(folder).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.defaults.iter().map(|(name, value)| (name, value))).envs(variables.iter().copied());
        command
    }

    /// Runs the program and waits for its end, at most [`DEADLINE`].
    pub fn run(&self, folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(folder, arguments, variables);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let pid = Pid::from_child(&child);
        thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
        told.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            kill_process(pid, Signal::KILL).unwrap();
            panic!("{arguments:?} does not end in time");
        })
    }

    /// Starts the program in this folder, and waits until it logs its listening address.
    pub fn start(&self, folder: &Path, variables: &[(&str, &str)]) -> Process {
        Process::spawn(self.command(folder, &[], variables)).listening()
    }
}

/// Sends a signal to a child process. After SIGSTOP it waits until all threads have stopped.
pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
    while signal == Signal::STOP && !has_stopped(child.id()) {
        std::thread::sleep(LOOK);
    }
}

/// Whether every thread of a process has stopped, or has ended.
fn has_stopped(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
    })
}

/// Waits until a child process ends, and returns its output.
pub async fn output_of(child: Child) -> Output {
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    within("the end of the process", ended).await.unwrap()
}

/// A running program. It is killed on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    /// The lines before the one with the listening address, which no caller has read yet.
    first_lines: RefCell<VecDeque<String>>,
    address: Option<SocketAddr>,
}

impl Process {
    /// Starts a command. Its standard error is read as its log, and its standard output is discarded.
    pub fn spawn(mut command: Command) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        Self::of(child.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().to_string_lossy())))
    }

    /// Takes over a child process, and reads its standard error if that is a pipe.
    pub fn of(mut child: Child) -> Self {
        let (tell, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            let stderr = BufReader::new(stderr);
            thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        }
        Self { child, lines, first_lines: RefCell::default(), address: None }
    }

    /// Waits until it logs its listening address. Earlier lines remain readable.
    #[must_use]
    pub fn listening(mut self) -> Self {
        let mut first_lines = VecDeque::new();
        let line = loop {
            let line = self.next_line().unwrap_or_else(|| panic!("the process does not listen: {first_lines:#?}"));
            if line.contains("listening on ") {
                break line;
            }
            first_lines.push_back(line);
        };
        self.first_lines = first_lines.into();
        let address = line.split("listening on ").nth(1).and_then(|rest| rest.split(": ").next()).unwrap();
        self.address = Some(address.parse().unwrap_or_else(|error| panic!("{error}: {line}")));
        self
    }

    /// The next line of the log. `None` if the process has ended, or no line arrives in time.
    fn next_line(&self) -> Option<String> {
        let first = self.first_lines.borrow_mut().pop_front();
        first.or_else(|| self.lines.recv_timeout(DEADLINE).ok())
    }

    /// Waits until it accepts connections at this address, without reading its log.
    pub async fn reached(mut self, address: SocketAddr) -> Self {
        within(format!("a connection to {address}"), async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "{ended:?}: {:?}", self.lines.try_iter().collect::<Vec<_>>());
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        self.address = Some(address);
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The listening address. Panics before it is known.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a process that listens")
    }

    /// Reads the log until a line contains `part`, and returns that line.
    pub fn line_with(&self, part: &str) -> String {
        let mut said = String::new();
        loop {
            let line = self.next_line().unwrap_or_else(|| panic!("no line with {part:?}: {said}"));
            if line.contains(part) {
                return line;
            }
            said.push_str(&line);
            said.push('\n');
        }
    }

    /// The remaining lines of the log up to its end. To be called after the process has ended; otherwise it waits for
    /// the deadline.
    pub fn further_lines(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next_line()).collect()
    }

    /// The lines of the log that have arrived and were not read yet.
    pub fn lines_so_far(&self) -> Vec<String> {
        self.first_lines.borrow_mut().drain(..).chain(self.lines.try_iter()).collect()
    }

    /// The current resident memory, and its peak since the start or [`forget_peak`](Self::forget_peak), in MiB.
    pub fn memory_mib(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
        };
        (mib("VmRSS:"), mib("VmHWM:"))
    }

    /// Resets the peak of the resident memory.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self::signal(&self.child, signal);
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end and returns the exit code. `None` if a signal has ended the process.
    pub async fn exit_code(&mut self) -> Option<i32> {
        within("the end of the process", async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }

    /// Kills the process with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, waits for the end, and returns the exit code.
    pub fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }

    /// Sends SIGTERM and waits for the end. Panics if the exit code is not 0.
    pub fn stop(self) {
        assert_eq!(self.terminate(), Some(0), "exit code after SIGTERM");
    }

    /// Sends a GET, without an async runtime. Returns status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        blocking::get(self.address(), None, path).unwrap()
    }

    /// Repeats a GET until the answer has this status, and returns the body.
    pub async fn status_becomes(&self, path: &str, status: u16) -> String {
        within(format!("{path} answers {status}"), async {
            loop {
                let (got, body) = self.get(path);
                if got == status {
                    return body;
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await
    }
}

impl Listens for Process {
    fn address(&self) -> SocketAddr {
        self.address()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
