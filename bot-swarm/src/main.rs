//! The process: settings in, a run, a report and an exit code out.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use bot_swarm::cli::{self, Request};
use bot_swarm::config::PREFIX;
use bot_swarm::report::folder;
use bot_swarm::server_stages::Watch;
use bot_swarm::{Report, StopHandle, compare, find_limit, progress};
use starling_process::{Environment, log_lines};

/// The variable that says which log lines are written.
const LOG_FILTER: &str = "RUST_LOG";

/// How long the end of the process waits for standard error to take the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The exit code of a swarm that could not run.
const COULD_NOT_RUN: u8 = 3;

fn main() -> ExitCode {
    let flags = match cli::command().try_get_matches() {
        Ok(flags) => flags,
        Err(answer) => {
            // Help and version are no errors. What is one must not end as an invalid run does, which is clap's way.
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
    let environment = Environment::read()?;
    let filter = environment.get(LOG_FILTER)?.unwrap_or("info");
    anyhow::ensure!(
        log_lines::is_filter(filter),
        "{LOG_FILTER}={filter:?} is not valid: it must be a level (off, error, warn, info, debug, trace) or a list like info,bot_swarm=debug"
    );
    log_lines::start(filter, log_lines::Format::Text)?;
    match cli::request(flags, environment.starting_with(PREFIX)?)? {
        Request::PrintConfig(config) => {
            print(&config.to_env())?;
            Ok(0)
        }
        Request::Run(config) => {
            let report = within_system(async |stop| {
                let mut progress = progress::to_stderr(config.profile().duration());
                let url = config.report.as_ref().and_then(|_| config.server_metrics_url());
                let watch = url.map(Watch::start);
                let outcome = bot_swarm::run(&config, &stop, &mut *progress).await?;
                Ok(Report::of(&outcome, watch.and_then(Watch::end)))
            })?;
            print(&report.to_string())?;
            if let Some(folder) = &config.report {
                folder::write(folder, &report).context("the report cannot be written")?;
            }
            Ok(report.exit_code())
        }
        Request::FindLimit(config) => {
            let found = within_system(async |stop| {
                Ok(find_limit::find_limit(&config, &stop, &mut *progress::to_stderr(None)).await?)
            })?;
            print(&found.to_string())?;
            if let Some(folder) = &config.report {
                found.write(folder).context("the report cannot be written")?;
            }
            Ok(found.exit_code())
        }
        Request::Compare { before, now } => {
            let comparison = compare::compare(&folder::read(&before)?, &folder::read(&now)?);
            print(&comparison.to_string())?;
            Ok(comparison.exit_code())
        }
    }
}

/// Runs something in an actix system that signals can stop.
fn within_system<T>(work: impl AsyncFnOnce(StopHandle) -> anyhow::Result<T>) -> anyhow::Result<T> {
    actix_rt::System::new().block_on(async {
        let stop = StopHandle::new();
        stop.listen_to_signals().context("signals cannot be listened to")?;
        work(stop).await
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("the result cannot be written")
}
