//! The progress of a running swarm: a live table on a terminal, a plain line every five seconds elsewhere.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use starling_process::log_lines;

use crate::advice::advice;
use crate::census::BotState;
use crate::outcome::{Point, Quantiles};
use crate::stats::{Counters, Stats};
use crate::units::{grouped, human};

/// The interval of plain lines.
const PLAIN_PERIOD: Duration = Duration::from_secs(5);

/// The shortest point that is shown: rates of shorter ones mean little.
const SHOWN_MIN: Duration = Duration::from_millis(500);

/// The state of a running swarm.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The time since its start.
    pub elapsed: Duration,
    /// The most bots at a time in its profile.
    pub bots: u32,
    /// Counts and latencies since its start.
    pub total: &'a Stats,
    /// The last second, or the part of it since the last snapshot.
    pub point: &'a Point,
}

/// Shows the progress of a swarm.
pub trait Progress {
    /// Shows the state. Called about once a second, and more often while the swarm ends.
    fn show(&mut self, snapshot: &Snapshot<'_>);
    /// Stops showing this run; another may follow.
    fn finish(&mut self);
}

/// The progress display for standard error. `whole` is the planned duration of the run; `None`: until it is stopped.
pub fn to_stderr(whole: Option<Duration>) -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::new(LiveTable::new(whole)) } else { Box::new(PlainLines::default()) }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn show(&mut self, _: &Snapshot<'_>) {}

    fn finish(&mut self) {}
}

/// A table that is rewritten every second, with the last second and the whole run.
#[derive(Debug)]
struct LiveTable {
    bar: ProgressBar,
}

impl LiveTable {
    fn new(whole: Option<Duration>) -> Self {
        let (template, length) = match whole {
            Some(whole) => ("{bar:40.cyan/black.bright} {pos} of {len} s\n{msg}", whole.as_secs()),
            None => ("{spinner} {pos} s\n{msg}", 0),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::no_length().with_style(style.progress_chars("━╸━"));
        if length > 0 {
            bar.set_length(length);
        }
        Self { bar }
    }
}

impl Progress for LiveTable {
    fn show(&mut self, snapshot: &Snapshot<'_>) {
        if snapshot.point.duration >= SHOWN_MIN {
            self.bar.set_message(table(snapshot));
        }
        self.bar.set_position(snapshot.elapsed.as_secs());
        self.bar.tick();
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
        self.bar.reset();
    }
}

/// The figures of the last second and of the whole run.
fn table(snapshot: &Snapshot<'_>) -> String {
    let Snapshot { bots, total, point, .. } = snapshot;
    let seconds = point.duration.as_secs_f64().max(1e-9);
    let rate = |count: u64| format!("{:.0}", count as f64 / seconds);
    let state = |state| grouped(point.census.in_state(state).into());
    let delivery = Quantiles::from(&total.delivery);
    let last = point.kind("delivery").copied().unwrap_or_default();
    let latency = latency_text;
    let findings: u64 = point.findings.faults().into_iter().map(|(_, count)| count).sum();
    let rows = [
        ("", "last second".to_owned(), "whole run".to_owned()),
        ("bots", state(BotState::Connected), format!("of {}", grouped((*bots).into()))),
        ("sent", rate(point.counters.sent), grouped(total.counters.sent)),
        ("acknowledged", rate(point.counters.acked), grouped(total.counters.acked)),
        ("deliveries", rate(point.counters.deliveries), grouped(total.counters.deliveries)),
        ("p50", latency(&last, last.p50), latency(&delivery, delivery.p50)),
        ("p99", latency(&last, last.p99), latency(&delivery, delivery.p99)),
        ("longest", latency(&last, last.max), latency(&delivery, delivery.max)),
        ("unanswered", grouped(point.unanswered), String::new()),
        ("reconnects", grouped(point.counters.reconnects), grouped(total.counters.reconnects)),
        ("wrong so far", String::new(), grouped(findings)),
        ("errors", String::new(), grouped(total.errors.values().sum())),
    ];
    let lines = rows.map(|(name, last, whole)| format!("{name:<13}{last:>13}{whole:>15}"));
    // Errors are shown below the table as soon as they occur.
    let errors = total.errors_line();
    let advice = total.advice().map_or_else(String::new, |advice| format!("\n({advice})"));
    lines.join("\n") + if errors.is_empty() { "" } else { "\n" } + &errors + &advice
}

/// A latency as text, or a dash if nothing was measured.
fn latency_text(quantiles: &Quantiles, latency: Duration) -> String {
    if quantiles.count == 0 { "–".to_owned() } else { human(latency) }
}

/// Plain lines for a log.
#[derive(Debug, Default)]
struct PlainLines {
    rates: Rates,
    /// Kinds of errors that were already shown.
    told: BTreeSet<String>,
}

impl Progress for PlainLines {
    fn show(&mut self, snapshot: &Snapshot<'_>) {
        // `say` writes in the background, so the swarm never waits for a reader. A kind of error is shown as soon as it
        // occurs.
        for (kind, count) in &snapshot.total.errors {
            if self.told.insert(kind.clone()) {
                let advice = advice(kind).map_or_else(String::new, |advice| format!(" ({advice})"));
                log_lines::say(&format!("{:4} s  {count} × {kind}{advice}", snapshot.elapsed.as_secs()));
            }
        }
        if snapshot.elapsed >= self.rates.at + PLAIN_PERIOD {
            log_lines::say(&self.rates.line(snapshot));
        }
    }

    fn finish(&mut self) {
        *self = Self::default();
    }
}

/// Computes counts per second from one snapshot to the next.
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
        // The last second's latencies, because those of the whole run exclude a warm-up.
        let last = snapshot.point.kind("delivery").copied().unwrap_or_default();
        let errors = snapshot.total.errors_line();
        let line = format!(
            "{:4} s  {}/{} bots  {} sent/s  {} deliveries/s  p50 {}  p99 {}  {} reconnects  {} sent  {} deliveries{}{errors}",
            snapshot.elapsed.as_secs(),
            snapshot.point.census.in_state(BotState::Connected),
            snapshot.bots,
            rate(now.sent, self.before.sent),
            rate(now.deliveries, self.before.deliveries),
            latency_text(&last, last.p50),
            latency_text(&last, last.p99),
            now.reconnects,
            now.sent,
            now.deliveries,
            if errors.is_empty() { "" } else { "  errors: " },
        );
        (self.before, self.at) = (*now, snapshot.elapsed);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Host;
    use crate::recorder::Recorder;
    use crate::worker::requests::Interval;

    #[test]
    fn rates_are_of_the_time_since_the_line_before() {
        let mut recorder =
            Recorder::new(&"ramp 1s to 3".parse().unwrap(), Duration::ZERO, Host::this(), Host::this().now());
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

    #[test]
    fn latencies_are_of_the_last_second_and_a_dash_where_there_are_none() {
        let mut recorder =
            Recorder::new(&"ramp 1s to 3".parse().unwrap(), Duration::from_mins(1), Host::this(), Host::this().now());
        let mut line = |interval: &Interval| {
            let point = recorder.record(interval).clone();
            let elapsed = Duration::from_secs(5);
            Rates::default().line(&Snapshot { elapsed, bots: 3, total: recorder.total(), point: &point })
        };
        assert!(line(&Interval::default()).contains("p50 –  p99 –"));
        // The latencies of the whole run exclude a warm-up.
        let mut interval = Interval::default();
        interval.stats.delivery.record(Duration::from_millis(7));
        interval.stats.error("HTTP 503");
        let line = line(&interval);
        assert!(line.contains("p50 7.00 ms") && line.ends_with("  errors: 1 × HTTP 503"), "{line}");
    }
}
