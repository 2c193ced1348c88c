//! The harness of the page's tests: the real server, Chromium, and a network that can be cut.
//!
//! Every wait is for a condition, has a deadline and names its condition.

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

/// The deadline of every wait: far longer than anything takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// The polling interval for conditions without a notification.
pub(crate) const LOOK: Duration = Duration::from_millis(25);

/// The swarm's program, which cargo puts beside the server's when it builds the tests of the workspace.
pub(crate) fn bot_swarm() -> Program {
    Program::beside(env!("CARGO_BIN_EXE_starling"), "bot-swarm")
}
