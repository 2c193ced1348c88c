//! Logging to standard error, including panics.
//!
//! A line that a client can cause is never above `debug`: otherwise a client that sends garbage could fill the
//! operator's disk and hide important lines. The server's own code follows this rule. The frameworks that handle
//! connections do not, so their lines are lowered to `debug`, whatever `CHAT_LOG` sets for their target.

use std::fmt::Display;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use log::Level;
use starling_process::log_lines;
use starling_process::log_lines::say;
pub use starling_process::log_lines::{Format, dropped};

/// Targets whose lines are about a single connection: its bytes, its TLS, its end, or each attempt to reach NATS.
const OF_CONNECTIONS: &[&str] =
    &["actix_http", "actix_web", "actix_web_prom", "actix_codec", "rustls", "tokio_rustls", "mio", "async_nats"];

/// The name with which the program speaks for itself.
const PROGRAM: &str = "starling";

/// Longest time that the process waits at its end for standard error to accept the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Starts logging with this filter. A second call changes nothing.
///
/// # Errors
/// The logging thread cannot be started.
pub fn start(filter: &str, format: Format) -> io::Result<()> {
    if log_lines::start(filter, format, OF_CONNECTIONS)? {
        panic::set_hook(Box::new(|panicked| log::error!("{}", line_of(panicked))));
    }
    Ok(())
}

/// Says why the program ends: with a line of the log, or with a plain line if the log takes no errors, for example
/// because it has not started.
pub fn fail(reason: &dyn Display) {
    if log::log_enabled!(target: PROGRAM, Level::Error) {
        log::error!(target: PROGRAM, "{reason}");
    } else {
        say(&format!("{PROGRAM}: {reason}"));
    }
}

/// Tells a person something beside the output of a command.
pub(crate) fn note(text: &str) {
    say(&format!("{PROGRAM}: {text}"));
}

/// Waits until all lines so far are written, at most half a second: standard error may be a pipe without a reader.
pub fn finish() {
    log_lines::flush(LAST_LINES);
}

/// Formats a panic as one line, with its source location.
fn line_of(panicked: &PanicHookInfo<'_>) -> String {
    let place = panicked.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let text = panicked.payload_as_str().unwrap_or("no text").replace('\n', " | ");
    format!("a panic at {place}: {text}")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_panic_is_one_line_with_its_place() {
        let (tell, lines) = mpsc::channel();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| tell.send(line_of(panicked)).unwrap()));
        let outcome = thread::spawn(|| panic!("on purpose\nand in {} lines", 2)).join();
        panic::set_hook(before);
        assert!(outcome.is_err());
        let line = lines.recv().unwrap();
        assert!(line.starts_with("a panic at src/logging.rs:"), "{line}");
        assert!(line.ends_with(": on purpose | and in 2 lines"), "{line}");
        assert!(lines.recv().is_err(), "there is one");
    }
}
