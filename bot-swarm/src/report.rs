//! What came of a run, for a person: the verdict first.

pub mod document;
#[cfg(test)]
pub(crate) mod example;
pub mod page;
pub mod pictures;
pub mod plot;
mod text;

use std::fmt;

use crate::latencies::Latencies;
use crate::outcome::{Outcome, Verdict};
use crate::units::human;

impl Outcome {
    /// Everything for which the run is not clean; empty where it is.
    pub fn faults(&self) -> Vec<(&'static str, u64)> {
        let tally = &self.tally;
        let counts = [
            ("lost", tally.lost),
            ("twice", tally.twice),
            ("out of order", tally.out_of_order),
            ("in the wrong room", tally.wrong_room),
            ("private and misdelivered", tally.misdelivered),
            ("places contradicted", tally.contradictions),
            ("sent and never answered", self.unanswered),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Whether at least one bot was connected, and nothing was lost, doubled, reordered, misdelivered or unanswered.
    pub fn is_clean(&self) -> bool {
        self.stats.counters.ever_connected > 0 && self.faults().is_empty()
    }

    /// The verdict in one line.
    pub fn verdict_line(&self) -> String {
        let expect = &self.config.expect;
        match &self.verdict {
            Verdict::Kept => format!("KEPT: {expect}"),
            Verdict::Broken(broken) => format!("BROKEN: {}", join(broken, "; ")),
            Verdict::Invalid => format!("INVALID: {}", join(&self.doubts, "; ")),
        }
    }
}

fn join<T: ToString>(parts: &[T], separator: &str) -> String {
    parts.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stats, tally, footprint, .. } = self;
        let counters = &stats.counters;
        writeln!(f, "{}", self.verdict_line())?;
        writeln!(
            f,
            "bots        {} of {} connected, {} reconnects, {} away at the end, {:.1} s",
            counters.ever_connected,
            self.bots,
            counters.reconnects,
            self.away,
            self.elapsed.as_secs_f64()
        )?;
        writeln!(
            f,
            "messages    {} sent, {} acknowledged, {} refused, {} unanswered, {} due and not sent, {} sent again",
            counters.sent, counters.acked, counters.refused, self.unanswered, counters.overdue, counters.sent_again
        )?;
        writeln!(
            f,
            "deliveries  {} expected, {} received, {} lost ({} told by the server), {} came in all",
            tally.expected, tally.received, tally.lost, tally.lost_and_told, counters.deliveries
        )?;
        writeln!(
            f,
            "faults      {} twice, {} out of order, {} wrong room, {} misdelivered, {} contradictions",
            tally.twice, tally.out_of_order, tally.wrong_room, tally.misdelivered, tally.contradictions
        )?;
        if tally.private_unknown > 0 {
            writeln!(f, "unknown     {} private deliveries across lost connections", tally.private_unknown)?;
        }
        writeln!(f, "latency     from the planned time of sending (or connecting)")?;
        for (what, latencies) in [
            ("delivery", &stats.delivery),
            ("completion", &stats.completion),
            ("ack", &stats.ack),
            ("connect", &stats.connect),
            ("resume", &stats.resume),
            ("lateness", &stats.lateness),
            ("wake lag", &stats.wake_lag),
            ("loop lag", &stats.loop_lag),
        ] {
            write_latencies(f, what, latencies)?;
        }
        let cpu = footprint.user + footprint.system;
        let per = |whole: f64, parts: u64| if parts == 0 { 0.0 } else { whole / parts as f64 };
        writeln!(
            f,
            "swarm       {:.2} s CPU ({:.2} µs per delivery, {:.2} of it user), {:.1} MiB ({:.0} bytes per bot)",
            cpu.as_secs_f64(),
            per(cpu.as_secs_f64() * 1e6, counters.deliveries),
            per(footprint.user.as_secs_f64() * 1e6, counters.deliveries),
            footprint.resident_bytes as f64 / 1_048_576.0,
            per(footprint.resident_bytes as f64, self.bots.into()),
        )?;
        if !stats.errors.is_empty() {
            let errors: Vec<String> = stats.errors.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
            writeln!(f, "errors      {}", errors.join(", "))?;
        }
        Ok(())
    }
}

fn write_latencies(f: &mut fmt::Formatter<'_>, what: &str, latencies: &Latencies) -> fmt::Result {
    if latencies.count() == 0 {
        return writeln!(f, "  {what:<11}none");
    }
    writeln!(
        f,
        "  {what:<11}p50 {:<9} p99 {:<9} p99.9 {:<9} max {:<9} ({})",
        human(latencies.quantile(0.5)),
        human(latencies.quantile(0.99)),
        human(latencies.quantile(0.999)),
        human(latencies.max()),
        latencies.count()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        let mut outcome = Outcome { bots: 1, ..Outcome::default() };
        outcome.stats.counters.ever_connected = 1;
        outcome
    }

    #[test]
    fn the_first_line_is_the_verdict() {
        let kept = outcome().judge();
        assert_eq!((kept.verdict.exit_code(), kept.verdict_line().as_str()), (0, "KEPT: clean"));
        assert!(kept.to_string().starts_with("KEPT: clean\n"));
        let mut doubtful = outcome();
        doubtful.tally.lost = 1;
        doubtful.stats.loop_lag.record(std::time::Duration::from_secs(1));
        let invalid = doubtful.judge();
        assert_eq!(invalid.verdict.exit_code(), 2, "a swarm that was late cannot say that the server lost anything");
        assert!(invalid.to_string().starts_with("INVALID: the swarm's event loops were late"), "{invalid}");
    }

    #[test]
    fn each_fault_ends_with_1_and_is_named_in_the_first_line() {
        type Spoil = fn(&mut Outcome);
        let spoil: [(&str, Spoil); 7] = [
            ("2 lost", |r| r.tally.lost = 2),
            ("2 twice", |r| r.tally.twice = 2),
            ("2 out of order", |r| r.tally.out_of_order = 2),
            ("2 in the wrong room", |r| r.tally.wrong_room = 2),
            ("2 private and misdelivered", |r| r.tally.misdelivered = 2),
            ("2 places contradicted", |r| r.tally.contradictions = 2),
            ("2 sent and never answered", |r| r.unanswered = 2),
        ];
        for (name, spoil) in spoil {
            let mut outcome = outcome();
            spoil(&mut outcome);
            let outcome = outcome.judge();
            assert_eq!(outcome.verdict.exit_code(), 1);
            assert_eq!(outcome.to_string().lines().next(), Some(format!("BROKEN: clean: {name}").as_str()));
        }
    }

    #[test]
    fn a_run_without_any_bot_keeps_nothing() {
        let mut outcome = outcome();
        outcome.stats.counters.ever_connected = 0;
        assert_eq!(outcome.judge().verdict_line(), "BROKEN: bots: no bot was connected");
    }
}
