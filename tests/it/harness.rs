//! What the tests of the whole system stand on: a real server, clients that are told what to expect, and bytes by hand.
//!
//! Every wait has a deadline and says what it waited for; nothing sleeps to let something else happen.

pub(crate) mod bystander;
pub(crate) mod client;
pub(crate) mod exposition;
pub(crate) mod namespace;
pub(crate) mod network;
pub(crate) mod pattern;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod server;

use std::time::Duration;

pub(crate) use self::client::{Client, Received};
pub(crate) use self::exposition::Exposition;
pub(crate) use self::server::TestServer;

/// How long a test waits for anything: far longer than it takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// How often a condition is looked at that nobody announces.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Waits for `future`.
///
/// Panics with `what` past the deadline.
pub(crate) async fn within<T>(what: impl std::fmt::Display, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(DEADLINE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {} s in vain: {what}", DEADLINE.as_secs()))
}

/// Looks at the server's figures until they are as wanted, and returns them.
pub(crate) async fn figures_when(server: &TestServer, what: &str, wanted: impl Fn(&Exposition) -> bool) -> Exposition {
    within(what, async {
        loop {
            let figures = Exposition::scrape(server).await;
            if wanted(&figures) {
                return figures;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}
