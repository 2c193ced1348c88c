//! Compares two reports: figures that got better, figures that got worse, and those that cannot be compared.
//!
//! Pure. A change counts only if it exceeds the usual difference between two equal runs.

use std::collections::BTreeMap;
use std::fmt;

use crate::report::document::{Judgement, Latency, Report};

/// A smaller relative change counts as none: medians and rates repeat to a few percent.
const STEADY_WITHIN: f64 = 0.05;

/// The same for high percentiles. They rest on few measurements, so they repeat less well.
const TAIL_WITHIN: f64 = 0.20;

/// A latency change below this, in milliseconds, counts as none: clock and scheduler cause as much.
const MS_WITHIN: f64 = 0.5;

/// The change of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It got better.
    Better,
    /// It got worse.
    Worse,
    /// It did not change significantly.
    Same,
    /// A run was too short to tell.
    NotJudged,
}

/// One figure in both reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name in the printed comparison.
    pub name: String,
    /// Its value in the earlier run.
    pub before: f64,
    /// Its value in the run that is judged.
    pub now: f64,
    /// Its change.
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

/// The comparison of two reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Both verdicts, one line each.
    pub verdicts: [String; 2],
    /// Whether the verdict got better, worse or neither.
    pub verdict: Change,
    /// The reason that the figures say nothing about the server, if a run is not valid.
    pub invalid: Option<&'static str>,
    /// Settings that differ, with both values. If they change the load, the figures differ for that reason.
    pub settings: Vec<(String, String, String)>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// The shortest run whose rates and latencies are judged, in seconds: shorter runs differ too much from each other.
const JUDGED_MIN_SECONDS: f64 = 10.0;

/// Settings that concern addresses, names and output, not the load.
const INDIFFERENT: [&str; 6] =
    ["BOT_NAME_PREFIX", "BOT_SERVER_URL", "BOT_METRICS_BIND", "BOT_REPORT", "BOT_SCENARIO", "BOT_SERVER_METRICS"];

/// Compares a report with an earlier one.
pub fn compare(before: &Report, now: &Report) -> Comparison {
    let mut rows = Vec::new();
    let is_short = before.seconds.min(now.seconds) < JUDGED_MIN_SECONDS;
    // Clocks that may be off by this much cannot show a smaller change.
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
        ("resurrected", theirs.resurrected, ours.resurrected),
        ("unread", theirs.unread, ours.unread),
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
    if let Some((before, now)) = before.micros_per_delivery().zip(now.micros_per_delivery()) {
        add("swarm CPU per delivery", Unit::Micros, Direction::Fewer(STEADY_WITHIN * 2.0), before, now);
    }
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
        invalid: invalid(before, now),
        verdict: judge_verdicts(before.verdict.judgement, now.verdict.judgement),
        settings: settings(&before.config, &now.config),
        rows,
    }
}

fn common<'a>(
    before: &'a BTreeMap<String, Latency>,
    now: &'a BTreeMap<String, Latency>,
) -> impl Iterator<Item = (&'a str, &'a Latency, &'a Latency)> {
    // The swarm's own delays are part of each report's verdict and are not compared.
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
        // An invalid run does not count.
        _ => Change::Same,
    }
}

/// The reason that the two runs cannot be compared. A server that was available before and is not now got worse. A run
/// without a server, or without messages, is no basis for a comparison.
fn invalid(before: &Report, now: &Report) -> Option<&'static str> {
    let is_nobody_there = |report: &Report| report.bots.connected == 0;
    let is_silent = |report: &Report| report.messages.sent == 0;
    let is_kept = |report: &Report| report.verdict.judgement == Judgement::Kept;
    match (before.verdict.judgement, now.verdict.judgement) {
        (Judgement::Invalid, Judgement::Invalid) => Some("both runs are not valid"),
        (Judgement::Invalid, _) => Some("the run before is not valid"),
        (_, Judgement::Invalid) => Some("the run now is not valid"),
        _ if is_nobody_there(before) && is_nobody_there(now) => Some("no bot was connected in both runs"),
        _ if is_nobody_there(before) => Some("no bot was connected in the run before"),
        _ if is_silent(before) && !is_silent(now) => Some("no message was sent in the run before"),
        _ if is_silent(now) && !is_silent(before) && is_kept(now) => Some("no message was sent in the run now"),
        _ => None,
    }
}

/// Which direction is better, and the relative change that counts as none.
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

    /// The exit code of the process: 0: nothing got worse; 1: something did; 2: a run is not valid.
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
            Some(why) => format!("INVALID: {why}, so its figures say nothing about the server; {figures}"),
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
mod tests;
