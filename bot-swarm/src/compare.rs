//! Holds two reports against each other: what got better, what got worse, and what cannot be compared.
//!
//! Pure. A change counts only where it is larger than what two runs of the same thing differ by anyway.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::document::{Judgement, Latency, Report};

/// A change of less than this share is none: medians and rates repeat to a few percent.
const STEADY_WITHIN: f64 = 0.05;

/// High percentiles rest on few measurements, so they repeat less well.
const TAIL_WITHIN: f64 = 0.20;

/// A latency that changed by less than this many milliseconds did not change: the clock's and the scheduler's share.
const MS_WITHIN: f64 = 0.5;

/// What became of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It got better.
    Better,
    /// It got worse.
    Worse,
    /// It stayed as it was, as far as one can tell.
    Same,
    /// A run was too short to tell.
    NotJudged,
}

/// One figure in both reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name, as the comparison prints it.
    pub name: String,
    /// What it was.
    pub before: f64,
    /// Its value in the run that is judged.
    pub now: f64,
    /// What became of it.
    pub change: Change,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Ms,
    Count,
    Rate,
    Bytes,
    Micros,
}

/// Two reports, held against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Both verdicts, in one line each.
    pub verdicts: [String; 2],
    /// Whether the verdict got better, worse or neither.
    pub verdict: Change,
    /// Which of the two says nothing of the server, because its run is not valid.
    pub invalid: Option<&'static str>,
    /// Settings that differ, with both values: where there are any that make the load, the figures differ for it.
    pub settings: Vec<(String, String, String)>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// Shorter runs tell nothing of rates and latencies: two of the same differ by more than what counts as a change.
const JUDGED_MIN_SECONDS: f64 = 10.0;

/// Settings that say where, and under which name, but not what.
const INDIFFERENT: [&str; 6] =
    ["BOT_NAME_PREFIX", "BOT_SERVER_URL", "BOT_METRICS_BIND", "BOT_REPORT", "BOT_SCENARIO", "BOT_SERVER_METRICS"];

/// Holds a report against an earlier one.
pub fn compare(before: &Report, now: &Report) -> Comparison {
    let mut rows = Vec::new();
    let is_short = before.seconds.min(now.seconds) < JUDGED_MIN_SECONDS;
    // Two clocks that may be off by so much cannot tell of less.
    let clocks_off = |report: &Report| report.remote.map_or(0.0, |remote| remote.clocks_off_max_ms);
    let remote_within = clocks_off(before) + clocks_off(now);
    let mut add = |name: &str, unit, direction: Direction, before: f64, now: f64| {
        let within = match unit {
            Unit::Ms if name.starts_with("remote ") => MS_WITHIN + remote_within,
            Unit::Ms => MS_WITHIN,
            Unit::Count | Unit::Rate | Unit::Bytes | Unit::Micros => 0.0,
        };
        let is_judged = unit == Unit::Count || !is_short;
        let change = if is_judged { direction.judge(before, now, within) } else { Change::NotJudged };
        rows.push(Row { name: name.to_owned(), before, now, change, unit });
    };
    let (ours, theirs) = (&now.ledger, &before.ledger);
    for (name, before, now) in [
        ("lost", theirs.lost, ours.lost),
        ("twice", theirs.twice, ours.twice),
        ("out of order", theirs.out_of_order, ours.out_of_order),
        ("wrong room", theirs.wrong_room, ours.wrong_room),
        ("misdelivered", theirs.misdelivered, ours.misdelivered),
        ("contradictions", theirs.contradictions, ours.contradictions),
        ("altered", theirs.altered, ours.altered),
        ("unanswered", before.messages.unanswered, now.messages.unanswered),
        ("refused for now", before.messages.deferred, now.messages.deferred),
        ("refused", before.messages.refused, now.messages.refused),
        ("never sent", before.messages.overdue, now.messages.overdue),
        ("never connected", before.bots.never_connected, now.bots.never_connected),
        ("away at the end", before.bots.away, now.bots.away),
        ("reconnects", before.bots.reconnects, now.bots.reconnects),
        ("connection errors", before.errors.values().sum(), now.errors.values().sum()),
    ] {
        add(name, Unit::Count, Direction::Fewer(0.0), before as f64, now as f64);
    }
    let rate = |report: &Report, count: u64| if report.seconds > 0.0 { count as f64 / report.seconds } else { 0.0 };
    for (name, before, now) in [
        ("sent per second", rate(before, before.messages.sent), rate(now, now.messages.sent)),
        ("deliveries per second", rate(before, before.ledger.deliveries), rate(now, now.ledger.deliveries)),
    ] {
        add(name, Unit::Rate, Direction::More(STEADY_WITHIN), before, now);
    }
    for (kind, before, now) in common(&before.latencies, &now.latencies) {
        let (before, now) = (before.percentiles, now.percentiles);
        add(&format!("{kind} p50"), Unit::Ms, Direction::Fewer(STEADY_WITHIN * 2.0), before.p50, now.p50);
        add(&format!("{kind} p99"), Unit::Ms, Direction::Fewer(TAIL_WITHIN), before.p99, now.p99);
        add(&format!("{kind} p99.9"), Unit::Ms, Direction::Fewer(TAIL_WITHIN), before.p999, now.p999);
    }
    add(
        "swarm CPU per delivery",
        Unit::Micros,
        Direction::Fewer(STEADY_WITHIN * 2.0),
        before.micros_per_delivery(),
        now.micros_per_delivery(),
    );
    if let Some((before, now)) = before.server.as_ref().zip(now.server.as_ref()) {
        if let Some((before, now)) = before.whole.cores.zip(now.whole.cores) {
            add("server cores", Unit::Rate, Direction::Fewer(STEADY_WITHIN * 2.0), before, now);
        }
        if let Some((before, now)) = before.whole.resident_bytes.zip(now.whole.resident_bytes) {
            add("server memory", Unit::Bytes, Direction::Fewer(STEADY_WITHIN * 2.0), before as f64, now as f64);
        }
        for (stage, now) in now.whole.stages.iter().filter_map(|now| {
            let before = before.whole.stages.iter().find(|before| before.stage == now.stage)?;
            Some((before, now))
        }) {
            if let Some((before, now)) = stage.wait_p99_ms.zip(now.wait_p99_ms) {
                add(&format!("server {} wait p99", stage.stage), Unit::Ms, Direction::Fewer(TAIL_WITHIN), before, now);
            }
        }
    }
    Comparison {
        verdicts: [before.verdict.line.clone(), now.verdict.line.clone()],
        invalid: invalid(before.verdict.judgement, now.verdict.judgement),
        verdict: judge_verdicts(before.verdict.judgement, now.verdict.judgement),
        settings: settings(&before.config, &now.config),
        rows,
    }
}

fn common<'a>(
    before: &'a BTreeMap<String, Latency>,
    now: &'a BTreeMap<String, Latency>,
) -> impl Iterator<Item = (&'a str, &'a Latency, &'a Latency)> {
    // How far the swarm itself was behind is judged by its own verdict, not here.
    let of_the_server = |kind: &&String| !matches!(kind.as_str(), "lateness" | "wake_lag" | "loop_lag");
    let kinds = now.keys().filter(of_the_server);
    kinds.filter_map(|kind| Some((kind.as_str(), before.get(kind)?, now.get(kind)?)))
}

fn settings(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<(String, String, String)> {
    let mut variables: Vec<&String> = before.keys().chain(now.keys()).collect();
    variables.sort();
    variables.dedup();
    let value = |config: &BTreeMap<String, String>, variable| config.get(variable).cloned().unwrap_or_default();
    let of_both = variables.into_iter().map(|v| (v.clone(), value(before, v), value(now, v)));
    of_both.filter(|(variable, before, now)| before != now && !INDIFFERENT.contains(&variable.as_str())).collect()
}

fn judge_verdicts(before: Judgement, now: Judgement) -> Change {
    match (before, now) {
        (Judgement::Broken, Judgement::Kept) => Change::Better,
        (Judgement::Kept, Judgement::Broken) => Change::Worse,
        // What is invalid says nothing.
        _ => Change::Same,
    }
}

fn invalid(before: Judgement, now: Judgement) -> Option<&'static str> {
    match (before, now) {
        (Judgement::Invalid, Judgement::Invalid) => Some("both runs are not valid"),
        (Judgement::Invalid, _) => Some("the run before is not valid"),
        (_, Judgement::Invalid) => Some("the run now is not valid"),
        _ => None,
    }
}

/// Which way is better, and how much of a change is none.
#[derive(Debug, Clone, Copy)]
enum Direction {
    Fewer(f64),
    More(f64),
}

impl Direction {
    fn judge(self, before: f64, now: f64, within: f64) -> Change {
        let share = match self {
            Self::Fewer(share) | Self::More(share) => share,
        };
        let change = now - before;
        if change.abs() <= within.max(before.abs() * share) {
            return Change::Same;
        }
        let is_better = matches!(self, Self::Fewer(_)) == (change < 0.0);
        if is_better { Change::Better } else { Change::Worse }
    }
}

impl Comparison {
    /// Whether the verdict or any figure got worse.
    pub fn is_worse(&self) -> bool {
        self.verdict == Change::Worse || self.rows.iter().any(|row| row.change == Change::Worse)
    }

    /// What the process ends with: 0 nothing got worse, 1 something did, 2 a run is not valid, so nothing can be said.
    pub fn exit_code(&self) -> u8 {
        if self.invalid.is_some() { 2 } else { u8::from(self.is_worse()) }
    }

    fn headline(&self) -> String {
        let count = |change| self.rows.iter().filter(|row| row.change == change).count();
        let (worse, better) = (count(Change::Worse), count(Change::Better));
        let word = if self.is_worse() {
            "WORSE"
        } else if better > 0 || self.verdict == Change::Better {
            "BETTER"
        } else {
            "SAME"
        };
        let figures = format!("{worse} worse, {better} better, {} the same", count(Change::Same));
        let line = match self.invalid {
            Some(why) => format!("INVALID: {why}, so its figures say nothing of the server; {figures}"),
            None => format!("{word}: {figures}"),
        };
        match count(Change::NotJudged) {
            0 => line,
            not_judged => {
                format!("{line}; {not_judged} not judged, because a run was shorter than {JUDGED_MIN_SECONDS} s")
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        let [before, now] = &self.verdicts;
        writeln!(f, "before      {before}\nnow         {now}")?;
        for (variable, before, now) in &self.settings {
            writeln!(f, "other load  {variable}: {before} before, {now} now")?;
        }
        for change in [Change::Worse, Change::Better, Change::Same, Change::NotJudged] {
            for row in self.rows.iter().filter(|row| row.change == change) {
                writeln!(f, "{row}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.change {
            Change::Better => "better",
            Change::Worse => "worse",
            Change::Same => "same",
            Change::NotJudged => "short",
        };
        let (before, now) = (self.unit.text(self.before), self.unit.text(self.now));
        write!(f, "{word:<8}{:<28}{before:>12} {now:>12}", self.name)?;
        if self.before.abs() > 0.0 && !matches!(self.change, Change::Same | Change::NotJudged) {
            write!(f, "  {:+.0} %", (self.now / self.before - 1.0) * 100.0)?;
        }
        Ok(())
    }
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Ms => format!("{value:.1} ms"),
            Self::Rate if value < 10.0 => format!("{value:.2}"),
            Self::Count | Self::Rate => format!("{value:.0}"),
            Self::Bytes => format!("{:.1} MiB", value / 1_048_576.0),
            Self::Micros => format!("{value:.2} µs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::Remote;
    use crate::report::example;

    fn change_of(comparison: &Comparison, name: &str) -> Change {
        let row = comparison.rows.iter().find(|row| row.name == name);
        row.unwrap_or_else(|| panic!("{name} in {comparison}")).change
    }

    #[test]
    fn a_report_is_the_same_as_itself() {
        let report = example::report();
        let comparison = compare(&report, &report);
        assert!(comparison.rows.iter().all(|row| row.change == Change::Same), "{comparison}");
        assert!(comparison.to_string().starts_with("SAME: 0 worse, 0 better, "));
        assert_eq!(comparison.exit_code(), 0);
        assert!(comparison.settings.is_empty());
    }

    #[test]
    fn of_a_short_run_only_what_must_be_zero_is_judged() {
        let (before, mut now) = (example::report(), example::report());
        now.seconds = 9.9;
        now.latencies.get_mut("delivery").unwrap().percentiles.p99 *= 3.0;
        let comparison = compare(&before, &now);
        assert_eq!(change_of(&comparison, "delivery p99"), Change::NotJudged);
        let text = comparison.to_string();
        assert!(text.starts_with("SAME: 0 worse, 0 better, 15 the same; "), "{text}");
        assert!(text.lines().next().unwrap().ends_with(" not judged, because a run was shorter than 10 s"), "{text}");
        now.ledger.lost = 1;
        assert_eq!(compare(&before, &now).exit_code(), 1);
    }

    #[test]
    fn what_got_worse_is_named_first_and_ends_with_1() {
        let (before, mut now) = (example::report(), example::report());
        now.ledger.lost = 1;
        now.latencies.get_mut("delivery").unwrap().percentiles.p99 *= 1.5;
        let comparison = compare(&before, &now);
        assert_eq!(change_of(&comparison, "lost"), Change::Worse);
        assert_eq!(change_of(&comparison, "delivery p99"), Change::Worse);
        assert_eq!(change_of(&comparison, "delivery p50"), Change::Same);
        assert!(comparison.to_string().starts_with("WORSE: 2 worse, 0 better"), "{comparison}");
        assert!(comparison.to_string().lines().nth(3).unwrap().starts_with("worse   lost"), "{comparison}");
        assert_eq!(comparison.exit_code(), 1);
        let back = compare(&now, &before);
        assert!(back.to_string().starts_with("BETTER: 0 worse, 2 better"), "{back}");
    }

    #[test]
    fn what_two_runs_of_the_same_differ_by_is_no_change() {
        let (before, mut now) = (example::report(), example::report());
        let delivery = &mut now.latencies.get_mut("delivery").unwrap().percentiles;
        delivery.p50 *= 1.08;
        delivery.p99 *= 1.15;
        now.messages.sent = now.messages.sent * 102 / 100;
        assert_eq!(compare(&before, &now).exit_code(), 0);
    }

    #[test]
    fn a_change_of_half_a_millisecond_is_none_however_large_its_share() {
        let (mut before, mut now) = (example::report(), example::report());
        before.latencies.get_mut("ack").unwrap().percentiles.p50 = 0.1;
        now.latencies.get_mut("ack").unwrap().percentiles.p50 = 0.5;
        assert_eq!(change_of(&compare(&before, &now), "ack p50"), Change::Same);
        now.latencies.get_mut("ack").unwrap().percentiles.p50 = 0.7;
        assert_eq!(change_of(&compare(&before, &now), "ack p50"), Change::Worse);
    }

    #[test]
    fn a_change_that_the_clocks_of_two_hosts_may_have_made_is_none() {
        let report = |p50, clocks_off_max_ms| {
            let mut report = example::report();
            let mut remote = report.latencies["delivery"].clone();
            remote.percentiles.p50 = p50;
            report.latencies.insert("remote".into(), remote);
            report.remote = Some(Remote { deliveries: 10, clocks_off_max_ms, negative: 0 });
            report
        };
        assert_eq!(change_of(&compare(&report(1.0, 2.0), &report(7.4, 4.0)), "remote p50"), Change::Same);
        assert_eq!(change_of(&compare(&report(1.0, 2.0), &report(7.6, 4.0)), "remote p50"), Change::Worse);
    }

    #[test]
    fn another_load_is_told() {
        let (before, mut now) = (example::report(), example::report());
        now.config.insert("BOT_COUNT".into(), "7".into());
        now.config.insert("BOT_NAME_PREFIX".into(), "other".into());
        let comparison = compare(&before, &now);
        assert_eq!(comparison.settings.len(), 1);
        assert!(comparison.to_string().contains("other load  BOT_COUNT: 500 before, 7 now\n"), "{comparison}");
    }

    #[test]
    fn a_verdict_that_broke_is_worse_whatever_the_figures() {
        let (before, mut now) = (example::report(), example::report());
        now.verdict.judgement = Judgement::Broken;
        assert_eq!(compare(&before, &now).exit_code(), 1);
    }

    #[test]
    fn with_a_run_that_is_not_valid_nothing_can_be_said() {
        let (valid, mut invalid) = (example::report(), example::report());
        invalid.verdict.judgement = Judgement::Invalid;
        for (before, now, line) in [
            (&valid, &invalid, "INVALID: the run now is not valid, "),
            (&invalid, &valid, "INVALID: the run before is not valid, "),
            (&invalid, &invalid, "INVALID: both runs are not valid, "),
        ] {
            let comparison = compare(before, now);
            assert!(comparison.to_string().starts_with(line), "{comparison}");
            assert_eq!(comparison.exit_code(), 2);
        }
    }
}
