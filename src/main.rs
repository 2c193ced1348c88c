//! The chat server `starling`: arguments, configuration, run, exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use starling::history_commands::{BackupCommand, HistoryCommand, RestoreCommand};
use starling::token_command::TokenCommand;
use starling::{Config, Server, healthcheck, logging, service_manager};

/// glibc's allocator keeps holes between the connections (`docs/decisions/0016-the-allocator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A chat server made of actors. It is configured by its environment, or by a file `.env` in the current folder.
#[derive(Debug, Parser)]
#[command(version, after_help = starling::help::knobs(), after_long_help = starling::help::knobs())]
struct Arguments {
    /// Prints the configuration in force, in the form of a `.env`, and ends
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks the server that runs with this configuration whether it is ready, and ends with 0 if it is
    Healthcheck,
    /// Works with the stored history in `CHAT_HISTORY_PATH`, then ends
    #[command(subcommand)]
    History(HistoryCommand),
    /// Writes the stored history in `CHAT_HISTORY_PATH` to a file, while the server runs or not
    Backup(BackupCommand),
    /// Makes the stored history in `CHAT_HISTORY_PATH` from a backup; not while the server runs
    Restore(RestoreCommand),
    /// Prints a token signed with `CHAT_JWT_SECRET`, for trying out a server with `CHAT_AUTH=jwt`
    Token(TokenCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of standard output has closed it, so nobody is left to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            logging::say(&format!("starling: {error:#}"));
            logging::finish();
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_io =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    error.chain().any(|cause| is_io(cause) == Some(std::io::ErrorKind::BrokenPipe))
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    starling_process::start::prepare()?;
    let configuration = || anyhow::Ok(Config::from_variables(starling::environment::variables()?)?);
    let out = &mut std::io::stdout().lock();
    if arguments.print_config {
        write!(out, "{}", configuration()?)?;
        return Ok(());
    }
    match arguments.command {
        Some(Command::Healthcheck) => {
            actix_rt::System::new().block_on(healthcheck::ask(&configuration()?))?;
            writeln!(out, "ready")?;
            Ok(())
        }
        Some(Command::History(command)) => command.run(&configuration()?, out),
        Some(Command::Backup(command)) => command.run(&configuration()?, out),
        Some(Command::Restore(command)) => command.run(&configuration()?, out),
        Some(Command::Token(command)) => command.run(&configuration()?, out),
        None => actix_rt::System::new().block_on(async {
            // First, so that from here on signals work as docs/operations.md says.
            let stop = starling::shutdown::signal()?;
            let config = configuration()?;
            logging::start(&config.log, config.log_format.value)?;
            tokio::pin!(stop);
            let server = tokio::select! {
                server = Server::start(config) => server?,
                // It waits for NATS.
                () = &mut stop => return Ok(()),
            };
            let stop = service_manager::attend(&server, stop);
            server.run_until(stop).await?;
            logging::finish();
            Ok(())
        }),
    }
}
