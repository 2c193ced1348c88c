//! Log lines, to standard error, panics among them.
//!
//! A line that a client can cause is never above `debug`: whoever sends nonsense would otherwise fill the operator's disk
//! and hide what matters. The server's own code follows that itself; the frameworks that handle connections do not, so
//! their lines are lowered, whatever `CHAT_LOG` says of their target.

use std::io;
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use starling_process::log_lines;
pub use starling_process::log_lines::{Format, dropped, say};

/// Targets whose lines tell of a single connection: its bytes, its TLS, its end. `actix_server` is not among them: it
/// tells of the workers and of the listening socket.
const OF_CONNECTIONS: &[&str] =
    &["actix_http", "actix_web", "actix_web_prom", "actix_codec", "rustls", "tokio_rustls", "mio"];

/// How long the end of the process waits for standard error to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Starts logging what this filter lets through. A second start changes nothing.
///
/// # Errors
/// The system starts no thread.
pub fn start(filter: &str, format: Format) -> io::Result<()> {
    if log_lines::start(filter, format, OF_CONNECTIONS)? {
        panic::set_hook(Box::new(|panicked| log::error!("{}", line_of(panicked))));
    }
    Ok(())
}

/// Waits until the lines so far are written, half a second at most: standard error may be a pipe that nobody reads.
pub fn finish() {
    log_lines::flush(LAST_LINES);
}

/// A panic in one line, with its place in the source.
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
