//! The server under test: in this process, or as a program.

mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use test_kit::{Process, Program};

pub(crate) use self::server::TestServer;

/// The server's program.
pub(crate) fn starling() -> Program {
    Program::new(env!("CARGO_BIN_EXE_starling"))
}

/// Starts a server that listens at this address and may log nothing about it, and waits until it accepts connections.
pub(crate) async fn start_at(
    address: SocketAddr,
    folder: &Path,
    variables: &[(&str, &str)],
    stderr: impl Into<Stdio>,
) -> Process {
    let child = starling().command(folder, &[], variables).stderr(stderr).spawn().unwrap();
    Process::of(child).reached(address).await
}

/// The swarm's program, which cargo puts beside the server's when it builds the tests of the workspace.
pub(crate) fn bot_swarm() -> Program {
    Program::beside(env!("CARGO_BIN_EXE_starling"), "bot-swarm")
}
