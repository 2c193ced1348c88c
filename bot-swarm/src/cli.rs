//! The command line, and the sources of the configuration.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use starling_process::manuals::ManualsCommand;

use crate::config::{Config, ConfigError, KNOBS, Knob, SCENARIO};
use crate::expect::Expectations;
use crate::merge::Demands;

/// The command that searches for a limit.
const FIND_LIMIT: &str = "find-limit";

/// The command that compares two reports.
const COMPARE: &str = "compare";

/// The flag that shows the configuration.
const PRINT_CONFIG: &str = "print-config";

/// Flags that the search's help shows besides the search's own.
const SHOWN_IN_SEARCH: [&str; 8] =
    ["server-url", "count", "rooms", "messages-per-second", "workers", "expect", "report", "server-metrics"];

/// The headings of the help, each with the first flag below it.
const SUBJECTS: [(&str, &str); 8] = [
    ("server-url", "The server"),
    ("count", "The bots"),
    ("messages-per-second", "Their messages"),
    ("behaviours", "Their behaviour"),
    ("seconds", "The run"),
    ("dialect", "Other servers"),
    ("expect", "The verdict and the reports"),
    ("find", "The search for a limit"),
];

/// The command that writes man pages and completions.
const MANUALS: &str = "manuals";

/// The command that merges reports.
const MERGE: &str = "merge";

/// The request of the command line.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// Run the swarm.
    Run(Config),
    /// Show the configuration and end.
    PrintConfig(Config),
    /// Search for the highest load that keeps the expectations.
    FindLimit(Config),
    /// Merge many reports into one.
    Merge {
        /// Report files, or folders that contain them.
        reports: Vec<PathBuf>,
        /// The expectations for the merged report, and the number of reports to wait for.
        demands: Demands,
        /// The folder for the merged report.
        folder: Option<PathBuf>,
    },
    /// Write man pages and shell completions.
    Manuals(ManualsCommand),
    /// Compare a report with an earlier one.
    Compare {
        /// The earlier report.
        before: PathBuf,
        /// The report that is judged.
        now: PathBuf,
    },
}

/// The command line: a flag for each knob.
pub fn command() -> Command {
    let print_config = Arg::new(PRINT_CONFIG)
        .long(PRINT_CONFIG)
        .action(ArgAction::SetTrue)
        .help("Print the configuration in force, and exit");
    // A command's help omits flags that it has no use for. Before the name of a command, any flag may stand.
    let of_run = flags().map(|(knob, flag)| flag.hide(knob.is_of_search()));
    let of_search = flags().filter(|(knob, _)| knob.counts_in_search());
    let of_search =
        of_search.map(|(knob, flag)| flag.hide(!knob.is_of_search() && !SHOWN_IN_SEARCH.contains(&knob.flag)));
    Command::new("bot-swarm")
        .version(starling_process::VERSION)
        .about("Many bots that load a chat server, check what arrives and measure how long it took")
        .max_term_width(120)
        .next_line_help(true)
        .after_help(
            "Every flag is also a variable of the environment, or of a file .env in the working directory.\n\
             Exit codes: 0: the run kept all expectations; 1: it did not; 2: the swarm itself was the limit, so \
             there is no result; 3: the run failed to start.",
        )
        .args(of_run)
        .arg(print_config.clone())
        .subcommand(
            Command::new(FIND_LIMIT)
                .about("Raises the load until it breaks an expectation, and narrows down the limit")
                .after_help(
                    "All other flags that control the bots are accepted, too: see bot-swarm --help. The search itself \
                     decides how long a load takes and when its bots connect.\n\
                     Exit codes: 0: a limit was found, or none up to --find-most; 1: even the least load failed; 2: the \
                     swarm itself was the limit; 3: could not run, or ended early; 4: nothing was measured.",
                )
                .args(of_search)
                .arg(print_config),
        )
        .subcommand(ManualsCommand::augment_args(
            Command::new(MANUALS).about("Writes the man pages, and the completions for bash, fish and zsh, to a folder"),
        ))
        .subcommand(
            Command::new(COMPARE)
                .about("Compares two reports; exit codes: 0: nothing is worse; 1: something is; 2: a run is not valid")
                .arg(report("before", "The earlier report.json, or its folder"))
                .arg(report("now", "The report.json to judge, or its folder")),
        )
        .subcommand(
            Command::new(MERGE)
                .about("Merges the reports of many processes and judges the result; exit codes as of a run")
                .arg(report("reports", "A report.json, its folder, or a folder of such folders").num_args(1..))
                .arg(
                    Arg::new("expect")
                        .long("expect")
                        .value_name("VALUE")
                        .value_parser(|text: &str| text.parse::<Expectations>())
                        .help("Expectations for the merged report; default: those of the single reports"),
                )
                .arg(
                    Arg::new("wait")
                        .long("wait")
                        .value_name("COUNT")
                        .value_parser(clap::value_parser!(u16).range(1..))
                        .help(
                            "Wait until this many recent reports exist and all runs on this host have ended; reports \
                             that are still missing half a minute later make the result invalid",
                        ),
                )
                .arg(
                    Arg::new("report")
                        .long("report")
                        .value_name("FOLDER")
                        .value_parser(clap::value_parser!(PathBuf))
                        .help("A folder for the merged report: report.json and report.html"),
                ),
        )
}

/// Each knob with its flag, below its heading.
fn flags() -> impl Iterator<Item = (&'static Knob, Arg)> {
    let mut subject = None;
    KNOBS.iter().map(move |knob| {
        let first = SUBJECTS.iter().find(|(first, _)| *first == knob.flag);
        subject = first.map(|(_, subject)| *subject).or(subject);
        (knob, flag(knob).help_heading(subject))
    })
}

fn flag(knob: &'static Knob) -> Arg {
    let flag = Arg::new(knob.flag).long(knob.flag).value_name("VALUE");
    // A switch like `--insecure` needs no value.
    let is_switch = knob.default == "false";
    let flag = if is_switch { flag.num_args(0..=1).require_equals(true).default_missing_value("true") } else { flag };
    let default = if knob.default.is_empty() { "empty" } else { knob.default };
    flag.allow_hyphen_values(!is_switch)
        .help(format!("{} [default: {default}]", knob.help))
        .long_help(format!("{}.\n[{}; {}; default: {default}]", knob.help, knob.variable, knob.range))
}

fn report(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).value_name("REPORT").value_parser(clap::value_parser!(PathBuf)).required(true).help(help)
}

/// Builds the request from the parsed flags and the environment, which already contains `.env`.
///
/// # Errors
/// [`ConfigError`] for the first wrong setting.
pub fn request(
    flags: &ArgMatches,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Request, ConfigError> {
    let command = flags.subcommand();
    if let Some((MANUALS, flags)) = command {
        // The parser has checked that the folder is given.
        return Ok(Request::Manuals(ManualsCommand::from_arg_matches(flags).unwrap_or_else(|error| error.exit())));
    }
    if let Some((COMPARE, reports)) = command {
        let path = |name| reports.get_one::<PathBuf>(name).cloned().unwrap_or_default();
        return Ok(Request::Compare { before: path("before"), now: path("now") });
    }
    if let Some((MERGE, flags)) = command {
        return Ok(Request::Merge {
            reports: flags.get_many::<PathBuf>("reports").into_iter().flatten().cloned().collect(),
            demands: Demands {
                expect: flags.get_one::<Expectations>("expect").cloned(),
                reports: flags.get_one::<u16>("wait").map(|count| usize::from(*count)),
            },
            folder: flags.get_one::<PathBuf>("report").cloned(),
        });
    }
    let behind = command.map(|(_, flags)| flags);
    let given = given(flags).chain(behind.into_iter().flat_map(given));
    let given: Vec<(String, String)> = environment.into_iter().chain(given).collect();
    let scenario = given.iter().rev().find(|(variable, value)| variable == SCENARIO && !value.is_empty());
    let scenario = scenario.map_or(Ok(Vec::new()), |(_, path)| Config::scenario_settings(path))?;
    let config = Config::from_settings(scenario.into_iter().chain(given))?;
    let prints = |flags: &ArgMatches| flags.get_flag(PRINT_CONFIG);
    Ok(match command {
        _ if prints(flags) || behind.is_some_and(prints) => Request::PrintConfig(config),
        Some(_) => Request::FindLimit(config),
        None => Request::Run(config),
    })
}

/// The settings from one command's flags.
fn given(flags: &ArgMatches) -> impl Iterator<Item = (String, String)> {
    KNOBS.iter().filter_map(|knob| {
        let value = flags.try_get_one::<String>(knob.flag).ok().flatten()?;
        Some((knob.variable.to_owned(), value.clone()))
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
    fn a_switch_needs_no_value() {
        for (flags, insecure) in [(&["--insecure"][..], true), (&["--insecure=false"], false), (&[], false)] {
            let Request::Run(config) = parse(flags, &[]).unwrap() else { panic!("asked to run") };
            assert_eq!(config.insecure, insecure, "{flags:?}");
        }
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
        // `compare` uses no settings, so a wrong one does not matter.
        let compare = parse(&["compare", "a.json", "b"], &[("BOT_COUNT", "none")]);
        assert_eq!(compare, Ok(Request::Compare { before: "a.json".into(), now: "b".into() }));
    }

    #[test]
    fn each_command_shows_the_flags_that_it_has_a_use_for() {
        let help = |name: &str| {
            let mut command = command();
            let command = if name.is_empty() { &mut command } else { command.find_subcommand_mut(name).unwrap() };
            let help = command.render_help().to_string();
            let flags = help.lines().filter_map(|line| line.trim_start().strip_prefix("--")?.split([' ', '[']).next());
            flags.filter(|flag| *flag != PRINT_CONFIG).map(str::to_owned).collect::<Vec<String>>()
        };
        assert_eq!(help(""), KNOBS.iter().filter(|k| !k.is_of_search()).map(|k| k.flag).collect::<Vec<_>>());
        let search = help(FIND_LIMIT);
        assert!(KNOBS.iter().filter(|k| k.is_of_search()).all(|k| search.iter().any(|flag| flag == k.flag)));
        assert_eq!(search.len(), 6 + SHOWN_IN_SEARCH.len(), "{search:?}");
        assert_eq!(help(COMPARE), Vec::<String>::new());
        for flag in ["--seconds", "--profile", "--warm-up-seconds"] {
            assert!(command().try_get_matches_from(["bot-swarm", FIND_LIMIT, flag, "5s"]).is_err(), "{flag}");
        }
        assert!(command().try_get_matches_from(["bot-swarm", FIND_LIMIT, "--seed", "5"]).is_ok());
    }
}
