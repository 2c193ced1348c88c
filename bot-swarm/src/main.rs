//! The process: reads settings, runs the swarm, writes a report and returns an exit code.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bot_swarm::cli::{self, Request};
use bot_swarm::config::PREFIX;
use bot_swarm::find_limit::LimitReport;
use bot_swarm::report::folder::{self, Claim, FolderError};
use bot_swarm::{Outcome, Report, StopHandle, compare, find_limit, merge, progress};
use starling_process::{Environment, log_lines};

/// The variable that selects the log lines.
const LOG_FILTER: &str = "RUST_LOG";

/// Crates whose lines are hidden unless requested: the metrics server logs its start and stop.
const LOWERED: &[&str] = &["actix_server", "actix_http", "actix_web"];

/// The time that the process waits at its end for standard error to accept the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The exit code of a swarm that could not run.
const COULD_NOT_RUN: u8 = 3;

fn main() -> ExitCode {
    let flags = match cli::command().try_get_matches() {
        Ok(flags) => flags,
        Err(answer) => {
            // Help and version are not errors. By default, clap exits with 2 on an error, which would mean an invalid
            // run.
            drop(answer.print());
            return ExitCode::from(if answer.use_stderr() { COULD_NOT_RUN } else { 0 });
        }
    };
    match run(&flags) {
        Ok(code) => {
            log_lines::flush(LAST_LINES);
            ExitCode::from(code)
        }
        Err(error) => {
            log_lines::say(&format!("bot-swarm: {error:#}"));
            log_lines::flush(LAST_LINES);
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(flags: &clap::ArgMatches) -> anyhow::Result<u8> {
    starling_process::start::prepare()?;
    let environment = Environment::read()?;
    let filter = environment.get(LOG_FILTER)?.unwrap_or("info");
    anyhow::ensure!(
        log_lines::is_filter(filter),
        "{LOG_FILTER}={filter:?} is not valid: it must be a level (off, error, warn, info, debug, trace) or a list like info,bot_swarm=debug"
    );
    log_lines::start(filter, log_lines::Format::Text, LOWERED)?;
    match cli::request(flags, environment.starting_with(PREFIX)?)? {
        Request::Manuals(manuals) => {
            manuals.write(cli::command())?;
            Ok(0)
        }
        Request::PrintConfig(config) => {
            print(&config.to_env())?;
            Ok(0)
        }
        Request::Run(config) => {
            prepare(config.report.as_deref(), &[folder::JSON, folder::PAGE])?;
            let not_ended = || Report::of(&Outcome::not_ended(&config));
            let claim = begin(config.report.as_deref(), |folder| folder::write(folder, &not_ended()))?;
            if let Some(left_out) = config.bots_left_out() {
                log::warn!("{left_out} when the run ends (BOT_SECONDS, BOT_RAMP_PER_SECOND)");
            }
            let report = within_system(async |stop| {
                let mut progress = progress::to_stderr(config.profile().duration());
                let outcome = bot_swarm::run(&config, &stop, &mut *progress).await?;
                Ok(Report::of(&outcome))
            })?;
            hand_over(&report.to_string(), config.report.as_deref(), |folder| folder::write(folder, &report))?;
            drop(claim);
            Ok(report.exit_code())
        }
        Request::FindLimit(config) => {
            prepare(config.report.as_deref(), &[LimitReport::FILE])?;
            let claim = begin(config.report.as_deref(), |folder| LimitReport::new(&config).write(folder))?;
            let found = within_system(async |stop| {
                Ok(find_limit::find_limit(&config, &stop, &mut *progress::to_stderr(None)).await?)
            })?;
            hand_over(&found.to_string(), config.report.as_deref(), |folder| found.write(folder))?;
            drop(claim);
            Ok(found.exit_code())
        }
        Request::Merge { reports, demands, folder } => {
            let folder = folder.as_deref();
            if let Some(folder) = folder {
                merge::refuse_into_itself(&reports, folder)?;
            }
            prepare(folder, &[folder::JSON, folder::PAGE])?;
            let claim = begin(folder, |folder| folder::write(folder, &merge::not_ended()))?;
            let read = |path: PathBuf| folder::read(&path).map(|report| (path, report));
            let found = match demands.reports {
                None => merge::find(&reports, folder)?,
                Some(count) => merge::wait(&reports, count, folder, &mut |state| log_lines::say(&state.to_string()))?,
            };
            let reports = found.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let merged = merge::merge(&reports, demands)?;
            hand_over(&merged.to_string(), folder, |folder| folder::write(folder, &merged))?;
            drop(claim);
            Ok(merged.exit_code())
        }
        Request::Compare { before, now } => {
            let comparison = compare::compare(&folder::read(&before)?, &folder::read(&now)?);
            print(&comparison.to_string())?;
            Ok(comparison.exit_code())
        }
    }
}

/// Runs a future in an actix system that signals can stop.
fn within_system<T>(work: impl AsyncFnOnce(StopHandle) -> anyhow::Result<T>) -> anyhow::Result<T> {
    actix_rt::System::new().block_on(async {
        let stop = StopHandle::new();
        stop.listen_to_signals().context("cannot listen to signals")?;
        work(stop).await
    })
}

/// Checks before a run whether its report can be written.
fn prepare(folder: Option<&Path>, files: &[&str]) -> anyhow::Result<()> {
    folder.map_or(Ok(()), |folder| folder::prepare(folder, files)).context("BOT_REPORT cannot be written to")
}

/// Claims a folder as long as the result is kept, and writes a report there that the work has not ended. If this
/// process is killed, that report remains, so nobody takes the result of an earlier run for this one's.
fn begin(
    folder: Option<&Path>,
    not_ended: impl FnOnce(&Path) -> Result<(), FolderError>,
) -> anyhow::Result<Option<Claim>> {
    let Some(folder) = folder else { return Ok(None) };
    let claim = folder::claim(folder).and_then(|claim| not_ended(folder).map(|()| claim));
    claim.map(Some).context("BOT_REPORT cannot be written to")
}

/// Writes the result: the files first, so that they exist even if standard output fails.
fn hand_over(
    text: &str,
    folder: Option<&Path>,
    write: impl FnOnce(&Path) -> Result<(), FolderError>,
) -> anyhow::Result<()> {
    let written = folder.map_or(Ok(()), write);
    if let Err(error) = print(text) {
        // The exit code is the verdict in any case; a failure to write this line is ignored.
        log_lines::say(&format!("bot-swarm: {error:#}"));
    }
    written.context("the report cannot be written")
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("the result cannot be written")
}
