//! The command line, and where the configuration comes from.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::{Config, ConfigError, KNOBS, SCENARIO};

/// The command that searches a limit.
const FIND_LIMIT: &str = "find-limit";

/// The command that holds two reports against each other.
const COMPARE: &str = "compare";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Run the swarm.
    Run(Config),
    /// Show the configuration and end.
    PrintConfig(Config),
    /// Search the highest load that keeps what is expected.
    FindLimit(Config),
    /// Hold a report against an earlier one.
    Compare {
        /// The earlier one.
        before: PathBuf,
        /// The one that is judged.
        now: PathBuf,
    },
}

/// The command line: a flag for each knob.
pub fn command() -> Command {
    let knobs = KNOBS.iter().map(|knob| {
        Arg::new(knob.flag)
            .long(knob.flag)
            .value_name("VALUE")
            .allow_hyphen_values(true)
            .global(true)
            .help(format!("{} [{}; {}; default: {}]", knob.help, knob.variable, knob.range, knob.default))
    });
    Command::new("bot-swarm")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Many bots that load a chat server, check what arrives and measure how long it took")
        .after_help(
            "Every flag is also a variable of the environment, or of a file .env in the working directory.\n\
             Ends with 0: what was expected was kept; 1: it was not; 2: the swarm itself was the limit, so \
             nothing can be said; 3: could not run.",
        )
        .args(knobs)
        .subcommand(
            Command::new(FIND_LIMIT)
                .about("Raises the load until it breaks what is expected, and narrows down where (BOT_FIND*)"),
        )
        .subcommand(
            Command::new(COMPARE)
                .about("Says what got better and what got worse; ends with 1 where anything got worse")
                .arg(report("before", "A report.json, or the folder it is in"))
                .arg(report("now", "The one that is judged by it")),
        )
        .arg(
            Arg::new("print-config")
                .long("print-config")
                .global(true)
                .action(ArgAction::SetTrue)
                .help("Show the configuration as it is, and end"),
        )
}

fn report(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name("REPORT").value_parser(clap::value_parser!(PathBuf)).required(true).help(help)
}

/// Makes a request of the parsed flags and the environment (in which `.env` is already).
///
/// # Errors
/// [`ConfigError`] for the first setting that is wrong.
pub fn request(
    flags: &ArgMatches,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Request, ConfigError> {
    let given = KNOBS.iter().filter_map(|knob| {
        let is_given = flags.value_source(knob.flag) == Some(ValueSource::CommandLine);
        let value = flags.get_one::<String>(knob.flag).filter(|_| is_given)?;
        Some((knob.variable.to_owned(), value.clone()))
    });
    let given: Vec<(String, String)> = environment.into_iter().chain(given).collect();
    let scenario = given.iter().rev().find(|(variable, value)| variable == SCENARIO && !value.is_empty());
    let scenario = scenario.map_or(Ok(Vec::new()), |(_, path)| Config::scenario_settings(path))?;
    let config = Config::from_settings(scenario.into_iter().chain(given))?;
    Ok(match flags.subcommand() {
        _ if flags.get_flag("print-config") => Request::PrintConfig(config),
        Some((FIND_LIMIT, _)) => Request::FindLimit(config),
        Some((COMPARE, reports)) => {
            let path = |name| reports.get_one::<PathBuf>(name).cloned().unwrap_or_default();
            Request::Compare { before: path("before"), now: path("now") }
        }
        _ => Request::Run(config),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PREFIX;

    fn parse(flags: &[&str], environment: &[(&str, &str)]) -> Result<Request, ConfigError> {
        let matches = command().try_get_matches_from([&["bot-swarm"], flags].concat()).unwrap();
        request(&matches, environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn a_flag_counts_more_than_its_variable() {
        let Request::Run(config) = parse(&["--count", "5"], &[("BOT_COUNT", "4"), ("BOT_ROOMS", "2")]).unwrap() else {
            panic!("asked to run")
        };
        assert_eq!((config.count, config.rooms), (5, 2));
    }

    #[test]
    fn the_flags_are_named_like_the_variables() {
        for knob in KNOBS {
            let named = knob.variable.trim_start_matches(PREFIX).to_lowercase().replace('_', "-");
            assert_eq!(knob.flag, named);
        }
        command().debug_assert();
    }

    #[test]
    fn a_bad_flag_is_told_like_a_bad_variable() {
        let error = parse(&["--room-skew", "-1"], &[]).unwrap_err().to_string();
        assert_eq!(error, r#"BOT_ROOM_SKEW="-1" is not valid: it must be a number, 0 to 5"#);
    }

    #[test]
    fn the_configuration_is_printed_instead_of_run() {
        assert!(matches!(parse(&["--print-config"], &[]), Ok(Request::PrintConfig(_))));
    }

    #[test]
    fn a_command_takes_flags_before_and_behind_its_name() {
        for flags in [["find-limit", "--find", "room"], ["--find", "room", "find-limit"]] {
            let Request::FindLimit(config) = parse(&flags, &[]).unwrap() else { panic!("asked to search") };
            assert_eq!(config.find, crate::find_limit::Find::Room);
        }
        let compare = parse(&["compare", "a.json", "b"], &[]);
        assert_eq!(compare, Ok(Request::Compare { before: "a.json".into(), now: "b".into() }));
    }
}
