//! What the tests of the page stand on: the real server, Chromium, and a network that can be cut.
//!
//! Every wait is for a condition, has a deadline and says what it waited for.

pub(crate) mod browser;
pub(crate) mod driver;
pub(crate) mod keys;
pub(crate) mod proxy;
pub(crate) mod server;
pub(crate) mod tools;

use std::time::Duration;

use test_kit::Program;

pub(crate) use self::browser::Browser;
pub(crate) use self::driver::Driver;
pub(crate) use self::proxy::Proxy;
pub(crate) use self::server::TestServer;

/// How long a test waits for anything: far longer than it takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// How often a condition is looked at that nobody announces.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// The program of the swarm, which cargo puts beside the server's when it builds the tests of the workspace.
pub(crate) fn bot_swarm() -> Program {
    Program::beside(env!("CARGO_BIN_EXE_starling"), "bot-swarm")
}
