//! The judgement of a run: whether it kept its expectations, and whether its figures can be trusted.

use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::connect_error::{NO_FILE_LEFT, NO_PORT_LEFT};
use crate::doubt::Doubt;
use crate::expect::{Broken, COUNTS, Expectation, Expectations, Measure, SHARES};
use crate::latencies::Latencies;
use crate::outcome::{Outcome, Point, Verdict};
use crate::stats::Stats;
use crate::units::{grouped, human};

/// The share of a second above which a worker counts as having no time left.
const BUSY_SHARE: f64 = 0.95;

/// The largest share of a run's seconds in which a worker may have no time left.
const BUSY_SECONDS_SHARE: f64 = 0.1;

/// The name of the expectation for every run: at least one bot was connected.
const BOTS: &str = "bots";

/// The fault of bots that were due to connect and were never welcomed.
pub(crate) const NEVER_CONNECTED: &str = "bots never connected";

/// The actual value of an expected latency without measurements.
pub(crate) const NOTHING_MEASURED: &str = "nothing was measured";

/// The beginning of a note about a run that ended before its time.
pub(crate) const STOPPED: &str = "stopped after";

/// A part of a note about a server that speaks another dialect.
pub(crate) const OTHER_DIALECT: &str = "and not BOT_DIALECT=";

/// The beginning of a note with the reason that bots were missing.
pub(crate) const ABSENT: &str = "errors: ";

/// The shortest point that is used to judge how busy the swarm was.
const POINT_MIN: Duration = Duration::from_millis(500);

impl Outcome {
    /// The outcome of a run before it ends: nothing is done.
    pub fn not_ended(config: &Config) -> Self {
        let bots = config.profile().bots_max();
        let mut outcome = Self { config: config.clone(), started: SystemTime::now(), bots, ..Self::default() };
        outcome.stats.counters.wanted = bots.into();
        outcome.judge_with(vec![Doubt::NotEnded { bots }])
    }

    /// Judges the run. Must be called once, when everything else is set.
    pub(crate) fn judge(self) -> Self {
        let limit = Duration::from_secs_f64(self.config.lateness_max_seconds);
        let mut doubts = doubts(&self.stats, &self.points, limit);
        if doubts.is_empty() {
            doubts.extend(self.config.expect.explained_by_lateness(&self, limit));
        }
        if self.stats.counters.ever_connected == 0 {
            // If no bot ever connected, delays do not matter.
            doubts.retain(|doubt| matches!(doubt, Doubt::OpenFiles { .. } | Doubt::Ports { .. }));
        }
        self.judge_with(doubts)
    }

    /// Adds one more reason to doubt the run.
    pub(crate) fn doubted(mut self, doubt: Doubt) -> Self {
        self.doubts.push(doubt);
        self.verdict = Verdict::Invalid;
        self
    }

    /// As [`judge`](Self::judge), with known doubts.
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
    /// Facts that a reader should know even if the run kept its expectations.
    fn unsaid(&self) -> Vec<String> {
        let counters = &self.stats.counters;
        let connected = counters.ever_connected;
        let planned = self.config.profile().duration().filter(|planned| self.elapsed < *planned);
        let stopped = planned
            .map(|planned| format!("{STOPPED} {:.1} s of {:.1} s", self.elapsed.as_secs_f64(), planned.as_secs_f64()));
        let bots = u64::from(self.bots);
        let few =
            (connected < bots).then(|| format!("{} of {} bots were connected", grouped(connected), grouped(bots)));
        let silent = (counters.sent == counters.requests_sent).then(|| "no message was sent".to_owned());
        // With `clean`, the verdict contains it.
        let faults = self.faults();
        let faults = faults.iter().filter(|(what, _)| *what != NEVER_CONNECTED);
        let faults: Vec<String> = faults.map(|(what, count)| format!("{} {what}", grouped(*count))).collect();
        let unclean = (!faults.is_empty()).then(|| format!("not clean: {}", faults.join(", ")));
        // A server may accept bots whose dialect it does not understand. If no bot was connected, the verdict says so
        // itself.
        let dialect = self.stats.errors.keys().find(|kind| kind.contains(OTHER_DIALECT)).cloned();
        let dialect = dialect.filter(|_| connected > 0);
        let is_anybody_absent = connected > 0 && (self.never_connected() > 0 || self.away > 0) && dialect.is_none();
        let absent = Some(self.stats.errors_line()).filter(|errors| is_anybody_absent && !errors.is_empty());
        let absent = absent.map(|errors| format!("{ABSENT}{errors}"));
        [stopped, dialect, few, silent, unclean, absent].into_iter().flatten().collect()
    }
}

impl Expectations {
    /// The expectations that a run broke. If no bot was ever connected, that is the only one.
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

    /// The first broken latency, if all broken expectations are latencies that would have been kept without the swarm's
    /// own lateness.
    fn explained_by_lateness(&self, outcome: &Outcome, limit: Duration) -> Option<Doubt> {
        let broken = self.0.iter().filter(|expectation| expectation.broken(outcome).is_some());
        let explained: Option<Vec<Doubt>> = broken.map(|expectation| expectation.explained(outcome, limit)).collect();
        explained?.into_iter().next()
    }
}

impl Measure {
    /// The figure of the latencies.
    fn of(&self, latencies: &Latencies) -> Duration {
        match self {
            Self::Percentile(percent) => latencies.quantile(percent / 100.0),
            Self::Max => latencies.max(),
            Self::Mean => latencies.mean(),
        }
    }
}

/// The counts that can be expected.
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

/// The counts that can be expected as a share of a total: name, part and total.
fn shares(outcome: &Outcome) -> [(&'static str, u64, u64); 2] {
    let counters = &outcome.stats.counters;
    let [connected, done] = SHARES;
    [(connected, counters.ever_connected, counters.wanted), (done, outcome.done(), outcome.planned())]
}

impl Expectation {
    /// The swarm's lateness, if it explains a broken latency: it exceeded `limit` at the same percentile, and without
    /// it the latency would have been kept.
    fn explained(&self, outcome: &Outcome, limit: Duration) -> Option<Doubt> {
        let Self::Latency { kind, measure, relation, bound } = self else { return None };
        let stats = &outcome.stats;
        let measured = measure.of(stats.kind(kind).filter(|latencies| latencies.count() > 0)?);
        let late = measure.of(&stats.wake_lag).max(measure.of(&stats.loop_lag));
        let is_explained = late > limit && relation.holds(&measured.saturating_sub(late), bound);
        is_explained.then(|| Doubt::LateAsLong { expected: self.to_string(), measured, late, limit })
    }

    /// The actual value if the expectation is broken; `None` if it is kept.
    fn broken(&self, outcome: &Outcome) -> Option<String> {
        match self {
            Self::Clean => {
                let faults: Vec<String> =
                    outcome.faults().iter().map(|(what, count)| format!("{count} {what}")).collect();
                (!faults.is_empty()).then(|| faults.join(", "))
            }
            Self::Latency { kind, measure, relation, bound } => {
                let latencies = outcome.stats.kind(kind).filter(|latencies| latencies.count() > 0);
                // A latency without measurements does not count as kept.
                let Some(latencies) = latencies else { return Some(NOTHING_MEASURED.to_owned()) };
                let actual = measure.of(latencies);
                (!relation.holds(&actual, bound)).then(|| human(actual))
            }
            Self::Count { name, relation, bound } => {
                let actual = counts(outcome).find(|(known, _)| known == name).map_or(0, |(_, count)| count);
                (!relation.holds(&actual, bound)).then(|| actual.to_string())
            }
            Self::Share { name, relation, percent } => {
                let (_, part, whole) = shares(outcome).into_iter().find(|(known, ..)| known == name)?;
                // A share of nothing does not count as kept, whatever is expected of it.
                if whole == 0 {
                    return Some(NOTHING_MEASURED.to_owned());
                }
                let actual = part as f64 * 100.0 / whole as f64;
                let told = || format!("{:.4}% ({} of {})", actual, grouped(part), grouped(whole));
                (!relation.holds(&actual, percent)).then(told)
            }
        }
    }
}

/// All reasons that a run is not valid. `limit` is the allowed delay of the swarm itself.
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

    /// A run in which one delivery of a thousand took this long, and the swarm woke one bot of a thousand this late.
    fn with_one_slow(delivery: Duration, woken: Duration, expect: &str) -> Outcome {
        let mut outcome = Outcome { bots: 1, ..Outcome::default() };
        outcome.config.expect = expect.parse().unwrap();
        outcome.config.lateness_max_seconds = LIMIT.as_secs_f64();
        (outcome.stats.counters.wanted, outcome.stats.counters.ever_connected, outcome.stats.counters.sent) = (1, 1, 1);
        for (kind, slow) in [(&mut outcome.stats.delivery, delivery), (&mut outcome.stats.wake_lag, woken)] {
            kind.record_many(Duration::from_millis(1), 999);
            kind.record(slow);
        }
        outcome.judge()
    }

    #[test]
    fn a_latency_that_the_swarm_may_have_broken_itself_is_not_blamed_on_the_server() {
        let ms = Duration::from_millis;
        for (delivery, woken, expect, line) in [
            (300, 200, "p99<250ms", "KEPT: p99<250ms"),
            (
                300,
                200,
                "max<250ms",
                "INVALID: the swarm itself was up to 200 ms late (at most 50.0 ms), which may explain that max<250ms was ",
            ),
            (300, 200, "p99.99<250ms", "INVALID: the swarm itself was up to 200 ms late "),
            (300, 200, "clean, max<250ms", "INVALID: the swarm itself was up to 200 ms late "),
            (300, 200, "max<250ms, sent>1", "BROKEN: max<250ms: 300 ms; sent>1: 1"),
            // The rest is the server's, and it is too much.
            (600, 200, "max<250ms", "BROKEN: max<250ms: 600 ms"),
            // Not later than it may be.
            (260, 49, "max<250ms", "BROKEN: max<250ms: 260 ms"),
            (240, 200, "max<250ms", "KEPT: max<250ms"),
            (300, 200, "max>1s", "BROKEN: max>1s: 300 ms"),
        ] {
            let told = with_one_slow(ms(delivery), ms(woken), expect).verdict_line();
            assert!(told.starts_with(line), "{delivery} ms, {woken} ms, {expect}: {told}");
        }
    }

    #[test]
    fn where_bots_were_not_there_the_first_line_says_why() {
        let told = |expect: &str, away: u64, error: &str| {
            let mut outcome = Outcome { bots: 2, away, ..Outcome::default() };
            outcome.config.expect = expect.parse().unwrap();
            (outcome.stats.counters.wanted, outcome.stats.counters.ever_connected, outcome.stats.counters.sent) =
                (2, 2, 1);
            outcome.stats.errors.insert(error.to_owned(), 7);
            outcome.judge().verdict_line()
        };
        for (expect, away, error, line) in [
            ("clean", 1, "close 1011", "BROKEN: clean: 1 bots away at the end (errors: 7 × close 1011)"),
            ("lost=0", 1, "close 1011", "KEPT: lost=0 (not clean: 1 bots away at the end; errors: 7 × close 1011)"),
            ("clean", 0, "close 1011", "KEPT: clean"),
        ] {
            assert_eq!(told(expect, away, error), line);
        }
    }
}
