//! What a run is expected to keep: `clean, p99<250ms, connect.p99<1s, reconnects=0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::outcome::Outcome;
use crate::stats::Stats;
use crate::units::{duration_text, grouped, human, parse_duration};

/// What `clean` stands for, beside at least one bot that was connected.
const CLEAN: &str = "clean";

/// What is expected of a run: every one of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectations(Vec<Expectation>);

#[derive(Debug, Clone, PartialEq)]
enum Expectation {
    /// Everything that was planned was done, and nothing lost, doubled, reordered or misdelivered.
    Clean,
    /// A latency is within a bound.
    Latency { kind: &'static str, measure: Measure, relation: Relation, bound: Duration },
    /// A count is within a bound.
    Count { name: &'static str, relation: Relation, bound: u64 },
    /// A count is within a bound, in percent of the whole that it is a part of.
    Share { name: &'static str, relation: Relation, percent: f64 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Measure {
    /// What so many percent do not exceed.
    Percentile(f64),
    Max,
    Mean,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// An expectation that a run broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The expectation, as it is written.
    pub expected: String,
    /// What was instead.
    pub actual: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.expected, self.actual)
    }
}

impl Expectations {
    /// That everything that was planned was done, and nothing lost, doubled, reordered or misdelivered.
    pub fn clean() -> Self {
        Self(vec![Expectation::Clean])
    }

    /// The expectations that a run broke. Where no bot was ever connected, that is the one.
    pub fn broken(&self, outcome: &Outcome) -> Vec<Broken> {
        if outcome.stats.counters.ever_connected == 0 {
            let why = outcome.stats.errors_line();
            let why = if why.is_empty() { why } else { format!(" ({why})") };
            return vec![Broken { expected: "bots".to_owned(), actual: format!("no bot was connected{why}") }];
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
    let others = [
        ("unanswered", outcome.unanswered),
        ("away", outcome.away),
        ("errors", errors),
        ("connected", outcome.stats.counters.ever_connected),
        ("never_connected", outcome.never_connected()),
        ("planned", outcome.planned()),
        ("done", outcome.done()),
        ("not_done", outcome.not_done()),
    ];
    outcome.tally.faults().into_iter().chain(others).chain(outcome.stats.counters.entries())
}

/// The counts that can be expected as a share of a whole: name, part and whole.
fn shares(outcome: &Outcome) -> [(&'static str, u64, u64); 2] {
    let counters = &outcome.stats.counters;
    [("connected", counters.ever_connected, counters.wanted), ("done", outcome.done(), outcome.planned())]
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
                let Some(latencies) = latencies else { return Some("nothing was measured".to_owned()) };
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

impl Relation {
    /// The longer signs first, or `<=` would be read as `<`.
    const ALL: [(&'static str, Self); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Less), (">", Self::More), ("=", Self::Equal)];

    fn holds<T: PartialOrd>(self, actual: &T, bound: &T) -> bool {
        match self {
            Self::Less => actual < bound,
            Self::AtMost => actual <= bound,
            Self::Equal => actual == bound,
            Self::AtLeast => actual >= bound,
            Self::More => actual > bound,
        }
    }
}

/// A text does not say what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("part {part} ({text:?}): {why}")]
pub struct NotExpectations {
    /// Which part of the list is wrong, counted from 1.
    part: usize,
    text: String,
    why: String,
}

impl FromStr for Expectations {
    type Err = NotExpectations;

    fn from_str(text: &str) -> Result<Self, NotExpectations> {
        let read = |(index, text): (usize, &str)| {
            let text = text.trim();
            Expectation::read(text).map_err(|why| NotExpectations { part: index + 1, text: text.to_owned(), why })
        };
        text.split(',').enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl Expectation {
    /// Reads one expectation.
    ///
    /// # Errors
    /// What is wrong with it, with an example.
    fn read(text: &str) -> Result<Self, String> {
        if text == CLEAN {
            return Ok(Self::Clean);
        }
        if text.is_empty() {
            return Err("it is empty; an expectation looks like p99<250ms".to_owned());
        }
        let split = |(sign, relation): (&str, Relation)| {
            let (quantity, bound) = text.split_once(sign)?;
            Some((quantity.trim(), relation, bound.trim()))
        };
        let no_bound = || format!("it has no bound; an expectation looks like {}<250ms", nearest(text, LATENCIES));
        let (quantity, relation, bound) = Relation::ALL.into_iter().find_map(split).ok_or_else(no_bound)?;
        let outcome = Outcome::default();
        if let Some(percent) = bound.strip_suffix('%') {
            let share = shares(&outcome).into_iter().find(|(name, ..)| *name == quantity);
            let no_share = || format!("{quantity} has no percentage; connected and done have, as in done>=99.9%");
            let (name, ..) = share.ok_or_else(no_share)?;
            let percent = percent.trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
            let percent = percent.ok_or_else(|| format!("{bound} is not from 0% to 100%, as in done>=99.9%"))?;
            return Ok(Self::Share { name, relation, percent });
        }
        if let Some((name, _)) = counts(&outcome).find(|(name, _)| *name == quantity) {
            let no_number = |_| format!("{name} is a count, and {bound:?} is no whole number, as in {name}=0");
            return Ok(Self::Count { name, relation, bound: bound.parse().map_err(no_number)? });
        }
        let named = |kind: &&&str| quantity.strip_prefix(**kind).is_some_and(|rest| rest.starts_with('.'));
        let (kind, measure) = match Stats::KINDS.iter().find(named) {
            Some(kind) => (*kind, quantity.get(kind.len() + 1..).unwrap_or_default()),
            None => ("delivery", quantity),
        };
        let unknown = || {
            let meant = match quantity.split_once('.') {
                Some((kind, _)) => format!("{}.p99", nearest(kind, Stats::KINDS.iter().copied())),
                None => nearest(quantity, counts(&outcome).map(|(name, _)| name).chain(LATENCIES)).to_owned(),
            };
            format!("nothing is called {quantity:?}; did you mean {meant}?")
        };
        let measure = Measure::read(measure, unknown)?;
        let no_time = || format!("{quantity} is a latency, and {bound:?} is no time, as in {quantity}<250ms");
        Ok(Self::Latency { kind, measure, relation, bound: parse_duration(bound).ok_or_else(no_time)? })
    }
}

/// How the latencies of deliveries are often asked for.
const LATENCIES: [&str; 4] = ["p50", "p99", "max", "mean"];

/// Of these names, the one that is most like another.
fn nearest(to: &str, names: impl IntoIterator<Item = &'static str>) -> &'static str {
    names.into_iter().min_by_key(|name| strsim::damerau_levenshtein(name, to)).unwrap_or("p99")
}

impl Measure {
    fn read(text: &str, unknown: impl FnOnce() -> String) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            "mean" => Ok(Self::Mean),
            _ => {
                let percent = text.strip_prefix('p').and_then(|percent| percent.parse().ok()).ok_or_else(unknown)?;
                let is_one = (0.0..=100.0).contains(&percent);
                is_one
                    .then_some(Self::Percentile(percent))
                    .ok_or_else(|| format!("{text} is not from p0 to p100, as p99.9 is"))
            }
        }
    }
}

impl fmt::Display for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(Expectation::to_string).collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => f.write_str(CLEAN),
            Self::Latency { kind, measure, relation, bound } => {
                if *kind != "delivery" {
                    write!(f, "{kind}.")?;
                }
                match measure {
                    Measure::Percentile(percent) => write!(f, "p{percent}")?,
                    Measure::Max => f.write_str("max")?,
                    Measure::Mean => f.write_str("mean")?,
                }
                write!(f, "{relation}{}", duration_text(*bound))
            }
            Self::Count { name, relation, bound } => write!(f, "{name}{relation}{bound}"),
            Self::Share { name, relation, percent } => write!(f, "{name}{relation}{percent}%"),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = Self::ALL.iter().find(|(_, relation)| relation == self).map_or("", |(sign, _)| sign);
        f.write_str(sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in which one message took a second, and ten took a millisecond.
    fn outcome() -> Outcome {
        let mut outcome = Outcome::default();
        outcome.stats.counters.ever_connected = 5;
        for millis in [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1_000] {
            outcome.stats.delivery.record(Duration::from_millis(millis));
        }
        outcome
    }

    fn broken(expected: &str, outcome: &Outcome) -> Vec<String> {
        let expectations: Expectations = expected.parse().unwrap_or_else(|_| panic!("{expected}"));
        expectations.broken(outcome).iter().map(Broken::to_string).collect()
    }

    #[test]
    fn what_is_kept_is_not_named_and_what_is_broken_is_named_with_what_was_instead() {
        let mut outcome = outcome();
        assert!(broken("clean, p50<250ms, p50 <= 2ms, max>900ms, mean<1s, lost=0, reconnects<1", &outcome).is_empty());
        assert_eq!(broken("p99<250ms", &outcome), ["p99<250ms: 1.00 s"]);
        outcome.tally.lost = 3;
        outcome.unanswered = 2;
        assert_eq!(broken("clean", &outcome), ["clean: 3 lost, 2 sent and never answered"]);
        assert_eq!(broken("lost=0, unanswered<=2", &outcome), ["lost=0: 3"]);
        assert_eq!(broken("ever_connected>=6", &outcome), ["ever_connected>=6: 5"]);
    }

    #[test]
    fn what_was_planned_and_not_done_is_expected_as_a_count_or_a_share() {
        let mut outcome = outcome();
        let counters = &mut outcome.stats.counters;
        (counters.wanted, counters.sent, counters.overdue, counters.refused) = (500, 900, 100, 50);
        outcome.unanswered = 40;
        outcome.away = 3;
        for (expected, actual) in [
            ("connected>=99%", "1.0000% (5 of 500)"),
            ("connected>=500", "5"),
            ("done>=99.9%", "81.0000% (810 of 1,000)"),
            ("not_done=0", "140"),
            ("never_connected=0", "495"),
            ("away=0", "3"),
        ] {
            assert_eq!(broken(expected, &outcome), [format!("{expected}: {actual}")]);
        }
        assert!(broken("connected>=1%, done>=81%, done<82%, connected<=5, planned=1000, away<=3", &outcome).is_empty());
        outcome.stats.counters = crate::stats::Counters { ever_connected: 1, wanted: 1, ..Default::default() };
        outcome.unanswered = 0;
        assert!(broken("connected>=100%, done>=100%", &outcome).is_empty(), "of nothing, all is done");
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        assert_eq!(broken("connect.p99<1s", &outcome()), ["connect.p99<1s: nothing was measured"]);
        assert_eq!(broken("lost=0", &Outcome::default()), ["bots: no bot was connected"]);
    }

    #[test]
    fn expectations_are_written_as_they_are_read() {
        for text in [
            "clean",
            "p99<250ms, lost=0, connect.p99<1s",
            "p99.9>=1us",
            "ack.max<=1m, completion.mean<1h",
            "connected>=99%, done>=99.9%, away=0",
        ] {
            assert_eq!(text.parse::<Expectations>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_with_an_expectation_is_told_with_its_place_and_one_example() {
        let told = |text: &str| text.parse::<Expectations>().unwrap_err().to_string();
        for (text, expected) in [
            ("", r#"part 1 (""): it is empty; an expectation looks like p99<250ms"#),
            ("clean,", r#"part 2 (""): it is empty; an expectation looks like p99<250ms"#),
            ("clean, p99", r#"part 2 ("p99"): it has no bound; an expectation looks like p99<250ms"#),
            ("p99<", r#"part 1 ("p99<"): p99 is a latency, and "" is no time, as in p99<250ms"#),
            ("p99<5", r#"part 1 ("p99<5"): p99 is a latency, and "5" is no time, as in p99<250ms"#),
            (
                "lost=0, connect.p99<1",
                r#"part 2 ("connect.p99<1"): connect.p99 is a latency, and "1" is no time, as in connect.p99<250ms"#,
            ),
            ("p101<1s", r#"part 1 ("p101<1s"): p101 is not from p0 to p100, as p99.9 is"#),
            ("lost=x", r#"part 1 ("lost=x"): lost is a count, and "x" is no whole number, as in lost=0"#),
            ("lost=1s", r#"part 1 ("lost=1s"): lost is a count, and "1s" is no whole number, as in lost=0"#),
            ("twise=0", r#"part 1 ("twise=0"): nothing is called "twise"; did you mean twice?"#),
            ("conect.p99<1s", r#"part 1 ("conect.p99<1s"): nothing is called "conect.p99"; did you mean connect.p99?"#),
            ("lost<1%", r#"part 1 ("lost<1%"): lost has no percentage; connected and done have, as in done>=99.9%"#),
            ("done>101%", r#"part 1 ("done>101%"): 101% is not from 0% to 100%, as in done>=99.9%"#),
            ("done>x%", r#"part 1 ("done>x%"): x% is not from 0% to 100%, as in done>=99.9%"#),
        ] {
            assert_eq!(told(text), expected);
        }
    }
}
