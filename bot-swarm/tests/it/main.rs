//! The whole swarm, against a small chat server that can misbehave.

#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod comparing;
#[cfg(test)]
mod dialects;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod find_limit;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod inboxes;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod lies;
#[cfg(test)]
mod live;
#[cfg(test)]
mod live_page;
#[cfg(test)]
mod load;
#[cfg(test)]
mod merging;
#[cfg(test)]
mod process;
#[cfg(test)]
mod reconnect;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod run;
#[cfg(test)]
mod server;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod truth;

#[cfg(test)]
use bot_swarm::{Config, Outcome, StopHandle, progress};
#[cfg(test)]
use server::TestServer;
#[cfg(test)]
use test_kit::wait_until;

/// A swarm that sends a lot, so that tests are short.
#[cfg(test)]
fn config(server: &TestServer, count: u32) -> Config {
    Config {
        server_url: server.url(),
        count,
        name_prefix: "test".into(),
        ramp_per_second: 10_000.0,
        messages_per_second: 20.0,
        // The test machine may be busy.
        lateness_max_seconds: 3_600.0,
        ..Config::default()
    }
}

/// Runs a swarm until `enough` is ready, then stops it.
#[cfg(test)]
async fn run_until(config: &Config, enough: impl Future<Output = ()>) -> Outcome {
    let stop = StopHandle::new();
    let mut silent = progress::Silent;
    let running = bot_swarm::run(config, &stop, &mut silent);
    let stopping = async {
        enough.await;
        stop.stop();
    };
    let (report, ()) = tokio::join!(running, stopping);
    report.unwrap()
}
