//! Reads the server's own metrics once a second, and determines what limits the server.
//!
//! The rules are those of [`starling_process::diagnosis`]. The verdict is served over HTTP, exported as a metric, and
//! logged when it changes.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use log::info;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use schemars::JsonSchema;
use serde::Serialize;
use starling_actors::clock::{self, Instant};
use starling_process::diagnosis::{Reading, Verdict, What, not_ready, observe};
use starling_process::exposition::Family;

use crate::readiness::NotReady;

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

/// Asks the server why it is not ready.
type AskReadiness = Box<dyn Fn() -> Option<NotReady> + Send + Sync>;

struct Inner {
    desc: Desc,
    current: Mutex<Current>,
    not_ready: OnceLock<AskReadiness>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("current", &self.current).finish_non_exhaustive()
    }
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
        let current = Mutex::new(Current { verdict, since, since_unix_ms });
        Self(Arc::new(Inner { desc, current, not_ready: OnceLock::new() }))
    }

    fn current(&self) -> Current {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets how to ask the server whether it is ready.
    pub(crate) fn ask(&self, not_ready: impl Fn() -> Option<NotReady> + Send + Sync + 'static) {
        // A second one would ask the same server.
        self.0.not_ready.set(Box::new(not_ready)).unwrap_or_default();
    }

    /// The verdict for HTTP. A reason for which the server is not ready counts at once, before the next readings.
    pub(crate) fn told(&self) -> Diagnosed {
        let Current { verdict, since, since_unix_ms } = self.current();
        let known = self.0.not_ready.get().and_then(|ask| ask()).map(|reason| not_ready(reason.label()));
        match known.filter(|known| !known.is_like(&verdict)) {
            Some(known) => Diagnosed { verdict: known, since: clock::unix_ms(), for_seconds: 0 },
            None => Diagnosed { verdict, since: since_unix_ms, for_seconds: since.elapsed().as_secs() },
        }
    }

    /// Replaces the verdict.
    fn set(&self, verdict: Verdict, now: Instant) {
        let mut current = self.0.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !current.verdict.is_measured();
        if is_first || !current.verdict.is_like(&verdict) {
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
            if steps.current.is_like(&verdict) {
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
    current: Verdict,
    /// The newest finding, and the number of consecutive ones like it.
    next: (Verdict, u8),
    /// The verdict that was logged, and when.
    told: Option<(Verdict, Instant)>,
}

impl Steps {
    fn new() -> Self {
        Self { current: Verdict::unmeasured(), next: (Verdict::unmeasured(), 0), told: None }
    }

    /// Takes the next verdict. Returns a log line if one is due.
    fn take(&mut self, verdict: &Verdict, now: Instant) -> Option<String> {
        let times = if self.next.0.is_like(verdict) { self.next.1.saturating_add(1) } else { 1 };
        self.next = (verdict.clone(), times);
        if times >= CONFIRMATIONS {
            self.current = verdict.clone();
        }
        let is_news = match &self.told {
            Some((told, at)) => !told.is_like(verdict) && now.saturating_duration_since(*at) >= TELL,
            // A log line that nothing is saturated would be useless at the start.
            None => verdict.what.is_limit(),
        };
        if !is_news || !self.current.is_like(verdict) || !verdict.is_measured() {
            return None;
        }
        self.told = Some((verdict.clone(), now));
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
    use crate::readiness::Cause;

    fn verdict(what: What) -> Verdict {
        Verdict { what, confidence: 0.9, remedy: "A remedy.".to_owned(), ..Verdict::unmeasured() }
    }

    /// By another rule of the same cause.
    fn other_rule(what: What) -> Verdict {
        Verdict { remedy: "Another one.".to_owned(), ..verdict(what) }
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
    fn a_server_that_is_not_ready_says_so_before_the_next_reading() {
        for (cause, words) in [
            (Cause::History, "Nothing can be stored"),
            (Cause::Memory, "short of memory"),
            (Cause::Stopping, "The server is stopping"),
        ] {
            let diagnosis = Diagnosis::new();
            diagnosis.ask(move || Some(NotReady::new(cause, "the reason")));
            for before in [What::Nothing, What::Flood] {
                diagnosis.set(verdict(before), clock::now());
                let told = diagnosis.told().verdict;
                assert!(told.sentence.contains(words), "{cause:?} {before:?}: {}", told.sentence);
                assert_ne!(told.remedy, verdict(before).remedy);
            }
        }
    }

    #[test]
    fn the_time_of_a_verdict_begins_anew_with_each_rule() {
        let diagnosis = Diagnosis::new();
        let start = diagnosis.current().since;
        for (second, verdict, since) in [
            (1, verdict(What::Flood), 1),
            (2, verdict(What::Flood), 1),
            (3, other_rule(What::Flood), 3),
            (4, other_rule(What::Flood), 3),
            (5, verdict(What::Nothing), 5),
        ] {
            diagnosis.set(verdict, start + Duration::from_secs(second));
            assert_eq!(diagnosis.current().since, start + Duration::from_secs(since), "at {second}");
        }
    }

    #[test]
    fn a_change_counts_when_it_lasts_and_is_logged_at_most_every_ten_seconds() {
        let start = clock::now();
        let mut steps = Steps::new();
        let mut lines = Vec::new();
        assert_eq!(steps.take(&Verdict::unmeasured(), start), None);
        assert!(!steps.current.is_measured());
        let (nothing, history, flood) = (verdict(What::Nothing), verdict(What::History), verdict(What::Flood));
        let other_flood = other_rule(What::Flood);
        let script = [
            (1, &nothing, &Verdict::unmeasured(), false),
            (2, &nothing, &nothing, false),
            (3, &history, &nothing, false),
            (4, &nothing, &nothing, false),
            (5, &history, &nothing, false),
            (6, &history, &history, true),
            (7, &flood, &history, false),
            (8, &flood, &flood, false),
            (16, &flood, &flood, true),
            (17, &other_flood, &flood, false),
            (18, &other_flood, &other_flood, false),
            (27, &other_flood, &other_flood, true),
            (28, &nothing, &other_flood, false),
            (29, &nothing, &nothing, false),
            (40, &nothing, &nothing, true),
        ];
        for (second, found, current, is_logged) in script {
            let line = steps.take(found, start + Duration::from_secs(second));
            assert_eq!((&steps.current, line.is_some()), (current, is_logged), "at {second}");
            lines.extend(line);
        }
        assert!(lines.iter().all(|line| line.starts_with("diagnosis: ")), "{lines:?}");
    }
}
