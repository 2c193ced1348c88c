//! Combines the phases and the seconds of many processes by the wall clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::part::{MergeError, Part, seconds};
use crate::last_receivers::LastReceivers;
use crate::latencies::Latencies;
use crate::outcome::{self, Quantiles};
use crate::report::document::Second;
use crate::report::of_outcome::percentiles;
use crate::stats::{Counters, Stats};

/// The kind whose latencies are known only from all threads and processes together.
const COMPLETION: &str = "completion";

/// A sum of histograms.
#[derive(Default)]
struct Sum {
    stats: Stats,
    /// Kinds whose sum is unknown because a part has lost its histogram.
    unknown: BTreeSet<String>,
}

impl Sum {
    /// Adds the histograms of a part. `measured`: the kinds with measurements; `receipts`: the part's last receipts,
    /// which are subtracted from the histogram of completions and added when all are known.
    fn add<'a>(
        &mut self,
        part: &Part<'_>,
        measured: impl Iterator<Item = &'a String>,
        histograms: &BTreeMap<String, String>,
        receipts: Option<&Latencies>,
    ) -> Result<(), MergeError> {
        for kind in measured {
            let Some(packed) = histograms.get(kind) else {
                self.unknown.insert(kind.clone());
                continue;
            };
            let latencies = Latencies::unpack(packed).ok_or_else(|| MergeError::Histogram(part.path.to_owned()))?;
            if let Some(sum) = self.stats.kind_mut(kind) {
                let receipts = receipts.filter(|_| kind == COMPLETION);
                sum.merge(&receipts.map_or_else(|| latencies.clone(), |receipts| latencies.without(receipts)));
            }
        }
        Ok(())
    }

    /// The sum, with these last receivers, and without the unknown kinds.
    fn with(mut self, receipts: Option<&Latencies>) -> Stats {
        if let Some(receipts) = receipts {
            self.stats.completion.merge(receipts);
        }
        for kind in &self.unknown {
            if let Some(latencies) = self.stats.kind_mut(kind) {
                latencies.reset();
            }
        }
        self.stats
    }
}

/// Phases of several processes with the same name.
struct Together<'a> {
    /// Its name, and the number of earlier phases with this name in a report.
    name: (&'a str, usize),
    start: Duration,
    end: Duration,
    sum: Sum,
}

/// The phases of all processes: those with the same name are combined, from the first start to the last end. If a name
/// repeats, the first ones are combined, then the second ones, and so on.
pub(super) fn phases(parts: &[Part<'_>], last: &LastReceivers) -> Result<Vec<outcome::Phase>, MergeError> {
    let mut phases: Vec<Together<'_>> = Vec::new();
    for part in parts {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let starts = part.report.phases.iter().map(|phase| seconds(phase.start));
        let ends = starts.skip(1).chain([Duration::MAX]);
        for (phase, end_of_receipts) in part.report.phases.iter().zip(ends) {
            let times = seen.entry(phase.name.as_str()).or_default();
            let name = (phase.name.as_str(), *times);
            *times += 1;
            let start = part.later + seconds(phase.start);
            let end = start + seconds(phase.seconds);
            let known = phases.iter().position(|together| together.name == name).unwrap_or_else(|| {
                phases.push(Together { name, start, end, sum: Sum::default() });
                phases.len() - 1
            });
            let Some(together) = phases.get_mut(known) else { continue };
            (together.start, together.end) = (start.min(together.start), end.max(together.end));
            together.sum.stats.counters +=
                Counters { sent: phase.sent, deliveries: phase.deliveries, ..Counters::default() };
            let receipts = part.receipts.between(seconds(phase.start), end_of_receipts);
            together.sum.add(part, phase.latencies.keys(), &phase.histograms, receipts.as_ref())?;
        }
    }
    phases.sort_by_key(|together| together.start);
    let ends: Vec<Duration> = phases.iter().skip(1).map(|next| next.start).chain([Duration::MAX]).collect();
    let receipts = last.by_time();
    let whole = |(together, end_of_receipts): (Together<'_>, Duration)| outcome::Phase {
        name: together.name.0.to_owned(),
        start: together.start,
        duration: together.end.saturating_sub(together.start),
        stats: together.sum.with(receipts.between(together.start, end_of_receipts).as_ref()),
    };
    Ok(phases.into_iter().zip(ends).map(whole).collect())
}

/// The seconds of all processes: those that began in the same second since the start of the first process are combined.
pub(super) fn series(
    parts: &[Part<'_>],
    last: &LastReceivers,
    phases: &[outcome::Phase],
) -> Result<Vec<Second>, MergeError> {
    let mut together: BTreeMap<u64, Vec<(&Part<'_>, &Second)>> = BTreeMap::new();
    for part in parts {
        for second in &part.report.series {
            together.entry((part.later + seconds(second.start)).as_secs()).or_default().push((part, second));
        }
    }
    let receipts = last.by_time();
    let phase_of = |at: Duration| phases.iter().take_while(|phase| phase.start <= at).count().saturating_sub(1);
    let mut series = Vec::new();
    for (second, seconds_of_parts) in together {
        let at = Duration::from_secs(second);
        let mut whole = Second { phase: phase_of(at) as u64, ..Second::empty(at.as_secs_f64()) };
        let mut sum = Sum::default();
        let mut counted = BTreeSet::new();
        for (part, second) in seconds_of_parts {
            // If a phase boundary divides a second, the later part determines its end.
            whole.add(second, counted.insert(part.path));
            let (from, until) = (seconds(second.start), seconds(second.end()));
            sum.add(part, second.latencies.keys(), &second.histograms, part.receipts.between(from, until).as_ref())?;
        }
        let stats = sum.with(receipts.between(at, at + Duration::from_secs(1)).as_ref());
        for (kind, latencies) in Stats::KINDS.iter().zip(stats.kinds()).filter(|(_, latencies)| latencies.count() > 0) {
            whole.latencies.insert((*kind).to_owned(), percentiles(&Quantiles::from(latencies)));
            whole.histograms.insert((*kind).to_owned(), latencies.pack());
        }
        series.push(whole);
    }
    Ok(series)
}
