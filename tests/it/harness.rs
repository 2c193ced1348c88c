//! The server under test: in this process, or as the binary.

mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use test_kit::{Process, Program};

pub(crate) use self::server::TestServer;

/// The binary.
pub(crate) fn starling() -> Program {
    Program::new(env!("CARGO_BIN_EXE_starling"))
}

/// Starts a server that listens here and may say nothing about it, and waits until it can be connected to.
pub(crate) async fn start_at(
    address: SocketAddr,
    folder: &Path,
    variables: &[(&str, &str)],
    stderr: impl Into<Stdio>,
) -> Process {
    let child = starling().command(folder, &[], variables).stderr(stderr).spawn().unwrap();
    Process::of(child).reached(address).await
}

/// The program of the swarm, which cargo puts beside the server's when it builds the tests of the workspace.
pub(crate) fn bot_swarm() -> Program {
    Program::beside(env!("CARGO_BIN_EXE_starling"), "bot-swarm")
}
