//! Reads the server's own metrics once a second, and determines what limits the server.
//!
//! The rules are those of [`starling_process::diagnosis`]. The verdict is served over HTTP, exported as a metric, and
//! logged when it changes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use log::info;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use schemars::JsonSchema;
use serde::Serialize;
use starling_actors::clock::{self, Instant};
use starling_process::diagnosis::{Reading, Verdict, What, observe};
use starling_process::exposition::Family;

/// The interval between two readings.
const INTERVAL: Duration = Duration::from_secs(1);

/// The number of readings in one diagnosis: five seconds.
const READINGS: usize = 6;

/// The number of consecutive findings of a new cause before the verdict changes.
const CONFIRMATIONS: u8 = 2;

/// The shortest time between two log lines, whatever clients do.
const TELL: Duration = Duration::from_secs(10);

/// What limits the server now.
#[derive(Debug, Clone)]
pub(crate) struct Diagnosis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desc: Desc,
    current: Mutex<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    verdict: Verdict,
    since: Instant,
    since_unix_ms: u64,
}

/// The verdict as it is served.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Diagnosed {
    #[serde(flatten)]
    verdict: Verdict,
    /// The time since which this has been the limit, in milliseconds since the Unix epoch.
    since: u64,
    /// Seconds since then.
    for_seconds: u64,
}

impl Diagnosis {
    pub(crate) fn new() -> Self {
        let labels = std::collections::HashMap::new();
        #[expect(clippy::expect_used, reason = "the name is a constant and a valid one")]
        let desc = Desc::new("chat_limit_reached".into(), "The verdict.".into(), Vec::new(), labels)
            .expect("the description is valid");
        let (verdict, since, since_unix_ms) = (Verdict::unmeasured(), clock::now(), clock::unix_ms());
        Self(Arc::new(Inner { desc, current: Mutex::new(Current { verdict, since, since_unix_ms }) }))
    }

    fn current(&self) -> Current {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The verdict for HTTP.
    pub(crate) fn told(&self) -> Diagnosed {
        let Current { verdict, since, since_unix_ms } = self.current();
        Diagnosed { verdict, since: since_unix_ms, for_seconds: since.elapsed().as_secs() }
    }

    /// Replaces the verdict.
    fn set(&self, verdict: Verdict, now: Instant) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !current.verdict.is_measured();
        if is_first || current.verdict.what != verdict.what {
            (current.since, current.since_unix_ms) = (now, clock::unix_ms());
        }
        current.verdict = verdict;
    }

    /// Diagnoses the metrics of this registry once a second while the server runs, and passes the readings on.
    pub(crate) async fn watch(self, registry: Registry, hand_on: impl Fn(&[Reading])) {
        let started = clock::now();
        let (mut readings, mut steps) = (VecDeque::with_capacity(READINGS), Steps::new());
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = clock::now();
            if readings.len() == READINGS {
                readings.pop_front();
            }
            readings.push_back(Reading::of(&registry.gather(), now.saturating_duration_since(started)));
            let readings = readings.make_contiguous();
            let verdict = observe(readings);
            let line = steps.take(&verdict, now);
            if steps.current == Some(verdict.what) {
                self.set(verdict, now);
            }
            if let Some(line) = line {
                info!("{line}");
            }
            hand_on(readings);
        }
    }
}

/// Decides when a new cause counts, and when it is logged.
#[derive(Debug)]
struct Steps {
    /// `None` before the first measurements.
    current: Option<What>,
    /// A cause that does not count yet, and its number of consecutive findings.
    next: (Option<What>, u8),
    told: What,
    told_at: Option<Instant>,
}

impl Steps {
    fn new() -> Self {
        // A log line that nothing is saturated would be useless at the start.
        Self { current: None, next: (None, 0), told: What::Nothing, told_at: None }
    }

    /// Takes the next verdict. Returns a log line if one is due.
    fn take(&mut self, verdict: &Verdict, now: Instant) -> Option<String> {
        let found = Some(verdict.what).filter(|_| verdict.is_measured());
        let times = if self.next.0 == found { self.next.1.saturating_add(1) } else { 1 };
        self.next = (found, times);
        if times >= CONFIRMATIONS {
            self.current = found;
        }
        let is_due = self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TELL);
        let current = self.current.filter(|what| *what != self.told && found == Some(*what) && is_due)?;
        self.told = current;
        self.told_at = Some(now);
        let remedy = if verdict.what.is_limit() { format!(" {}", verdict.remedy) } else { String::new() };
        Some(format!("diagnosis: {}{remedy}", verdict.sentence))
    }
}

impl Collector for Diagnosis {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let current = self.current().verdict.what;
        let mut reached =
            Family::gauge("chat_limit_reached", "1 for the limit that the server has reached, 0 for all others.");
        for what in What::ALL.iter().filter(|what| what.is_limit()) {
            reached.add(&[("what", what.as_str())], f64::from(u8::from(*what == current)));
        }
        vec![reached.finish()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(what: What) -> Verdict {
        Verdict { what, confidence: 0.9, ..Verdict::unmeasured() }
    }

    #[test]
    fn the_seconds_without_measurements_are_no_part_of_the_first_verdict() {
        let diagnosis = Diagnosis::new();
        let measured = diagnosis.current().since + Duration::from_secs(5);
        for later in [0, 7] {
            diagnosis.set(verdict(What::Nothing), measured + Duration::from_secs(later));
            assert_eq!(diagnosis.current().since, measured, "{later} s later");
        }
    }

    #[test]
    fn a_change_counts_when_it_lasts_and_is_logged_at_most_every_ten_seconds() {
        let start = clock::now();
        let mut steps = Steps::new();
        let mut lines = Vec::new();
        assert_eq!((steps.take(&Verdict::unmeasured(), start), steps.current), (None, None));
        let script = [
            (1, What::Nothing, None, false),
            (2, What::Nothing, Some(What::Nothing), false),
            (3, What::History, Some(What::Nothing), false),
            (4, What::Nothing, Some(What::Nothing), false),
            (5, What::History, Some(What::Nothing), false),
            (6, What::History, Some(What::History), true),
            (7, What::Flood, Some(What::History), false),
            (8, What::Flood, Some(What::Flood), false),
            (16, What::Flood, Some(What::Flood), true),
            (17, What::Nothing, Some(What::Flood), false),
            (18, What::Nothing, Some(What::Nothing), false),
            (30, What::Nothing, Some(What::Nothing), true),
        ];
        for (second, found, current, is_logged) in script {
            let line = steps.take(&verdict(found), start + Duration::from_secs(second));
            assert_eq!((steps.current, line.is_some()), (current, is_logged), "at {second}");
            lines.extend(line);
        }
        assert!(lines.iter().all(|line| line.starts_with("diagnosis: ")), "{lines:?}");
    }
}
