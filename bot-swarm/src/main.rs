//! The process: settings in, a run, a report and an exit code out.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use bot_swarm::cli::{self, Request};
use bot_swarm::{StopHandle, progress};

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
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to do where even this cannot be written.
            drop(writeln!(std::io::stderr(), "bot-swarm: {error:#}"));
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(flags: &clap::ArgMatches) -> anyhow::Result<u8> {
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        return Err(error).context("the file .env cannot be read");
    }
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match cli::request(flags, cli::environment())? {
        Request::PrintConfig(config) => {
            print(&config.to_env())?;
            Ok(0)
        }
        Request::Run(config) => {
            let outcome = actix_rt::System::new().block_on(async {
                let stop = StopHandle::new();
                stop.listen_to_signals().context("signals cannot be listened to")?;
                anyhow::Ok(bot_swarm::run(&config, &stop, &mut *progress::to_stderr()).await?)
            })?;
            print(&outcome.to_string())?;
            Ok(outcome.verdict.exit_code())
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("the result cannot be written")
}
