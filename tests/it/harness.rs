//! The server under test: in this process, or as the binary.

mod server;

use test_kit::Program;

pub(crate) use self::server::TestServer;

/// The binary.
pub(crate) fn starling() -> Program {
    Program::new(env!("CARGO_BIN_EXE_starling"))
}

/// The program of the swarm, which cargo puts beside the server's when it builds the tests of the workspace.
pub(crate) fn bot_swarm() -> Program {
    Program::beside(env!("CARGO_BIN_EXE_starling"), "bot-swarm")
}
