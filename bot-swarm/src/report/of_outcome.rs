//! Builds a report from the outcome of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use super::document::{
    Bots, Expectation, Judgement, LastReceivers, Latency, Ledger, Messages, Percentiles, Phase, Quantile, Remote,
    Report, SCHEMA_VERSION, Second, SwarmHealth, Verdict,
};
use crate::census::BotState;
use crate::config::KNOBS;
use crate::latencies::Latencies;
use crate::outcome::{self, Outcome, Point, Quantiles};
use crate::stats::Stats;

/// Shown for an expectation that is not judged, because no bot was connected.
const NOT_JUDGED: &str = "not judged";

/// The points of a curve of percentiles for each further nine, for example from 0.9 to 0.99.
const POINTS_PER_NINE: i32 = 8;

impl Report {
    /// Builds a report from an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        let Outcome { config, stats, tally, footprint, .. } = outcome;
        let counters = &stats.counters;
        Self {
            schema_version: SCHEMA_VERSION,
            program: format!("bot-swarm {}", env!("CARGO_PKG_VERSION")),
            started_at: millis(outcome.started.duration_since(UNIX_EPOCH).unwrap_or_default()),
            seconds: outcome.elapsed.as_secs_f64(),
            verdict: verdict(outcome),
            config: KNOBS.iter().map(|knob| (knob.variable.to_owned(), knob.shown(config))).collect(),
            bots: Bots {
                asked: outcome.bots.into(),
                wanted: counters.wanted,
                connected: counters.ever_connected,
                reconnects: counters.reconnects,
                away: outcome.away,
                never_connected: outcome.never_connected(),
            },
            messages: Messages {
                planned: outcome.planned(),
                done: outcome.done(),
                not_done: outcome.not_done(),
                sent: counters.sent,
                acknowledged: counters.acked,
                refused: counters.refused,
                refused_unprovoked: counters.refused_unprovoked,
                unanswered: outcome.unanswered,
                deferred: outcome.deferred,
                overdue: counters.overdue,
                sent_again: counters.sent_again,
            },
            ledger: Ledger {
                deliveries: counters.deliveries,
                expected: tally.expected,
                received: tally.received,
                lost: tally.lost,
                lost_and_told: tally.lost_and_told,
                twice: tally.twice,
                out_of_order: tally.out_of_order,
                wrong_room: tally.wrong_room,
                misdelivered: tally.misdelivered,
                contradictions: tally.contradictions,
                altered: tally.altered,
                resurrected: tally.resurrected,
                unread: tally.unread,
                private_unknown: tally.private_unknown,
                untimed: counters.untimed,
            },
            latencies: latencies(stats),
            histograms: histograms(stats),
            last_receivers: last_receivers(&outcome.last_receivers),
            counters: counters.entries().map(|(name, count)| (name.to_owned(), count)).collect(),
            remote: (stats.remote.count() > 0).then(|| remote(stats)),
            phases: outcome.phases.iter().map(phase).collect(),
            series: outcome.points.iter().map(second).collect(),
            swarm: SwarmHealth {
                user_seconds: footprint.user.as_secs_f64(),
                system_seconds: footprint.system.as_secs_f64(),
                resident_bytes: footprint.resident_bytes,
                open_files: footprint.open_files,
            },
            server: outcome.server.clone().map(|server| server.doubted(outcome.doubts.first())),
            errors: stats.errors.clone(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Report::of(self).fmt(f)
    }
}

fn verdict(outcome: &Outcome) -> Verdict {
    let broken = outcome.config.expect.broken(outcome);
    let expected: Vec<String> = outcome.config.expect.to_string().split(", ").map(str::to_owned).collect();
    // If no bot connected, only that expectation is broken, whatever else was expected.
    let others = broken.iter().filter(|broken| !expected.contains(&broken.expected)).map(|broken| &broken.expected);
    let others: Vec<&String> = others.collect();
    let expectation = |expected: &String| {
        let broken = broken.iter().find(|broken| broken.expected == *expected);
        let not_judged = || (!others.is_empty()).then(|| NOT_JUDGED.to_owned());
        let measured = broken.map(|broken| broken.actual.clone()).or_else(not_judged);
        Expectation { expected: expected.clone(), kept: measured.is_none(), measured }
    };
    Verdict {
        judgement: match outcome.verdict {
            outcome::Verdict::Kept => Judgement::Kept,
            outcome::Verdict::Broken(_) => Judgement::Broken,
            outcome::Verdict::Invalid => Judgement::Invalid,
        },
        line: outcome.verdict_line(),
        expectations: others.iter().copied().chain(&expected).map(expectation).collect(),
        doubts: outcome.doubts.iter().map(ToString::to_string).collect(),
        notes: outcome.notes.clone(),
    }
}

fn phase(phase: &crate::outcome::Phase) -> Phase {
    Phase {
        name: phase.name.clone(),
        start: phase.start.as_secs_f64(),
        seconds: phase.duration.as_secs_f64(),
        sent: phase.stats.counters.sent,
        deliveries: phase.stats.counters.deliveries,
        latencies: latencies(&phase.stats),
        histograms: measured(&phase.stats).map(|(kind, latencies)| (kind.to_owned(), latencies.pack())).collect(),
    }
}

fn last_receivers(last: &crate::last_receivers::LastReceivers) -> Option<LastReceivers> {
    let known = Some(last).filter(|last| !last.is_empty());
    known.map(|last| LastReceivers { one_of: last.one_of(), messages: last.len() as u64, receipts: last.pack() })
}

fn second(point: &Point) -> Second {
    let bots = BotState::ALL.iter().map(|state| (state.as_str().to_owned(), u64::from(point.census.in_state(*state))));
    let measured = Stats::KINDS.iter().zip(&point.quantiles).filter(|(_, quantiles)| quantiles.count > 0);
    let whole = Stats::KINDS.iter().zip(&point.histograms).filter(|(_, packed)| !packed.is_empty());
    Second {
        start: point.start.as_secs_f64(),
        seconds: point.duration.as_secs_f64(),
        phase: point.phase as u64,
        bots: bots.filter(|(_, count)| *count > 0).collect(),
        sent: point.counters.sent,
        acknowledged: point.counters.acked,
        unanswered: point.unanswered,
        deliveries: point.counters.deliveries,
        reconnects: point.counters.reconnects,
        latencies: measured.map(|(kind, quantiles)| ((*kind).to_owned(), percentiles(quantiles))).collect(),
        histograms: whole.map(|(kind, packed)| ((*kind).to_owned(), packed.to_string())).collect(),
        cpu_seconds: point.cpu.as_secs_f64(),
        resident_bytes: point.resident_bytes,
        open_files: point.open_files,
    }
}

fn remote(stats: &Stats) -> Remote {
    Remote {
        deliveries: stats.remote.count(),
        clocks_off_max_ms: ms(stats.clocks_off_max),
        negative: stats.counters.remote_negative,
    }
}

/// The latencies with measurements, with their names.
fn measured(stats: &Stats) -> impl Iterator<Item = (&'static str, &Latencies)> {
    Stats::KINDS.iter().copied().zip(stats.kinds()).filter(|(_, latencies)| latencies.count() > 0)
}

fn latencies(stats: &Stats) -> BTreeMap<String, Latency> {
    measured(stats).map(|(kind, latencies)| (kind.to_owned(), latency(latencies))).collect()
}

fn histograms(stats: &Stats) -> BTreeMap<String, Vec<[u64; 2]>> {
    measured(stats).map(|(kind, latencies)| (kind.to_owned(), latencies.steps())).collect()
}

fn latency(latencies: &Latencies) -> Latency {
    let point = |share: f64| Quantile { share, ms: ms(latencies.quantile(share)) };
    let curve = shares(latencies.count()).into_iter().map(point).collect();
    Latency { percentiles: percentiles(&Quantiles::from(latencies)), mean: ms(latencies.mean()), curve }
}

/// The shares of a curve: as many nines as this many measurements support, then 1.
fn shares(count: u64) -> Vec<f64> {
    let steps = (0..).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / f64::from(POINTS_PER_NINE)));
    let told = steps.take_while(|share| (1.0 - share) * count as f64 >= 0.999);
    let mut shares: Vec<f64> = told.chain([0.5, 1.0]).collect();
    shares.sort_by(f64::total_cmp);
    shares
}

pub(crate) fn percentiles(quantiles: &Quantiles) -> Percentiles {
    let Quantiles { count, p50, p90, p99, p999, max } = *quantiles;
    Percentiles { count, p50: ms(p50), p90: ms(p90), p99: ms(p99), p999: ms(p999), max: ms(max) }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_as_many_nines_as_there_are_measurements_for() {
        assert_eq!(shares(0), [0.5, 1.0]);
        let nines = |count| shares(count).iter().filter(|share| **share < 1.0).fold(0.0, |most: f64, s| most.max(*s));
        assert!((nines(1_000) - 0.999).abs() < 1e-9);
        assert!((nines(999_999) - 0.999_999).abs() < 1e-5);
        let shares = shares(1_000);
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]) && shares.contains(&0.5));
    }

    #[test]
    fn a_latency_keeps_its_percentiles_and_its_longest() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let latency = latency(&latencies);
        assert!((latency.percentiles.p99 / 990.0 - 1.0).abs() < 0.01, "{latency:?}");
        let last = latency.curve.last().unwrap();
        assert!((last.ms / 1_000.0 - 1.0).abs() < 0.01 && (last.share - 1.0).abs() < 1e-9, "{last:?}");
    }
}
