//! Log lines, written to standard error by a thread of their own.
//!
//! Standard error may be a pipe without a reader. A thread that logs passes its line to the writing thread and
//! continues; only the writing thread blocks. The waiting lines are bounded in bytes. Above the bound a line is dropped
//! and counted, and the log reports the number of dropped lines as soon as it can.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use env_logger::fmt::Formatter;
use env_logger::{Builder, Logger, Target, WriteStyle};
use log::{Level, Log, Metadata, Record, warn};
use serde::Serialize;

/// Most bytes of lines that wait for standard error; further lines are dropped.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// The memory that a waiting line needs in addition to its text.
const LINE_OVERHEAD: usize = 64;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Time, level, target and text, for people.
    Text,
    /// One JSON object a line: `at`, `level`, `target` and `message`.
    Json,
}

/// A message to the writing thread.
enum Item {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// The channel to the writing thread.
struct Writing {
    thread: Sender<Item>,
}

static LOG: OnceLock<Writing> = OnceLock::new();
static WAITING_BYTES: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines dropped since the start of the process, because standard error did not accept them.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

/// Whether this is a valid log filter: comma-separated directives, each a level or `TARGET=LEVEL`.
///
/// A word that is not a level is refused, although `env_logger` would accept it as a target: a misspelt level would
/// then silence the whole log.
pub fn is_filter(text: &str) -> bool {
    let is_level = |text: &str| text.parse::<log::LevelFilter>().is_ok();
    text.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        None => is_level(directive),
        Some((target, level)) => is_target(target) && is_level(level),
    }) && env_filter::Builder::new().try_parse(text).is_ok()
}

/// Whether this is a path of modules.
fn is_target(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_alphanumeric() || "_:-".contains(character))
}

/// Starts logging with this filter. Returns whether this was the first call; a further call changes nothing.
///
/// Lines whose target is in one of the crates in `lowered` are `debug` at most.
///
/// # Errors
/// The writing thread cannot be started.
pub fn start(filter: &str, format: Format, lowered: &'static [&'static str]) -> io::Result<bool> {
    let (thread, items) = channel();
    let mut builder = Builder::new();
    builder.parse_filters(filter).target(Target::Pipe(Box::new(Lines(thread.clone()))));
    if format == Format::Json {
        builder.format(write_json);
    } else if io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        builder.write_style(WriteStyle::Always);
    }
    let lines = Lowering { lines: builder.build(), lowered };
    let most = lines.lines.filter();
    // A test may have started it before.
    if log::set_boxed_logger(Box::new(lines)).is_err() {
        return Ok(false);
    }
    log::set_max_level(most);
    thread::Builder::new().name("log".into()).spawn(move || write_lines(&items))?;
    Ok(LOG.set(Writing { thread }).is_ok())
}

/// Writes a line without a level, in order with the log lines. Like them, it is dropped if too many bytes wait.
pub fn say(line: &str) {
    match LOG.get() {
        Some(log) => hand_over(&log.thread, format!("{line}\n").into_bytes()),
        // An error is ignored: standard error may be closed.
        None => writeln!(io::stderr(), "{line}").unwrap_or_default(),
    }
}

/// Waits until all lines so far are written, at most this long.
pub fn flush(at_most: Duration) {
    let Some(log) = LOG.get() else { return };
    let (written, is_written) = sync_channel(1);
    if log.thread.send(Item::Flush(written)).is_ok() {
        // Lines that standard error does not accept in time are lost.
        is_written.recv_timeout(at_most).unwrap_or_default();
    }
}

/// The logger: lowers the lines of some crates, then filters and writes.
struct Lowering {
    lines: Logger,
    lowered: &'static [&'static str],
}

impl Lowering {
    /// The level of a line after lowering.
    fn level_of(&self, metadata: &Metadata<'_>) -> Level {
        let root = metadata.target().split("::").next().unwrap_or_default();
        if self.lowered.contains(&root) { metadata.level().max(Level::Debug) } else { metadata.level() }
    }
}

impl Log for Lowering {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let lowered = Metadata::builder().level(self.level_of(metadata)).target(metadata.target()).build();
        self.lines.enabled(&lowered)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = one_line(record.args().to_string());
        self.lines.log(
            &Record::builder()
                .level(self.level_of(record.metadata()))
                .target(record.target())
                .module_path(record.module_path())
                .file(record.file())
                .line(record.line())
                .args(format_args!("{text}"))
                .build(),
        );
    }

    fn flush(&self) {
        self.lines.flush();
    }
}

/// Escapes control characters: text from a client must neither look like a separate line nor control the terminal of a
/// person who reads the log.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.into() }
    };
    text.chars().map(escaped).collect()
}

/// The target of `env_logger`: every record is one write.
struct Lines(Sender<Item>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        hand_over(&self.0, line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hand_over(thread: &Sender<Item>, line: Vec<u8>) {
    let cost = line.len() + LINE_OVERHEAD;
    if WAITING_BYTES.fetch_add(cost, Relaxed) + cost > WAITING_BYTES_MAX || thread.send(Item::Line(line)).is_err() {
        WAITING_BYTES.fetch_sub(cost, Relaxed);
        DROPPED.fetch_add(1, Relaxed);
    }
}

fn write_lines(items: &Receiver<Item>) {
    let mut told = 0;
    for item in items {
        match item {
            Item::Line(line) => {
                if io::stderr().write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Relaxed);
                    // Standard error has no reader any more. A line that reports this would be dropped too, and
                    // reported again, for ever.
                    told += 1;
                }
                WAITING_BYTES.fetch_sub(line.len() + LINE_OVERHEAD, Relaxed);
            }
            // The caller may have stopped waiting.
            Item::Flush(written) => written.send(()).unwrap_or_default(),
        }
        // Reported only once there is space for the report itself.
        let dropped = dropped();
        if dropped > told && WAITING_BYTES.load(Relaxed) < WAITING_BYTES_MAX / 2 {
            warn!("log lines were dropped: {}, because standard error did not accept them", dropped - told);
            told = dropped;
        }
    }
}

/// A log line as JSON.
#[derive(Serialize)]
struct JsonLine<'a> {
    at: String,
    level: &'static str,
    target: &'a str,
    message: String,
}

fn write_json(out: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let line = JsonLine {
        at: out.timestamp_millis().to_string(),
        level: record.level().as_str(),
        target: record.target(),
        message: record.args().to_string(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_a_client_puts_into_it() {
        for (text, expected) in [
            ("plain – ünd ✓", "plain – ünd ✓"),
            ("a\nINFO forged", "a\\nINFO forged"),
            ("\r\u{1b}[2J\0\u{85}", "\\r\\u{1b}[2J\\u{0}\\u{85}"),
        ] {
            assert_eq!(one_line(text.to_owned()), expected);
        }
    }

    #[test]
    fn lines_of_the_lowered_crates_are_at_most_debug() {
        let lines = Lowering { lines: Builder::new().build(), lowered: &["actix_http", "rustls"] };
        for (target, level, expected) in [
            ("actix_http::h1::dispatcher", Level::Error, Level::Debug),
            ("actix_http", Level::Warn, Level::Debug),
            ("rustls::msgs::handshake", Level::Trace, Level::Trace),
            ("actix_server::accept", Level::Error, Level::Error),
            ("actix_httpx", Level::Error, Level::Error),
            ("starling::server", Level::Info, Level::Info),
        ] {
            let metadata = Metadata::builder().level(level).target(target).build();
            assert_eq!(lines.level_of(&metadata), expected, "{target}");
        }
    }

    #[test]
    fn a_filter_is_made_of_levels_and_a_word_that_is_none_is_refused() {
        for good in
            ["off", "error", "WARN", "info", "debug", "trace", "info,actix_server=warn", "a::b=debug,warn", "a=off"]
        {
            assert!(is_filter(good), "{good}");
        }
        for bad in
            ["", "warning", "inf0", "info,", "info,warning", "a=loud", "=info", "a b=info", "info;warn", "info/x"]
        {
            assert!(!is_filter(bad), "{bad}");
        }
    }
}
