//! The server's program, which can be killed and started again at the same address.

use std::net::SocketAddr;

use tempfile::TempDir;
use test_kit::{Listens, Process, Program};

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct TestServer {
    program: Program,
    folder: TempDir,
    address: SocketAddr,
    process: Option<Process>,
}

impl TestServer {
    /// Starts a server on a free port, with these variables.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let own = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_HISTORY", "memory"), ("CHAT_WORKERS", "1")];
        let program = Program::new(env!("CARGO_BIN_EXE_starling")).with(&own).with(variables);
        let folder = tempfile::tempdir().unwrap();
        let process = program.start(folder.path(), &[]);
        Self { program, folder, address: process.address(), process: Some(process) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the page.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Waits until it accepts clients.
    pub(crate) async fn is_ready(&self) {
        self.process.as_ref().unwrap().status_becomes("/readyz", 200).await;
    }

    /// Kills the server, like a crash.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Requests the server to stop, and waits for its end.
    pub(crate) fn stop(&mut self) {
        self.process.take().unwrap().terminate();
    }

    /// Starts it again at the same address.
    pub(crate) fn start_again(&mut self) {
        let bind = self.address.to_string();
        self.process = Some(self.program.start(self.folder.path(), &[("CHAT_BIND", &bind)]));
    }
}

impl Listens for TestServer {
    fn address(&self) -> SocketAddr {
        self.address
    }
}
