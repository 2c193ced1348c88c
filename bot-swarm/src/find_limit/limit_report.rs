//! The results of a search, and of each load.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use starling_process::diagnosis::What;

use super::search::{Ceiling, Limit};
use crate::config::{Config, KNOBS};
use crate::report::document::{Judgement, Percentiles, Report};
use crate::report::folder::{self, FolderError};
use crate::report::text::ms_text;
use crate::server_stages::ServerFigures;
use crate::units::grouped;

/// The version of the schema of `limit.json`.
pub const SCHEMA_VERSION: u32 = 1;

/// The result of a search for a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitReport {
    /// The version of this schema: 1.
    pub schema_version: u32,
    /// The quantity that was raised: `bots`, `messages` or `room`.
    pub find: String,
    /// The unit of the loads.
    pub unit: String,
    /// The expectations.
    pub expect: String,
    /// The highest load that kept the expectations; `null` if not even the least did.
    pub highest_kept: Option<u32>,
    /// The lowest load that broke the expectations; `null` if none did.
    pub lowest_broken: Option<u32>,
    /// The lowest load at which the swarm itself was the limit; `null` if every such load was above a load that broke
    /// the expectations.
    pub lowest_invalid: Option<u32>,
    /// The reason that the search ended before it found a limit; `null` if it did not. While the search goes on, and if
    /// it was killed, the text says so.
    #[serde(default)]
    pub ended_early: Option<String>,
    /// Whether the last load could not be judged because nothing was measured: no bot was connected, or no expected
    /// event happened. This ends the search.
    #[serde(default)]
    pub is_unmeasured: bool,
    /// Every run, in order.
    pub loads: Vec<LoadReport>,
    /// The configuration: every `BOT_*` variable and its value.
    pub config: BTreeMap<String, String>,
    #[serde(skip)]
    kept: Option<(u32, Report)>,
    #[serde(skip)]
    not_kept: Option<(u32, Report)>,
}

/// The result of one run of one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// The size of the load, in the `unit` of the search.
    pub load: u32,
    /// The verdict.
    pub judgement: Judgement,
    /// The verdict in one line.
    pub line: String,
    /// The latencies of deliveries; `null` if there were none.
    pub delivery: Option<Percentiles>,
    /// Messages that the bots sent, per second.
    pub sent_per_second: f64,
    /// Deliveries that the bots received, per second.
    pub deliveries_per_second: f64,
    /// What limited the server for most of the time, as `GET /api/diagnosis` names it; `null` if it shows no stages.
    pub limited_by_what: Option<What>,
    /// The same in words.
    pub limited_by: Option<String>,
    /// The figures of the server during the load; `null` if it shows no stages.
    pub server: Option<ServerFigures>,
}

/// The reason in the report of a search that has not ended.
const GOES_ON: &str = "the search has not ended: it is still running, or was killed";

impl LimitReport {
    /// The file for programs.
    pub const FILE: &str = "limit.json";

    /// A report without results, before the search ends.
    pub fn new(config: &Config) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            find: config.find.as_str().to_owned(),
            unit: config.find.unit().to_owned(),
            expect: config.expect.to_string(),
            highest_kept: None,
            lowest_broken: None,
            lowest_invalid: None,
            ended_early: Some(GOES_ON.to_owned()),
            is_unmeasured: false,
            loads: Vec::new(),
            config: KNOBS.iter().map(|knob| (knob.variable.to_owned(), knob.shown(config))).collect(),
            kept: None,
            not_kept: None,
        }
    }

    /// Marks the search as ended.
    pub(super) fn end(&mut self) {
        if self.ended_early.as_deref() == Some(GOES_ON) {
            self.ended_early = None;
        }
    }

    /// Marks the search as ended before it found a limit.
    pub(super) fn end_early(&mut self, why: String) {
        self.ended_early = Some(why);
    }

    /// Adds the result of a load, and the limit as known after it.
    pub(super) fn take(&mut self, load: u32, report: Report, limit: Limit) {
        let rate = |count: u64| if report.seconds > 0.0 { count as f64 / report.seconds } else { 0.0 };
        self.loads.push(LoadReport {
            load,
            judgement: report.verdict.judgement,
            line: report.verdict.line.clone(),
            delivery: report.latencies.get("delivery").map(|latency| latency.percentiles),
            sent_per_second: rate(report.messages.sent),
            deliveries_per_second: rate(report.ledger.deliveries),
            limited_by_what: report.server.as_ref().and_then(|server| server.what),
            limited_by: report.server.as_ref().map(|server| server.judgement.clone()),
            server: report.server.as_ref().map(|server| server.whole.clone()),
        });
        self.highest_kept = limit.highest_kept;
        (self.lowest_broken, self.lowest_invalid) = match limit.ceiling {
            Ceiling::Broken(load) => (Some(load), None),
            Ceiling::Invalid(load) => (None, Some(load)),
            Ceiling::Bounds => (None, None),
        };
        let is_kept = report.verdict.judgement == Judgement::Kept;
        let place = if is_kept { &mut self.kept } else { &mut self.not_kept };
        let ours = if is_kept { self.highest_kept } else { self.lowest_broken.or(self.lowest_invalid) };
        if Some(load) == ours || place.is_none() {
            *place = Some((load, report));
        }
    }

    /// The exit code of the process: 0: a limit was found; 1: not even the least load was kept; 2: the swarm was the
    /// limit; 3: the search ended early; 4: nothing was measured.
    pub fn exit_code(&self) -> u8 {
        if self.is_unmeasured {
            return 4;
        }
        if self.ended_early.is_some() {
            return 3;
        }
        match (self.highest_kept, self.lowest_invalid) {
            (_, Some(_)) => 2,
            (None, None) => 1,
            (Some(_), None) => 0,
        }
    }

    /// Writes `limit.json` into a folder, and beside it the full reports of the highest load that was kept (`kept/`)
    /// and of the lowest that was not (`not-kept/`). Files of an earlier search are replaced.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn write(&self, folder: &Path) -> Result<(), FolderError> {
        folder::write_json(&folder.join(Self::FILE), self)?;
        for (name, report) in [("kept", &self.kept), ("not-kept", &self.not_kept)] {
            let side = folder.join(name);
            match report {
                Some((_, report)) => folder::write(&side, report)?,
                None => folder::remove(&side)?,
            }
        }
        Ok(())
    }

    fn headline(&self) -> String {
        let Self { unit, expect, .. } = self;
        let known = |load: Option<u32>| load.map_or("none known".to_owned(), whole);
        let (kept, broken) = (known(self.highest_kept), known(self.lowest_broken.or(self.lowest_invalid)));
        let known = format!("{unit} that keep {expect}: {kept}, that do not: {broken}");
        if let Some(last) = self.loads.last().filter(|_| self.is_unmeasured) {
            return format!("{} (at {} {unit}); {known}", last.line, whole(last.load));
        }
        if let Some(why) = &self.ended_early {
            return format!("ENDED EARLY: {why}; {known}");
        }
        let line = match (self.highest_kept, self.lowest_broken, self.lowest_invalid) {
            (Some(kept), Some(broken), _) => {
                format!("LIMIT: {} {unit} keep {expect}, {} do not", whole(kept), whole(broken))
            }
            (Some(kept), None, Some(invalid)) => format!(
                "INVALID: {} {unit} keep {expect}, and at {} the swarm itself was the limit",
                whole(kept),
                whole(invalid)
            ),
            (Some(kept), None, None) => {
                format!("NO LIMIT: even {} {unit}, the most allowed, keep {expect}", whole(kept))
            }
            (None, _, Some(invalid)) => {
                format!("INVALID: even at {} {unit} the swarm itself was the limit", whole(invalid))
            }
            (None, _, None) => format!("BROKEN: not even a load of 1 ({unit}) keeps {expect}"),
        };
        line + &self.unsaid()
    }

    /// The notes of the verdict on the highest kept load, as in its first line.
    fn unsaid(&self) -> String {
        let kept = self.kept.as_ref().filter(|(load, _)| Some(*load) == self.highest_kept);
        let Some((load, report)) = kept.filter(|(_, report)| !report.verdict.notes.is_empty()) else {
            return String::new();
        };
        format!(" (at {} {}: {})", whole(*load), self.unit, report.verdict.notes.join("; "))
    }

    /// The last run of this load whose judgement agrees with the search's.
    fn run_of(&self, load: u32) -> Option<&LoadReport> {
        let is_kept = Some(load) == self.highest_kept;
        let mut runs = self.loads.iter().rev().filter(|run| run.load == load);
        runs.find(|run| (run.judgement == Judgement::Kept) == is_kept)
    }
}

fn whole(load: u32) -> String {
    grouped(load.into())
}

impl fmt::Display for LimitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        let knee = [self.highest_kept, self.lowest_broken.or(self.lowest_invalid)];
        for run in knee.into_iter().flatten().filter_map(|load| self.run_of(load)) {
            writeln!(f, "at {:<8} {}", whole(run.load), run.line)?;
            if let Some(server) = &run.server {
                if let Some(limited_by) = &run.limited_by {
                    writeln!(f, "  server    {limited_by}")?;
                }
                for stage in &server.stages {
                    let wait = stage
                        .wait_p99_ms
                        .map_or("no work came".to_owned(), |wait| format!("wait p99 {}", ms_text(wait)));
                    writeln!(f, "    {:<13}{:>4.0} %  {wait}", stage.stage, stage.utilisation * 100.0)?;
                }
            }
        }
        writeln!(f, "{:>10}  {:<8} {:>9} {:>9} {:>13}", "load", "", "p50", "p99", "deliveries/s")?;
        for run in &self.loads {
            let word = match run.judgement {
                Judgement::Kept => "kept",
                Judgement::Broken => "broken",
                Judgement::Invalid => "invalid",
            };
            let ms =
                |value: fn(&Percentiles) -> f64| run.delivery.as_ref().map_or("–".to_owned(), |p| ms_text(value(p)));
            let (p50, p99) = (ms(|p| p.p50), ms(|p| p.p99));
            writeln!(f, "{:>10}  {word:<8} {p50:>9} {p99:>9} {:>13.0}", whole(run.load), run.deliveries_per_second)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    fn found(loads: &[(u32, Judgement)], limit: Limit) -> LimitReport {
        let mut found = LimitReport::new(&Config { expect: "p99<250ms".parse().unwrap(), ..Config::default() });
        for (load, judgement) in loads {
            let mut report = example::report();
            report.verdict.judgement = *judgement;
            report.verdict.line = format!("the line of {load}");
            found.take(*load, report, limit);
        }
        found.end();
        found
    }

    #[test]
    fn both_sides_of_the_knee_are_told_with_the_servers_stages() {
        let limit = Limit { highest_kept: Some(1_000), ceiling: Ceiling::Broken(1_050) };
        let found = found(&[(1_000, Judgement::Kept), (1_050, Judgement::Kept), (1_050, Judgement::Broken)], limit);
        let text = found.to_string();
        assert!(
            text.starts_with("LIMIT: 1,000 bots keep p99<250ms, 1,050 do not\nat 1,000    the line of 1000\n"),
            "{text}"
        );
        assert!(text.contains("\nat 1,050    the line of 1050\n  server    Nothing is saturated"), "{text}");
        assert!(text.contains("    socket_write   "), "{text}");
        assert_eq!(found.exit_code(), 0);
    }

    #[test]
    fn what_was_not_found_is_said_and_ends_otherwise() {
        let ended = |highest_kept, ceiling| {
            let found = found(&[(5, Judgement::Kept)], Limit { highest_kept, ceiling });
            (found.to_string().split(':').next().unwrap().to_owned(), found.exit_code())
        };
        assert_eq!(ended(Some(5), Ceiling::Bounds), ("NO LIMIT".to_owned(), 0));
        assert_eq!(ended(Some(5), Ceiling::Invalid(9)), ("INVALID".to_owned(), 2));
        assert_eq!(ended(None, Ceiling::Invalid(1)), ("INVALID".to_owned(), 2));
        assert_eq!(ended(None, Ceiling::Broken(1)), ("BROKEN".to_owned(), 1));
    }

    #[test]
    fn the_folder_holds_the_limit_and_the_reports_of_both_sides() {
        let limit = Limit { highest_kept: Some(10), ceiling: Ceiling::Broken(20) };
        let found = found(&[(5, Judgement::Kept), (10, Judgement::Kept), (20, Judgement::Broken)], limit);
        let folder = tempfile::tempdir().unwrap();
        found.write(folder.path()).unwrap();
        for (side, line) in [("kept", "the line of 10"), ("not-kept", "the line of 20")] {
            assert_eq!(folder::read(&folder.path().join(side)).unwrap().verdict.line, line);
        }
        let json = std::fs::read(folder.path().join("limit.json")).unwrap();
        let read: LimitReport = serde_json::from_slice(&json).unwrap();
        assert_eq!((read.highest_kept, read.lowest_broken, read.loads.len()), (Some(10), Some(20), 3));
    }

    #[test]
    fn a_side_that_there_is_not_any_more_goes_with_its_report_and_leaves_what_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let write = |loads: &[(u32, Judgement)], highest_kept, ceiling| {
            found(loads, Limit { highest_kept, ceiling }).write(folder.path()).unwrap();
        };
        write(&[(5, Judgement::Kept), (6, Judgement::Broken)], Some(5), Ceiling::Broken(6));
        std::fs::write(folder.path().join("not-kept/notes"), "").unwrap();
        write(&[(5, Judgement::Kept)], Some(5), Ceiling::Bounds);
        assert!(!folder.path().join("not-kept/report.json").exists() && folder.path().join("not-kept/notes").exists());
        write(&[(5, Judgement::Broken)], None, Ceiling::Broken(5));
        assert!(!folder.path().join("kept").exists() && folder.path().join("not-kept/report.html").exists());
    }
}
