//! Parses `/metrics` as strictly as Prometheus does.

use std::collections::{BTreeMap, BTreeSet};

use crate::{LOOK, Listens, raw, within};

/// A metric with all its series.
#[derive(Debug, Clone, Default)]
pub struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// The help text.
    pub help: String,
    /// The series, in the order of the text.
    pub samples: Vec<Sample>,
}

/// One line of the text: a series with its value.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The name; for a histogram, with the suffix `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// The labels, by name.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// The parsed answer of `/metrics`.
#[derive(Debug, Clone)]
pub struct Exposition {
    /// The metrics, by name.
    pub families: BTreeMap<String, Family>,
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.chars().all(allowed) && text.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

impl Exposition {
    /// Requests `/metrics` from a server.
    pub async fn scrape(server: impl Listens) -> Self {
        let answer = raw::get(server, "/metrics").await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{answer:?}");
        Self::parse(&answer.body)
    }

    /// Parses the text format. Panics if it is invalid.
    pub fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has no line break");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !families.contains_key(name), "{line}");
                name.clone_into(&mut current);
                families.insert(current.clone(), Family { help: help.to_owned(), ..Family::default() });
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(name, current, "the type follows the help: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                kind.clone_into(&mut families.get_mut(name).unwrap().kind);
            } else {
                let sample = Sample::parse(line);
                let family = families.get_mut(&current).unwrap();
                let suffix = sample.name.strip_prefix(&current).unwrap_or_else(|| panic!("{line} is of {current}"));
                let suffixes: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(suffixes.contains(&suffix), "{line}");
                family.samples.push(sample);
            }
        }
        let exposition = Self { families };
        exposition.families.iter().for_each(|(name, family)| family.check(name));
        exposition
    }

    /// The sum of all series with this name and these labels. Panics if there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let is_it = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|got| got == value))
        };
        let all = self.families.values().flat_map(|family| &family.samples);
        let found: Vec<f64> = all.filter(is_it).map(|sample| sample.value).collect();
        assert!(!found.is_empty(), "no series {name} with {labels:?}");
        found.iter().sum()
    }
}

/// Scrapes the server until `wanted` returns true, and returns that result.
pub async fn figures_when(server: impl Listens, what: &str, wanted: impl Fn(&Exposition) -> bool) -> Exposition {
    within(what, async {
        loop {
            let figures = Exposition::scrape(&server).await;
            if wanted(&figures) {
                return figures;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, labels) = match series.split_once('{') {
            None => (series, ""),
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
        };
        assert!(is_name(name), "{line}");
        let pairs = labels.split_terminator(',').map(|pair| {
            let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}"));
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            assert!(is_name(label), "{line}");
            (label.to_owned(), value.unwrap_or_else(|| panic!("{line}")).to_owned())
        });
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap_or_else(|_| panic!("{line}")) };
        Self { name: name.to_owned(), labels: pairs.collect(), value }
    }

    fn without_le(&self) -> BTreeMap<String, String> {
        self.labels.clone().into_iter().filter(|(label, _)| label != "le").collect()
    }
}

impl Family {
    /// The names of the labels, without `le`.
    pub fn label_names(&self) -> BTreeSet<String> {
        self.samples.iter().flat_map(|sample| sample.without_le().into_keys()).collect()
    }

    fn check(&self, name: &str) {
        assert!(!self.kind.is_empty() && !self.help.is_empty(), "{name} has help and type");
        assert!(!self.samples.is_empty(), "{name} has a series");
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            assert!(seen.insert((&sample.name, &sample.labels)), "{name} has a series twice: {sample:?}");
            assert!(self.kind == "gauge" || sample.value >= 0.0, "{sample:?}");
        }
        if self.kind == "histogram" {
            self.check_buckets(name);
        }
    }

    fn check_buckets(&self, name: &str) {
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let bound =
                if sample.labels["le"] == "+Inf" { f64::INFINITY } else { sample.labels["le"].parse().unwrap() };
            series.entry(sample.without_le()).or_default().push((bound, sample.value));
        }
        for (labels, buckets) in series {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}: {buckets:?}");
            let (bound, count) = *buckets.last().unwrap();
            let total = self.samples.iter().find(|s| s.name.ends_with("_count") && s.labels == labels).unwrap();
            assert!(bound.is_infinite() && (count - total.value).abs() < 0.5, "{name} {labels:?}");
        }
    }
}
