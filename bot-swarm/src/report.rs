//! The report of a run, as text, as a page for people and as JSON for programs, with the verdict first.
//!
//! All of them are made from [`document`], which is also read back for a comparison.

pub mod document;
#[cfg(test)]
pub(crate) mod example;
pub mod folder;
pub(crate) mod of_outcome;
pub mod page;
pub mod pictures;
pub mod plot;
pub(crate) mod text;

use crate::judgement::{ABSENT, NEVER_CONNECTED, OTHER_DIALECT, STOPPED};
use crate::outcome::{Outcome, Verdict};

impl Outcome {
    /// All faults of the run; empty if it is clean.
    pub fn faults(&self) -> Vec<(&'static str, u64)> {
        let tally = &self.tally;
        let counts = [
            ("lost", tally.lost),
            ("twice", tally.twice),
            ("out of order", tally.out_of_order),
            ("in the wrong room", tally.wrong_room),
            ("private and misdelivered", tally.misdelivered),
            ("contradictory positions", tally.contradictions),
            ("altered on the way", tally.altered),
            ("deleted texts", tally.resurrected),
            ("read positions that went back", tally.unread),
            ("sent and never answered", self.unanswered),
            ("refused for now and not accepted later", self.deferred),
            ("due and never sent", self.stats.counters.overdue),
            ("refused without reason", self.stats.counters.refused_unprovoked),
            (NEVER_CONNECTED, self.never_connected()),
            ("bots away at the end", self.away),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Whether at least one bot was connected, everything planned was done, and nothing was lost, doubled, reordered or
    /// misdelivered.
    pub fn is_clean(&self) -> bool {
        self.stats.counters.ever_connected > 0 && self.faults().is_empty()
    }

    /// The verdict in one line. Behind what was kept stand the [notes](Outcome::notes), behind what broke whether the
    /// run was stopped, whether the server speaks another dialect, and why bots were not there.
    pub fn verdict_line(&self) -> String {
        let expect = &self.config.expect;
        let with = |line: String, notes: Vec<&str>| {
            if notes.is_empty() { line } else { format!("{line} ({})", join(&notes, "; ")) }
        };
        let notes = self.notes.iter().map(String::as_str);
        match &self.verdict {
            Verdict::Kept => with(format!("KEPT: {expect}"), notes.collect()),
            Verdict::Broken(broken) => {
                let of_broken =
                    |note: &&str| note.contains(STOPPED) || note.contains(OTHER_DIALECT) || note.contains(ABSENT);
                let notes = notes.filter(of_broken);
                with(format!("BROKEN: {}", join(broken, "; ")), notes.collect())
            }
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
        (outcome.stats.counters.ever_connected, outcome.stats.counters.sent) = (1, 1);
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
        let spoil: [(&str, Spoil); 15] = [
            ("2 lost", |r| r.tally.lost = 2),
            ("2 twice", |r| r.tally.twice = 2),
            ("2 out of order", |r| r.tally.out_of_order = 2),
            ("2 in the wrong room", |r| r.tally.wrong_room = 2),
            ("2 private and misdelivered", |r| r.tally.misdelivered = 2),
            ("2 contradictory positions", |r| r.tally.contradictions = 2),
            ("2 altered on the way", |r| r.tally.altered = 2),
            ("2 deleted texts", |r| r.tally.resurrected = 2),
            ("2 read positions that went back", |r| r.tally.unread = 2),
            ("2 sent and never answered", |r| r.unanswered = 2),
            ("2 refused for now and not accepted later", |r| r.deferred = 2),
            ("2 due and never sent", |r| r.stats.counters.overdue = 2),
            ("2 refused without reason", |r| r.stats.counters.refused_unprovoked = 2),
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
    fn what_was_kept_is_told_with_what_it_leaves_unsaid() {
        type Change = fn(&mut Outcome);
        let changes: [(&str, Change); 6] = [
            ("", |_| ()),
            (" (stopped after 2.5 s of 20.0 s)", |r| {
                r.config.seconds = 20.0;
                r.config.ramp_per_second = 1_000.0;
                r.elapsed = std::time::Duration::from_millis(2_500);
            }),
            (" (20 of 100 bots were connected)", |r| {
                (r.bots, r.stats.counters.ever_connected, r.stats.counters.wanted) = (100, 20, 100);
            }),
            (" (no message was sent)", |r| r.stats.counters.sent = 0),
            (" (no message was sent)", |r| r.stats.counters.requests_sent = 1),
            (" (not clean: 3 lost, 1 bots away at the end)", |r| (r.tally.lost, r.away) = (3, 1)),
        ];
        for (notes, change) in changes {
            let mut outcome = outcome();
            outcome.config.expect = "lost<9".parse().unwrap();
            change(&mut outcome);
            assert_eq!(outcome.judge().verdict_line(), format!("KEPT: lost<9{notes}"));
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
        // A late swarm does not excuse a missing server.
        outcome.stats.wake_lag.record(std::time::Duration::from_secs(1));
        let line = outcome.judge().verdict_line();
        assert_eq!(
            line,
            "BROKEN: bots: no bot was connected (3 × connect: connection refused, 1 × HTTP 503): no server listens at BOT_SERVER_URL"
        );
    }
}
