//! What is to be said of a run: whether it kept what was expected of it, and whether its figures can be trusted.

use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::connect_error::{NO_FILE_LEFT, NO_PORT_LEFT};
use crate::doubt::Doubt;
use crate::expect::{Broken, COUNTS, Expectation, Expectations, Measure, SHARES};
use crate::outcome::{Outcome, Point, Verdict};
use crate::report::NEVER_CONNECTED;
use crate::stats::Stats;
use crate::units::{grouped, human};

/// A worker that ran for more than this share of a second had no time left.
const BUSY_SHARE: f64 = 0.95;

/// The share of a run's seconds in which a worker may have no time left.
const BUSY_SECONDS_SHARE: f64 = 0.1;

/// What is expected of every run: that any bot was connected.
const BOTS: &str = "bots";

/// What is told of a latency that was expected, and of which there is none.
pub(crate) const NOTHING_MEASURED: &str = "nothing was measured";

/// What a note begins with that tells that a run ended before its time.
pub(crate) const STOPPED: &str = "stopped after";

/// What a note contains that tells that the server speaks another dialect.
pub(crate) const OTHER_DIALECT: &str = "and not BOT_DIALECT=";

/// Points that are shorter say little about how busy the swarm was.
const POINT_MIN: Duration = Duration::from_millis(500);

impl Outcome {
    /// What is known of a run before it ends: that nothing of it is done.
    pub fn not_ended(config: &Config) -> Self {
        let bots = config.profile().bots_max();
        let mut outcome = Self { config: config.clone(), started: SystemTime::now(), bots, ..Self::default() };
        outcome.stats.counters.wanted = bots.into();
        outcome.judge_with(vec![Doubt::NotEnded { bots }])
    }

    /// Finds out what is to be said of the run. To be called once, when all else is there.
    pub(crate) fn judge(self) -> Self {
        let limit = Duration::from_secs_f64(self.config.lateness_max_seconds);
        let mut doubts = doubts(&self.stats, &self.points, limit);
        if self.stats.counters.ever_connected == 0 {
            // Who never came in has nothing to be late for.
            doubts.retain(|doubt| matches!(doubt, Doubt::OpenFiles { .. } | Doubt::Ports { .. }));
        }
        self.judge_with(doubts)
    }

    /// The same run, with one more reason to doubt it.
    pub(crate) fn doubted(mut self, doubt: Doubt) -> Self {
        self.doubts.push(doubt);
        self.verdict = Verdict::Invalid;
        self
    }

    /// As [`judge`](Self::judge), where it is known what there is to doubt.
    pub(crate) fn judge_with(mut self, doubts: Vec<Doubt>) -> Self {
        self.doubts = doubts;
        self.notes.extend(self.unsaid());
        let broken = self.config.expect.broken(&self);
        self.verdict = if !self.doubts.is_empty() {
            Verdict::Invalid
        } else if broken.is_empty() {
            Verdict::Kept
        } else {
            Verdict::Broken(broken)
        };
        self
    }
}

impl Outcome {
    /// What somebody who reads only that a run kept its expectations should know as well.
    fn unsaid(&self) -> Vec<String> {
        let counters = &self.stats.counters;
        let connected = counters.ever_connected;
        let planned = self.config.profile().duration().filter(|planned| self.elapsed < *planned);
        let stopped = planned
            .map(|planned| format!("{STOPPED} {:.1} s of {:.1} s", self.elapsed.as_secs_f64(), planned.as_secs_f64()));
        let bots = u64::from(self.bots);
        let few =
            (connected < bots).then(|| format!("{} of {} bots were connected", grouped(connected), grouped(bots)));
        let silent = (counters.sent == 0).then(|| "no message was sent".to_owned());
        // Who expects `clean` is told by the verdict.
        let faults = self.faults();
        let faults = faults.iter().filter(|(what, _)| *what != NEVER_CONNECTED);
        let faults: Vec<String> = faults.map(|(what, count)| format!("{} {what}", grouped(*count))).collect();
        let unclean = (!faults.is_empty()).then(|| format!("not clean: {}", faults.join(", ")));
        // Bots may come in where they are not understood.
        let dialect = self.stats.errors.keys().find(|kind| kind.contains(OTHER_DIALECT)).cloned();
        [stopped, dialect, few, silent, unclean].into_iter().flatten().collect()
    }
}

impl Expectations {
    /// The expectations that a run broke. Where no bot was ever connected, that is the one.
    pub fn broken(&self, outcome: &Outcome) -> Vec<Broken> {
        if outcome.stats.counters.ever_connected == 0 {
            let why = outcome.stats.errors_line();
            let why = if why.is_empty() { why } else { format!(" ({why})") };
            let advice = outcome.stats.advice().map_or_else(String::new, |advice| format!(": {advice}"));
            return vec![Broken { expected: BOTS.to_owned(), actual: format!("no bot was connected{why}{advice}") }];
        }
        let actual = |expectation: &Expectation| {
            let actual = expectation.broken(outcome)?;
            Some(Broken { expected: expectation.to_string(), actual })
        };
        self.0.iter().filter_map(actual).collect()
    }
}

/// The counts that can be expected of a run.
fn counts(outcome: &Outcome) -> impl Iterator<Item = (&'static str, u64)> {
    let errors = outcome.stats.errors.values().sum();
    let counts = [
        outcome.unanswered,
        outcome.deferred,
        outcome.away,
        errors,
        outcome.stats.counters.ever_connected,
        outcome.never_connected(),
        outcome.planned(),
        outcome.done(),
        outcome.not_done(),
    ];
    outcome.tally.faults().into_iter().chain(COUNTS.into_iter().zip(counts)).chain(outcome.stats.counters.entries())
}

/// The counts that can be expected as a share of a whole: name, part and whole.
fn shares(outcome: &Outcome) -> [(&'static str, u64, u64); 2] {
    let counters = &outcome.stats.counters;
    let [connected, done] = SHARES;
    [(connected, counters.ever_connected, counters.wanted), (done, outcome.done(), outcome.planned())]
}

impl Expectation {
    /// What was instead; `None` where it was kept.
    fn broken(&self, outcome: &Outcome) -> Option<String> {
        match self {
            Self::Clean => {
                let faults: Vec<String> =
                    outcome.faults().iter().map(|(what, count)| format!("{count} {what}")).collect();
                (!faults.is_empty()).then(|| faults.join(", "))
            }
            Self::Latency { kind, measure, relation, bound } => {
                let latencies = outcome.stats.kind(kind).filter(|latencies| latencies.count() > 0);
                // What was not measured cannot be said to be kept.
                let Some(latencies) = latencies else { return Some(NOTHING_MEASURED.to_owned()) };
                let actual = match measure {
                    Measure::Percentile(percent) => latencies.quantile(percent / 100.0),
                    Measure::Max => latencies.max(),
                    Measure::Mean => latencies.mean(),
                };
                (!relation.holds(&actual, bound)).then(|| human(actual))
            }
            Self::Count { name, relation, bound } => {
                let actual = counts(outcome).find(|(known, _)| known == name).map_or(0, |(_, count)| count);
                (!relation.holds(&actual, bound)).then(|| actual.to_string())
            }
            Self::Share { name, relation, percent } => {
                let (_, part, whole) = shares(outcome).into_iter().find(|(known, ..)| known == name)?;
                // Of nothing, all is done.
                let actual = if whole == 0 { 100.0 } else { part as f64 * 100.0 / whole as f64 };
                let told = || format!("{:.4}% ({} of {})", actual, grouped(part), grouped(whole));
                (!relation.holds(&actual, percent)).then(told)
            }
        }
    }
}

/// Everything for which a run is not valid. `limit` is how late the swarm itself may be.
fn doubts(stats: &Stats, points: &[Point], limit: Duration) -> Vec<Doubt> {
    let late = |p99: Duration| Some(p99).filter(|p99| *p99 > limit);
    let whole: Vec<&Point> = points.iter().filter(|point| point.duration >= POINT_MIN).collect();
    let is_busy = |point: &&&Point| point.busiest_worker.as_secs_f64() > BUSY_SHARE * point.duration.as_secs_f64();
    let (seconds, of) = (whole.iter().filter(is_busy).count(), whole.len());
    let errors = |kind: &str| stats.errors.get(kind).copied().filter(|times| *times > 0);
    [
        late(stats.wake_lag.quantile(0.99)).map(|p99| Doubt::WakeLag { p99, limit }),
        late(stats.loop_lag.quantile(0.99)).map(|p99| Doubt::LoopLag { p99, limit }),
        (seconds as f64 > BUSY_SECONDS_SHARE * of as f64).then_some(Doubt::Busy { seconds, of }),
        errors(NO_FILE_LEFT).map(|times| Doubt::OpenFiles { times }),
        errors(NO_PORT_LEFT).map(|times| Doubt::Ports { times }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Host;
    use crate::recorder::Recorder;
    use crate::worker::requests::Interval;

    const LIMIT: Duration = Duration::from_millis(50);

    fn points(busy_millis: &[u64]) -> Vec<Point> {
        let mut recorder =
            Recorder::new(&"ramp 1s to 3, hold".parse().unwrap(), Duration::ZERO, Host::this(), Host::this().now());
        let point = recorder.record(&Interval::default()).clone();
        let point = |millis| Point {
            duration: Duration::from_secs(1),
            busiest_worker: Duration::from_millis(millis),
            ..point.clone()
        };
        busy_millis.iter().map(|millis| point(*millis)).collect()
    }

    #[test]
    fn a_swarm_that_keeps_up_is_not_doubted() {
        let mut stats = Stats::default();
        stats.wake_lag.record(LIMIT / 2);
        stats.loop_lag.record(LIMIT / 2);
        assert_eq!(doubts(&stats, &points(&[300; 100]), LIMIT), []);
        assert_eq!(doubts(&stats, &[], LIMIT), []);
    }

    #[test]
    fn each_way_in_which_the_swarm_was_the_limit_is_named() {
        let mut stats = Stats::default();
        stats.wake_lag.record(LIMIT * 2);
        stats.loop_lag.record(LIMIT * 3);
        stats.errors.insert(NO_FILE_LEFT.to_owned(), 4);
        stats.errors.insert(NO_PORT_LEFT.to_owned(), 5);
        let busy = points(&[&[990; 2][..], &[300; 8]].concat());
        let found = doubts(&stats, &busy, LIMIT);
        assert_eq!(found.len(), 5);
        assert!(matches!(found[..2], [Doubt::WakeLag { .. }, Doubt::LoopLag { .. }]));
        assert_eq!(
            found[2..],
            [Doubt::Busy { seconds: 2, of: 10 }, Doubt::OpenFiles { times: 4 }, Doubt::Ports { times: 5 }]
        );
        assert!(
            found
                .iter()
                .all(|doubt| doubt.to_string().starts_with("the swarm") || doubt.to_string().starts_with("a worker"))
        );
    }
}
