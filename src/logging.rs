//! Log lines, to standard error.
//!
//! A line that a client can cause is never above `debug`: whoever sends nonsense would otherwise fill the operator's disk
//! and hide what matters. The server's own code follows that itself; the frameworks that handle connections do not, so
//! their lines are lowered here, whatever `CHAT_LOG` says of their target.

use std::panic::{self, PanicHookInfo};

use log::{Level, Log, Metadata, Record};

/// Targets whose lines tell of a single connection: its bytes, its TLS, its end. `actix_server` is not among them: it
/// tells of the workers and of the listening socket.
const OF_CONNECTIONS: [&str; 7] =
    ["actix_http", "actix_web", "actix_web_prom", "actix_codec", "rustls", "tokio_rustls", "mio"];

/// Starts logging what this filter lets through, panics among it. A second start changes nothing.
pub fn start(filter: &str) {
    let lines = Lines(env_logger::Builder::new().parse_filters(filter).build());
    let most = lines.0.filter();
    // A test may have started it before.
    if log::set_boxed_logger(Box::new(lines)).is_ok() {
        log::set_max_level(most);
        panic::set_hook(Box::new(|panicked| log::error!("{}", line_of(panicked))));
    }
}

/// The logger: lowers lines of connections, then filters and writes.
struct Lines(env_logger::Logger);

/// The level that a line counts as.
fn level_of(metadata: &Metadata<'_>) -> Level {
    let root = metadata.target().split("::").next().unwrap_or_default();
    if OF_CONNECTIONS.contains(&root) { metadata.level().max(Level::Debug) } else { metadata.level() }
}

impl Log for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let lowered = Metadata::builder().level(level_of(metadata)).target(metadata.target()).build();
        self.0.enabled(&lowered)
    }

    fn log(&self, record: &Record<'_>) {
        let mut lowered = Record::builder();
        lowered.level(level_of(record.metadata())).target(record.target()).args(*record.args());
        lowered.module_path(record.module_path()).file(record.file()).line(record.line());
        self.0.log(&lowered.build());
    }

    fn flush(&self) {
        self.0.flush();
    }
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
    fn what_a_connection_causes_is_at_most_debug() {
        for (target, level, expected) in [
            ("actix_http::h1::dispatcher", Level::Error, Level::Debug),
            ("actix_http", Level::Warn, Level::Debug),
            ("rustls::msgs::handshake", Level::Warn, Level::Debug),
            ("actix_web::middleware", Level::Trace, Level::Trace),
            ("actix_server::accept", Level::Error, Level::Error),
            ("actix_httpx", Level::Error, Level::Error),
            ("starling::server", Level::Info, Level::Info),
        ] {
            let metadata = Metadata::builder().level(level).target(target).build();
            assert_eq!(level_of(&metadata), expected, "{target}");
        }
    }

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
