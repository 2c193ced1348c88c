//! The expectations for a run: `clean, p99<250ms, connect.p99<1s, reconnects=0`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ledger::Tally;
use crate::stats::{Counters, Stats};
use crate::units::{duration_text, parse_duration};

/// The name of [`Expectation::Clean`].
const CLEAN: &str = "clean";

/// Counts of an outcome that can be expected, besides the ledger's findings and the counters.
pub(crate) const COUNTS: [&str; 9] =
    ["unanswered", "deferred", "away", "errors", "connected", "never_connected", "planned", "done", "not_done"];

/// Counts that can be expected as a share of a total.
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

/// The expectations for a run; all must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectations(pub(crate) Vec<Expectation>);

/// One expectation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expectation {
    /// Everything planned was done, and nothing lost, doubled, reordered or misdelivered.
    Clean,
    /// A latency is within a bound.
    Latency { kind: &'static str, measure: Measure, relation: Relation, bound: Duration },
    /// A count is within a bound.
    Count { name: &'static str, relation: Relation, bound: u64 },
    /// A count is within a bound, in percent of its total.
    Share { name: &'static str, relation: Relation, percent: f64 },
}

/// A measure of many latencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// The value that this percentage of the latencies does not exceed.
    Percentile(f64),
    Max,
    Mean,
}

/// The required relation of a figure to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// A broken expectation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The expectation as it was written.
    pub expected: String,
    /// The actual value.
    pub actual: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.expected, self.actual)
    }
}

impl Expectations {
    /// The default: everything planned was done, and nothing lost, doubled, reordered or misdelivered.
    pub fn clean() -> Self {
        Self(vec![Expectation::Clean])
    }
}

impl Relation {
    /// Longer signs come first; otherwise `<=` would be read as `<`.
    const ALL: [(&'static str, Self); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Less), (">", Self::More), ("=", Self::Equal)];

    /// Whether a figure has this relation to its bound.
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

/// A text is not a list of expectations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("part {part} ({text:?}): {why}")]
pub struct NotExpectations {
    /// The number of the wrong part of the list, from 1.
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
                separated(text).map_or(why, |list| format!("separate expectations with commas: {list}"))
            });
            read.map_err(|why| NotExpectations { part: index + 1, text: text.to_owned(), why })
        };
        text.split(',').enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }
}

/// The list that the user meant, if something other than commas separates the expectations. `None` if there is none.
fn separated(text: &str) -> Option<String> {
    let words = text.split_whitespace().filter(|word| !word.eq_ignore_ascii_case("and"));
    let mut text = words.collect::<Vec<_>>().join(" ");
    for sign in ["<", "=", ">"] {
        text = text.replace(&format!(" {sign}"), sign).replace(&format!("{sign} "), sign);
    }
    let parts = text.split([' ', ';', '&', '|', '+']).filter(|part| !part.is_empty());
    // A part without a bound gets one in the hint.
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
    /// The reason, with an example.
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
            let no_share = || format!("{quantity} has no percentage, only connected and done, as in done>=99.9%");
            let name = SHARES.into_iter().find(|name| *name == quantity).ok_or_else(no_share)?;
            let percent = percent.trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
            let percent = percent.ok_or_else(|| format!("{bound} is not between 0% and 100%, as in done>=99.9%"))?;
            if (relation, percent) == (Relation::More, 100.0) || (relation, percent) == (Relation::Less, 0.0) {
                return Err(format!("a share cannot be {relation}{bound}; a share looks like done>=99.9%"));
            }
            return Ok(Self::Share { name, relation, percent });
        }
        if let Some(name) = count_named(quantity) {
            let no_number = |_| format!("{name} is a count, but {bound:?} is not a whole number, as in {name}=0");
            let bound = bound.parse().map_err(no_number)?;
            if (relation, bound) == (Relation::Less, 0) {
                return Err(format!("a count cannot be less than 0; write {name}=0 to allow none"));
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
            format!("{quantity:?} is unknown; did you mean {meant}?")
        };
        let measure = Measure::read(measure, unknown)?;
        let no_time = || format!("{quantity} is a latency, but {bound:?} is not a time, as in {quantity}<250ms");
        let bound = parse_duration(bound).ok_or_else(no_time)?;
        if (relation, bound) == (Relation::Less, Duration::ZERO) {
            return Err(format!("a latency cannot be less than 0; a latency looks like {quantity}<250ms"));
        }
        Ok(Self::Latency { kind, measure, relation, bound })
    }
}

/// Common measures of delivery latencies, as candidates for hints.
const LATENCIES: [&str; 4] = ["p50", "p99", "max", "mean"];

/// The name that is most similar to the given text.
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
                    .ok_or_else(|| format!("{text} is not between p0 and p100, as in p99.9"))
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
        assert!(broken("connected>=100%, done=0, planned=0", &outcome).is_empty());
        for expected in ["done>=100%", "done>=0%", "done<=100%"] {
            assert_eq!(broken(expected, &outcome), [format!("{expected}: nothing was measured")]);
        }
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
            ("p99<", r#"part 1 ("p99<"): p99 is a latency, but "" is not a time, as in p99<250ms"#),
            ("p99<5", r#"part 1 ("p99<5"): p99 is a latency, but "5" is not a time, as in p99<250ms"#),
            (
                "lost=0, connect.p99<1",
                r#"part 2 ("connect.p99<1"): connect.p99 is a latency, but "1" is not a time, as in connect.p99<250ms"#,
            ),
            ("p101<1s", r#"part 1 ("p101<1s"): p101 is not between p0 and p100, as in p99.9"#),
            ("lost=x", r#"part 1 ("lost=x"): lost is a count, but "x" is not a whole number, as in lost=0"#),
            ("lost=1s", r#"part 1 ("lost=1s"): lost is a count, but "1s" is not a whole number, as in lost=0"#),
            ("twise=0", r#"part 1 ("twise=0"): "twise" is unknown; did you mean twice?"#),
            ("conect.p99<1s", r#"part 1 ("conect.p99<1s"): "conect.p99" is unknown; did you mean connect.p99?"#),
            ("lost<1%", r#"part 1 ("lost<1%"): lost has no percentage, only connected and done, as in done>=99.9%"#),
            ("done>101%", r#"part 1 ("done>101%"): 101% is not between 0% and 100%, as in done>=99.9%"#),
            ("connected>100%", r#"part 1 ("connected>100%"): a share cannot be >100%; a share looks like done>=99.9%"#),
            ("done<0%", r#"part 1 ("done<0%"): a share cannot be <0%; a share looks like done>=99.9%"#),
            ("lost<0", r#"part 1 ("lost<0"): a count cannot be less than 0; write lost=0 to allow none"#),
            ("p99<0ms", r#"part 1 ("p99<0ms"): a latency cannot be less than 0; a latency looks like p99<250ms"#),
            ("clean p99<1s", r#"part 1 ("clean p99<1s"): separate expectations with commas: clean, p99<1s"#),
            ("clean;lost=0", r#"part 1 ("clean;lost=0"): separate expectations with commas: clean, lost=0"#),
            ("clean and p99<1s", r#"part 1 ("clean and p99<1s"): separate expectations with commas: clean, p99<1s"#),
            (
                "lost=0 && p99<1s, clean",
                r#"part 1 ("lost=0 && p99<1s"): separate expectations with commas: lost=0, p99<1s"#,
            ),
            ("clean p99", r#"part 1 ("clean p99"): separate expectations with commas: clean, p99<250ms"#),
            ("done>x%", r#"part 1 ("done>x%"): x% is not between 0% and 100%, as in done>=99.9%"#),
        ] {
            assert_eq!(told(text), expected);
        }
    }
}
