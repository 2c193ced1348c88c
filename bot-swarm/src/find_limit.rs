//! The search for the highest load that keeps the expectations.
//!
//! Each load is a separate run, from the first connection to the last close, and is judged once all bots are connected.
//! So the effects of one load do not spoil the next, and connecting does not spoil the load. [`search`] selects the
//! next load; this module makes, runs and judges it.

pub mod find;
mod limit_report;
pub mod search;

use std::time::Duration;

pub use limit_report::{LimitReport, LoadReport, SCHEMA_VERSION};
use search::{Bounds, Search, Trial};

use crate::clock::Host;
use crate::config::Config;
use crate::expect::Expectations;
use crate::open_files;
use crate::progress::Progress;
use crate::report::document::{Judgement, Report};
use crate::server_stages;
use crate::stop::StopHandle;
use crate::swarm::{self, RunError};
pub use find::Find;

/// The longest time in which the bots of a load connect, in seconds, whatever their number; fewer bots connect at
/// `BOT_RAMP_PER_SECOND`.
const RAMP_SECONDS_MAX: f64 = 10.0;

/// The share of a load's time before the judgement begins, so that the effects of connecting are over.
const SETTLE_SHARE: f64 = 0.2;

/// The longest pause after a load, in which the server can clean up; the pause is as long as the load, up to this
/// limit.
const REST_MAX: Duration = Duration::from_secs(1);

/// The default expectations of a search, if only the general default is set.
const EXPECT_DEFAULT: &str = "p99<250ms, clean";

/// The configuration of the run for a load.
pub fn load_config(config: &Config, load: u32) -> Config {
    let of_all = config.messages_per_second * f64::from(config.count);
    let mut made = Config { profile: None, ..config.clone() };
    match config.find {
        Find::Bots => made.count = load,
        Find::Messages => made.messages_per_second = f64::from(load) / f64::from(config.count),
        Find::Room => {
            made.rooms = (config.count / load).max(1);
            made.count = made.rooms * load;
            made.messages_per_second = of_all / f64::from(made.count);
        }
    }
    made.ramp_per_second = made.ramp_per_second.max(f64::from(made.count) / RAMP_SECONDS_MAX);
    made.warm_up_seconds = f64::from(made.count) / made.ramp_per_second + SETTLE_SHARE * config.find_seconds;
    made.seconds = made.warm_up_seconds + config.find_seconds;
    made
}

/// Searches for the limit of a server. A search that ends early returns a report with the reason and the results so
/// far. If [`Config::report`] names a folder, the results so far are written there after each load.
///
/// Must be called within an actix system.
///
/// # Errors
/// [`RunError`] if not even the first load could be run.
pub async fn find_limit(
    config: &Config,
    stop: &StopHandle,
    progress: &mut dyn Progress,
) -> Result<LimitReport, RunError> {
    let mut config = config.clone();
    if config.expect == Expectations::clean()
        && let Ok(expect) = EXPECT_DEFAULT.parse()
    {
        config.expect = expect;
    }
    let mut search = Search::new(Bounds {
        start: config.find_start,
        factor: config.find_factor,
        most: config.find_most.min(most_bots(&config)),
        precision: config.find_precision,
    });
    let mut found = LimitReport::new(&config);
    while let Some(load) = search.next() {
        let report = match run_load(&load_config(&config, load), stop, progress).await {
            // A load that was interrupted is not judged.
            Ok(_) if stop.is_stopped() => {
                found.end_early("the search was stopped".to_owned());
                break;
            }
            Ok(report) => report,
            Err(error) if found.loads.is_empty() => return Err(error),
            Err(error) => {
                found.end_early(format!("{load} {} could not be run: {error}", config.find.unit()));
                break;
            }
        };
        let (report, trial) = judged(report);
        log::info!("{load} {}: {}", config.find.unit(), report.verdict.line);
        search.record(load, trial);
        found.take(load, report, search.limit());
        found.is_unmeasured = search.unmeasured().is_some();
        if let Some(folder) = &config.report
            && let Err(error) = found.write(folder)
        {
            log::warn!("the report of the search so far cannot be written: {}: {error}", folder.display());
        }
        if found.is_unmeasured {
            break;
        }
        actix_rt::time::sleep(REST_MAX.min(Duration::from_secs_f64(config.find_seconds))).await;
    }
    found.end();
    Ok(found)
}

/// The report of a load, and its result for the search. If nothing was measured, the load does not count as broken.
fn judged(mut report: Report) -> (Report, Trial) {
    let trial = match report.verdict.judgement {
        Judgement::Kept => Trial::Kept,
        Judgement::Broken => Trial::Broken,
        Judgement::Invalid => Trial::Invalid,
    };
    let Some(why) = report.unmeasured().filter(|_| trial == Trial::Broken) else { return (report, trial) };
    report.verdict.line = format!("INVALID: {why}");
    report.verdict.judgement = Judgement::Invalid;
    report.verdict.doubts.push(why);
    (report, Trial::Unmeasured)
}

/// The highest load that the limit of open files allows.
fn most_bots(config: &Config) -> u32 {
    let fits = || match open_files::check(u32::MAX, config.workers, open_files::raise_limit()) {
        Err(too_many) => u32::try_from(too_many.fits).unwrap_or(u32::MAX),
        Ok(()) => u32::MAX,
    };
    match config.find {
        Find::Bots | Find::Room => fits(),
        Find::Messages => u32::MAX,
    }
}

async fn run_load(config: &Config, stop: &StopHandle, progress: &mut dyn Progress) -> Result<Report, RunError> {
    let stages = server_stages::Watch::of(config)?;
    let outcome = swarm::run_watching(Host::this(), config, stages, stop, progress).await?;
    Ok(Report::of(&outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(find: Find) -> Config {
        Config { find, count: 1_000, messages_per_second: 0.5, ramp_per_second: 50.0, ..Config::default() }
    }

    fn about(is: f64, should: f64) {
        assert!((is / should - 1.0).abs() < 1e-9, "{is} instead of {should}");
    }

    #[test]
    fn more_bots_are_each_as_talkative() {
        let made = load_config(&config(Find::Bots), 2_000);
        assert_eq!((made.count, made.rooms), (2_000, 1));
        about(made.messages_per_second, 0.5);
    }

    #[test]
    fn more_messages_are_shared_by_the_same_bots() {
        let made = load_config(&config(Find::Messages), 3_000);
        assert_eq!(made.count, 1_000);
        about(made.messages_per_second, 3.0);
    }

    #[test]
    fn larger_rooms_are_fewer_and_all_say_as_much() {
        for (load, rooms, bots) in
            [(1, 1_000, 1_000), (10, 100, 1_000), (300, 3, 900), (600, 1, 600), (2_000, 1, 2_000)]
        {
            let made = load_config(&config(Find::Room), load);
            assert_eq!((made.rooms, made.count), (rooms, bots), "{load}");
            about(made.messages_per_second * f64::from(made.count), 500.0);
        }
    }

    #[test]
    fn every_load_is_judged_for_as_long_once_all_bots_are_there() {
        for load in [10, 1_000, 50_000] {
            let made = load_config(&config(Find::Bots), load);
            let ramp = f64::from(made.count) / made.ramp_per_second;
            assert!(ramp <= RAMP_SECONDS_MAX + 1e-9, "{ramp}");
            about(made.seconds - made.warm_up_seconds, made.find_seconds);
            assert!(made.warm_up_seconds > ramp, "{ramp}");
        }
    }
}
