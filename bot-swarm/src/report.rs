//! What came of a run, told: as text, as a page for people and as JSON for programs, the verdict first.
//!
//! [`document`] is what all of them are made from, and what is read back to be compared.

pub mod document;
#[cfg(test)]
pub(crate) mod example;
pub mod folder;
pub(crate) mod of_outcome;
pub mod page;
pub mod pictures;
pub mod plot;
pub(crate) mod text;

use crate::outcome::{Outcome, Verdict};

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
            ("due and never sent", self.stats.counters.overdue),
            ("refused without need", self.stats.counters.refused_unprovoked),
            ("bots never connected", self.never_connected()),
            ("bots away at the end", self.away),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Whether at least one bot was connected, everything that was planned was done, and nothing was lost, doubled,
    /// reordered or misdelivered.
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
        let mut doubtful = outcome();
        doubtful.tally.lost = 1;
        doubtful.stats.loop_lag.record(std::time::Duration::from_secs(1));
        let invalid = doubtful.judge();
        assert_eq!(invalid.verdict.exit_code(), 2, "a swarm that was late cannot say that the server lost anything");
        assert!(invalid.verdict_line().starts_with("INVALID: the swarm's event loops were late"));
    }

    #[test]
    fn each_fault_ends_with_1_and_is_named_in_the_first_line() {
        type Spoil = fn(&mut Outcome);
        let spoil: [(&str, Spoil); 11] = [
            ("2 lost", |r| r.tally.lost = 2),
            ("2 twice", |r| r.tally.twice = 2),
            ("2 out of order", |r| r.tally.out_of_order = 2),
            ("2 in the wrong room", |r| r.tally.wrong_room = 2),
            ("2 private and misdelivered", |r| r.tally.misdelivered = 2),
            ("2 places contradicted", |r| r.tally.contradictions = 2),
            ("2 sent and never answered", |r| r.unanswered = 2),
            ("2 due and never sent", |r| r.stats.counters.overdue = 2),
            ("2 refused without need", |r| r.stats.counters.refused_unprovoked = 2),
            ("2 bots never connected", |r| r.stats.counters.wanted = 3),
            ("2 bots away at the end", |r| r.away = 2),
        ];
        for (name, spoil) in spoil {
            let mut outcome = outcome();
            spoil(&mut outcome);
            let outcome = outcome.judge();
            assert_eq!(outcome.verdict.exit_code(), 1);
            assert_eq!(outcome.verdict_line(), format!("BROKEN: clean: {name}"));
        }
    }

    #[test]
    fn a_run_without_any_bot_keeps_nothing() {
        let mut outcome = outcome();
        outcome.stats.counters.ever_connected = 0;
        outcome.stats.error("HTTP 503");
        for _ in 0..3 {
            outcome.stats.error("connect: connection refused");
        }
        let line = outcome.judge().verdict_line();
        assert_eq!(line, "BROKEN: bots: no bot was connected (3 × connect: connection refused, 1 × HTTP 503)");
    }
}
