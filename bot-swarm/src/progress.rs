//! What a person sees while the swarm runs: a live line on a terminal, a plain line every five seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::census::BotState;
use crate::outcome::Point;
use crate::stats::{Counters, Stats};
use crate::units::human;

/// How often a plain line is written.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);

/// The state of a running swarm.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Since its start.
    pub elapsed: Duration,
    /// The most bots that it will have at a time.
    pub bots: u32,
    /// What was counted and measured since its start.
    pub total: &'a Stats,
    /// The last second, or the part of it since the last snapshot.
    pub point: &'a Point,
}

/// Shows how a swarm is doing.
pub trait Progress {
    /// Shows the state. Called about once a second, and more often when the swarm ends.
    fn show(&mut self, snapshot: &Snapshot<'_>);
    /// Shows no more.
    fn finish(&mut self);
}

/// The progress that suits standard error.
pub fn to_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(LiveLine::new()) } else { Box::new(PlainLines::default()) }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn show(&mut self, _: &Snapshot<'_>) {}

    fn finish(&mut self) {}
}

/// A line that is rewritten every second.
#[derive(Debug)]
struct LiveLine {
    bar: ProgressBar,
    rates: Rates,
}

impl LiveLine {
    fn new() -> Self {
        let style =
            ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self { bar: ProgressBar::new_spinner().with_style(style), rates: Rates::default() }
    }
}

impl Progress for LiveLine {
    fn show(&mut self, snapshot: &Snapshot<'_>) {
        self.bar.set_message(self.rates.line(snapshot));
        self.bar.tick();
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Lines for a log.
#[derive(Debug, Default)]
struct PlainLines {
    rates: Rates,
}

impl Progress for PlainLines {
    fn show(&mut self, snapshot: &Snapshot<'_>) {
        if snapshot.elapsed < self.rates.at + PLAIN_PERIOD {
            return;
        }
        let line = self.rates.line(snapshot);
        if let Err(error) = writeln!(std::io::stderr().lock(), "{line}") {
            log::debug!("progress could not be shown: {error}");
        }
    }

    fn finish(&mut self) {}
}

/// Turns counts into counts per second, from one snapshot to the next.
#[derive(Debug, Default)]
struct Rates {
    before: Counters,
    at: Duration,
}

impl Rates {
    fn line(&mut self, snapshot: &Snapshot<'_>) -> String {
        let now = &snapshot.total.counters;
        let seconds = snapshot.elapsed.saturating_sub(self.at).as_secs_f64().max(1e-9);
        let rate = |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round();
        let line = format!(
            "{:4} s  {}/{} bots  {} sent/s  {} deliveries/s  p50 {}  p99 {}  {} reconnects  {} sent  {} deliveries",
            snapshot.elapsed.as_secs(),
            snapshot.point.census.in_state(BotState::Connected),
            snapshot.bots,
            rate(now.sent, self.before.sent),
            rate(now.deliveries, self.before.deliveries),
            human(snapshot.total.delivery.quantile(0.5)),
            human(snapshot.total.delivery.quantile(0.99)),
            now.reconnects,
            now.sent,
            now.deliveries,
        );
        (self.before, self.at) = (*now, snapshot.elapsed);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Nanos;
    use crate::recorder::Recorder;
    use crate::worker::Interval;

    #[test]
    fn rates_are_of_the_time_since_the_line_before() {
        let mut recorder = Recorder::new(&"ramp 1s to 3".parse().unwrap(), Nanos::now());
        let point = recorder.record(&Interval::default()).clone();
        let mut rates = Rates::default();
        let mut line = |seconds, sent| {
            let mut total = Stats::default();
            total.counters.sent = sent;
            let elapsed = Duration::from_secs(seconds);
            rates.line(&Snapshot { elapsed, bots: 3, total: &total, point: &point })
        };
        assert!(line(5, 100).contains(" 20 sent/s"));
        assert!(line(10, 110).contains(" 2 sent/s"));
    }
}
