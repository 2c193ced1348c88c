//! The real binary, as an operator starts it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, LOOK, within};

/// The binary with these arguments and variables and no other of the chat's, in this folder.
pub(crate) fn command(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHAT_") {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let child = command(folder, arguments, variables).spawn().unwrap();
    let (tell, told) = mpsc::channel();
    let pid = Pid::from_child(&child);
    thread::spawn(move || tell.send(child.wait_with_output().unwrap()));
    told.recv_timeout(DEADLINE).unwrap_or_else(|_| {
        kill_process(pid, Signal::KILL).unwrap();
        panic!("{arguments:?} does not end");
    })
}

/// A running binary; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    address: SocketAddr,
}

impl Process {
    /// Starts a server and waits until it says where it listens.
    pub(crate) fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = command(folder, &[], variables).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut process = Self { child, lines, address: ([0, 0, 0, 0], 0).into() };
        let line = process.line_with("listening on ");
        let address = line.split("listening on ").nth(1).and_then(|rest| rest.split(": ").next()).unwrap();
        process.address = address.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        process
    }

    /// Takes over a server that was started, and waits until it can be connected to here.
    pub(crate) async fn adopt(mut child: Child, address: SocketAddr) -> Self {
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let mut process = Self { child, lines, address };
        process.listens().await;
        process
    }

    /// Starts a server whose standard error is this, and waits until it can be connected to here.
    pub(crate) async fn start_mute(
        address: SocketAddr,
        folder: &Path,
        variables: &[(&str, &str)],
        stderr: impl Into<Stdio>,
    ) -> Self {
        let child = command(folder, &[], variables).stderr(stderr).spawn().unwrap();
        let mut process = Self { child, lines: mpsc::channel().1, address };
        process.listens().await;
        process
    }

    /// Starts a server that listens here and may say nothing about it, and waits until it can be connected to.
    pub(crate) async fn start_at(address: SocketAddr, folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::adopt(command(folder, &[], variables).spawn().unwrap(), address).await
    }

    /// Waits until it can be connected to.
    async fn listens(&mut self) {
        let address = self.address;
        let listening = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "{ended:?}: {:?}", self.lines.try_iter().collect::<Vec<_>>());
                tokio::time::sleep(LOOK).await;
            }
        };
        within(format!("{address} is listened on"), listening).await;
    }

    /// The address that it said.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next line of its log that contains this.
    pub(crate) fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The lines of its log that nobody has looked at, up to its end. Call it when the process has ended.
    pub(crate) fn further_lines(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(DEADLINE).ok()).collect()
    }

    /// The memory that it has in use, and the most since [`forget_peak`](Self::forget_peak), in MiB.
    pub(crate) fn memory_mib(&self) -> (f64, f64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
        };
        (mib("VmRSS:"), mib("VmHWM:"))
    }

    /// Lets the most of its memory begin anew.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end and returns the exit code.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        within("the process ends", ended).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
