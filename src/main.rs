//! The chat server `starling`: arguments, configuration, run, exit code.

use std::io::Write as _;
use std::process::ExitCode;

use starling::command_line::{self, Arguments, Command};
use starling::{Config, RunError, Server, healthcheck, logging, service_manager};

/// glibc's allocator keeps holes between the connections (`docs/decisions/0014-the-allocator.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (arguments, flags) = command_line::parse();
    match run(arguments, flags) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of standard output has closed it, so an error message would have no reader.
        Err(error) if is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            if !error.is::<RunError>() {
                logging::fail(&format_args!("{error:#}"));
            }
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

fn run(arguments: Arguments, flags: Vec<(String, String)>) -> anyhow::Result<()> {
    starling_process::start::prepare()?;
    let configuration = || anyhow::Ok(Config::from_variables(starling::environment::settings(flags)?)?);
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
        Some(Command::Moderate(command)) => actix_rt::System::new().block_on(command.run(&configuration()?, out)),
        Some(Command::Manuals(command)) => Ok(command.write(command_line::command())?),
        None => actix_rt::System::new().block_on(async {
            // First, so that signals work from here on as docs/operations.md describes.
            let stop = starling::shutdown::signal()?;
            let config = configuration()?;
            logging::start(&config.log, config.log_format.value)?;
            tokio::pin!(stop);
            let server = tokio::select! {
                server = Server::start(config) => server?,
                // The server may still be waiting for NATS.
                () = &mut stop => {
                    logging::finish();
                    return Ok(());
                }
            };
            let stop = service_manager::attend(&server, stop);
            server.run_until(stop).await?;
            logging::finish();
            Ok(())
        }),
    }
}
