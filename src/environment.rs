//! The process's surroundings: variables and the limit of open files.

use std::env;
use std::time::Duration;

use anyhow::bail;
use starling_process::Environment;

use crate::config::{PREFIX, PUBLISHED_PORT};

use crate::admission::EXTRA_PLACES;

/// Files that the process opens in addition to the counted connections: listeners, event loops, logs, a database, and
/// the connections that a full server answers.
const FILES_RESERVED: u64 = 128 + EXTRA_PLACES;

/// Files of the event loop of a worker thread.
const FILES_PER_WORKER: u64 = 4;

/// The server's settings, each under the name of its variable; if two set the same variable, the later one wins: `.env`
/// in the current folder, the variables of the process, then these flags. The variables that Kubernetes adds for a
/// Service named `chat` are left out.
///
/// # Errors
/// `.env` exists but cannot be read or parsed; a variable is not UTF-8; or the process sets `CHAT_PORT`, which is for
/// compose.yaml, but nothing sets `CHAT_BIND`.
pub fn settings(flags: Vec<(String, String)>) -> anyhow::Result<Vec<(String, String)>> {
    let environment = Environment::read()?;
    let mut variables = environment.starting_with(PREFIX)?;
    variables.extend(flags);
    let value_of = |wanted| variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    // In `.env` it is for compose.yaml. Set for the process itself, it is meant as the listening port.
    if let Some(port) = value_of(PUBLISHED_PORT).filter(|_| environment.is_of_process(PUBLISHED_PORT))
        && value_of("CHAT_BIND").is_none()
    {
        let address = port.parse::<u16>().map_or_else(|_| "127.0.0.1:8080".into(), |port| format!("127.0.0.1:{port}"));
        bail!("{PUBLISHED_PORT}={port} is the port that compose.yaml publishes; did you mean CHAT_BIND={address}?");
    }
    Ok(variables)
}

/// The socket of the service manager, for status messages.
pub(crate) fn notify_socket() -> Option<String> {
    env::var("NOTIFY_SOCKET").ok().filter(|address| !address.is_empty())
}

/// The interval in which the service manager expects a sign of life from this process.
pub(crate) fn watchdog() -> Option<Duration> {
    let is_ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    let micros = env::var("WATCHDOG_USEC").ok()?.parse().ok().filter(|micros| is_ours && *micros > 0)?;
    Some(Duration::from_micros(micros))
}

/// Raises the limit of open files as far as the system allows, and returns it.
pub(crate) fn raise_open_files() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024)
}

/// The number of connections that a limit of open files allows to this number of workers.
pub(crate) fn connections_within(open_files: u64, workers: usize) -> u64 {
    open_files.saturating_sub(FILES_RESERVED + FILES_PER_WORKER * workers as u64)
}
