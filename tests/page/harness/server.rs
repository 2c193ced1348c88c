//! The real binary, which can be killed and started again at the same address.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::DEADLINE;

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    child: Child,
    address: SocketAddr,
    variables: Vec<(String, String)>,
}

impl TestServer {
    /// Starts a server at a free port, with these variables.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let (child, address) = spawn(([127, 0, 0, 1], 0).into(), &variables);
        Self { child, address, variables }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the page is.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again at the same address.
    pub(crate) fn start_again(&mut self) {
        (self.child, self.address) = spawn(self.address, &self.variables);
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Either may have happened already.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}

fn spawn(bind: SocketAddr, variables: &[(String, String)]) -> (Child, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHAT_") {
            command.env_remove(name);
        }
    }
    command.env("CHAT_BIND", bind.to_string()).env("CHAT_HISTORY", "memory").env("CHAT_WORKERS", "1");
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (tell, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            // The test may be over; the log is read to its end all the same, so that the server never waits for it.
            tell.send(line).ok();
        }
    });
    (child, address_in(&lines))
}

/// The address that the log says.
fn address_in(lines: &mpsc::Receiver<String>) -> SocketAddr {
    loop {
        let line = lines.recv_timeout(DEADLINE).expect("the server does not say where it listens");
        if let Some(rest) = line.split("listening on ").nth(1) {
            return rest.split(": ").next().unwrap().parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }
}
