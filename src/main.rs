//! The chat server `starling`: arguments, configuration, run, exit code.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use starling::history_commands::HistoryCommand;
use starling::{Config, Server, logging};

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
    /// Works with the stored history in `CHAT_HISTORY_PATH`, then ends
    #[command(subcommand)]
    History(HistoryCommand),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starling: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the configuration is what was asked for")]
fn run(arguments: &Arguments) -> anyhow::Result<()> {
    starling::environment::load_dotenv()?;
    let config = Config::from_variables(starling::environment::variables()?)?;
    if arguments.print_config {
        print!("{config}");
        return Ok(());
    }
    if let Some(Command::History(command)) = &arguments.command {
        return command.run(&config, &mut std::io::stdout().lock());
    }
    logging::start(&config.log);
    actix_rt::System::new().block_on(async {
        // Before the server says that it listens: from then on it can be asked to stop.
        let stop = starling::shutdown::signal()?;
        let server = Server::start(config)?;
        server.run_until(stop).await?;
        Ok(())
    })
}
