//! What a run is expected to keep: `clean, p99<250ms, connect.p99<1s, reconnects=0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ledger::Tally;
use crate::stats::{Counters, Stats};
use crate::units::{duration_text, parse_duration};

/// What `clean` stands for, beside at least one bot that was connected.
const CLEAN: &str = "clean";

/// The counts of an outcome that can be expected, beside the ledger's findings and the counters.
pub(crate) const COUNTS: [&str; 9] =
    ["unanswered", "deferred", "away", "errors", "connected", "never_connected", "planned", "done", "not_done"];

/// The counts that can be expected as a share of a whole.
pub(crate) const SHARES: [&str; 2] = ["connected", "done"];

/// The names of all counts that can be expected.
fn count_names() -> impl Iterator<Item = &'static str> {
    let findings = Tally::default().faults().into_iter().map(|(name, _)| name);
    let counters = Counters::default().entries().map(|(name, _)| name);
    let counters: Vec<&'static str> = counters.collect();
    findings.into_iter().chain(COUNTS).chain(counters)
}

/// The name of a count that can be expected.
fn count_named(name: &str) -> Option<&'static str> {
    count_names().find(|known| *known == name)
}

/// What is expected of a run: every one of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectations(pub(crate) Vec<Expectation>);

/// One thing that is expected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expectation {
    /// Everything that was planned was done, and nothing lost, doubled, reordered or misdelivered.
    Clean,
    /// A latency is within a bound.
    Latency { kind: &'static str, measure: Measure, relation: Relation, bound: Duration },
    /// A count is within a bound.
    Count { name: &'static str, relation: Relation, bound: u64 },
    /// A count is within a bound, in percent of the whole that it is a part of.
    Share { name: &'static str, relation: Relation, percent: f64 },
}

/// What of many latencies is meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// What so many percent do not exceed.
    Percentile(f64),
    Max,
    Mean,
}

/// How a figure is to stand to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
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
}

impl Relation {
    /// The longer signs first, or `<=` would be read as `<`.
    const ALL: [(&'static str, Self); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Less), (">", Self::More), ("=", Self::Equal)];

    /// Whether a figure stands so to its bound.
    pub(crate) fn holds<T: PartialOrd>(self, actual: &T, bound: &T) -> bool {
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
            let read = Expectation::read(text);
            let read = read.map_err(|why| {
                separated(text).map_or(why, |list| format!("commas stand between expectations: {list}"))
            });
            read.map_err(|why| NotExpectations { part: index + 1, text: text.to_owned(), why })
        };
        text.split(',').enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// The list that a text is meant to be in which something else than commas stands between expectations. `None`: it is none.
fn separated(text: &str) -> Option<String> {
    let words = text.split_whitespace().filter(|word| !word.eq_ignore_ascii_case("and"));
    let mut text = words.collect::<Vec<_>>().join(" ");
    for sign in ["<", "=", ">"] {
        text = text.replace(&format!(" {sign}"), sign).replace(&format!("{sign} "), sign);
    }
    let parts = text.split([' ', ';', '&', '|', '+']).filter(|part| !part.is_empty());
    // What has no bound has one in the hint.
    let read = |part: &str| {
        let bounded = [part.to_owned(), format!("{part}<250ms"), format!("{part}=0")];
        bounded.iter().find_map(|part| Expectation::read(part).ok()).map(|read| read.to_string())
    };
    parts.map(read).collect::<Option<Vec<_>>>().filter(|parts| parts.len() > 1).map(|parts| parts.join(", "))
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
        if let Some(percent) = bound.strip_suffix('%') {
            let no_share = || format!("{quantity} has no percentage; connected and done have, as in done>=99.9%");
            let name = SHARES.into_iter().find(|name| *name == quantity).ok_or_else(no_share)?;
            let percent = percent.trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
            let percent = percent.ok_or_else(|| format!("{bound} is not from 0% to 100%, as in done>=99.9%"))?;
            if (relation, percent) == (Relation::More, 100.0) || (relation, percent) == (Relation::Less, 0.0) {
                return Err(format!("no share is {relation}{bound}; a share looks like done>=99.9%"));
            }
            return Ok(Self::Share { name, relation, percent });
        }
        if let Some(name) = count_named(quantity) {
            let no_number = |_| format!("{name} is a count, and {bound:?} is no whole number, as in {name}=0");
            let bound = bound.parse().map_err(no_number)?;
            if (relation, bound) == (Relation::Less, 0) {
                return Err(format!("no count is less than none; where {name} is to be none: {name}=0"));
            }
            return Ok(Self::Count { name, relation, bound });
        }
        let named = |kind: &&&str| quantity.strip_prefix(**kind).is_some_and(|rest| rest.starts_with('.'));
        let (kind, measure) = match Stats::KINDS.iter().find(named) {
            Some(kind) => (*kind, quantity.get(kind.len() + 1..).unwrap_or_default()),
            None => ("delivery", quantity),
        };
        let unknown = || {
            let meant = match quantity.split_once('.') {
                Some((kind, _)) => format!("{}.p99", nearest(kind, Stats::KINDS.iter().copied())),
                None => nearest(quantity, count_names().chain(LATENCIES)).to_owned(),
            };
            format!("nothing is called {quantity:?}; did you mean {meant}?")
        };
        let measure = Measure::read(measure, unknown)?;
        let no_time = || format!("{quantity} is a latency, and {bound:?} is no time, as in {quantity}<250ms");
        let bound = parse_duration(bound).ok_or_else(no_time)?;
        if (relation, bound) == (Relation::Less, Duration::ZERO) {
            return Err(format!("no latency is less than no time; a latency looks like {quantity}<250ms"));
        }
        Ok(Self::Latency { kind, measure, relation, bound })
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
    use crate::outcome::Outcome;

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
            ("connected>100%", r#"part 1 ("connected>100%"): no share is >100%; a share looks like done>=99.9%"#),
            ("done<0%", r#"part 1 ("done<0%"): no share is <0%; a share looks like done>=99.9%"#),
            ("lost<0", r#"part 1 ("lost<0"): no count is less than none; where lost is to be none: lost=0"#),
            ("p99<0ms", r#"part 1 ("p99<0ms"): no latency is less than no time; a latency looks like p99<250ms"#),
            ("clean p99<1s", r#"part 1 ("clean p99<1s"): commas stand between expectations: clean, p99<1s"#),
            ("clean;lost=0", r#"part 1 ("clean;lost=0"): commas stand between expectations: clean, lost=0"#),
            ("clean and p99<1s", r#"part 1 ("clean and p99<1s"): commas stand between expectations: clean, p99<1s"#),
            (
                "lost=0 && p99<1s, clean",
                r#"part 1 ("lost=0 && p99<1s"): commas stand between expectations: lost=0, p99<1s"#,
            ),
            ("clean p99", r#"part 1 ("clean p99"): commas stand between expectations: clean, p99<250ms"#),
            ("done>x%", r#"part 1 ("done>x%"): x% is not from 0% to 100%, as in done>=99.9%"#),
        ] {
            assert_eq!(told(text), expected);
        }
    }
}
