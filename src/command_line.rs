//! The command line of `starling`: its commands, and a flag for each knob that is not a secret.

use clap::builder::UnknownArgumentValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use starling_process::manuals::ManualsCommand;

use crate::config::{Config, EXPECTED_NAMES, Knob, PREFIX, PUBLISHED_PORT};
use crate::history_commands::{BackupCommand, HistoryCommand, RestoreCommand};
use crate::moderate_command::ModerateCommand;
use crate::token_command::TokenCommand;

/// Ends the help.
const SOURCES: &str = "\
Each setting is a flag, a variable of the environment, or a line in a file .env in the current folder. A flag overrides \
the variable, and the variable overrides the file. A secret has no flag, because every user of the machine can read the \
arguments of a process.";

/// The greatest width of the help, in columns.
const COLUMNS_MAX: usize = 120;

/// Most letters that a typing error adds or leaves out.
const TYPING_ERROR_LETTERS: usize = 4;

/// A chat server made of actors
#[derive(Debug, Parser)]
#[command(version = starling_process::VERSION)]
pub struct Arguments {
    /// Prints the configuration in force, in the form of a `.env`, and ends
    #[arg(long)]
    pub print_config: bool,
    /// The command; without one, the server starts.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command other than starting the server.
#[derive(Debug, Subcommand)]
pub enum Command {
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
    /// Mutes, bans, invites and sets up rooms, on the server that runs with this configuration
    #[command(subcommand)]
    Moderate(ModerateCommand),
    /// Writes the man pages, and the completions for bash, fish and zsh, to a folder
    Manuals(ManualsCommand),
}

/// Parses the arguments of this process: what to do, and the settings given as flags, each under the name of its
/// variable. Ends the process on a wrong argument, after `--help` and after `--version`.
pub fn parse() -> (Arguments, Vec<(String, String)>) {
    let mut whole = command();
    let matches = whole.try_get_matches_from_mut(std::env::args_os());
    let matches = matches.unwrap_or_else(|error| helpful(error, &whole).exit());
    // Values that are right each, but not together, are found here. The usage below the error is that of the command.
    let wrong = |error: clap::Error| error.format(&mut called(&whole, &matches)).exit();
    (Arguments::from_arg_matches(&matches).unwrap_or_else(wrong), settings(&matches))
}

/// Drops a tip that no typing error explains: each command has the flags of all settings, so clap finds one that begins alike.
fn helpful(mut error: clap::Error, command: &clap::Command) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.split(' ').next(),
        _ => None,
    };
    // The tip of a known flag names another one on purpose.
    let is_known = |flag: &str| command.get_arguments().any(|arg| arg.get_long() == flag.strip_prefix("--"));
    let is_typing_error = |(given, meant): (&str, &str)| given.len().abs_diff(meant.len()) <= TYPING_ERROR_LETTERS;
    let tip = text(ContextKind::InvalidArg).zip(text(ContextKind::SuggestedArg));
    if tip.is_some_and(|tip| !is_known(tip.0) && !is_typing_error(tip)) {
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// The command that the arguments name.
fn called(command: &clap::Command, matches: &ArgMatches) -> clap::Command {
    let behind = matches.subcommand().and_then(|(name, behind)| Some(called(command.find_subcommand(name)?, behind)));
    behind.unwrap_or_else(|| command.clone())
}

/// The whole command line. The help of a command does not repeat the flags, but accepts them.
pub fn command() -> clap::Command {
    let knobs = Config::knobs();
    let secrets = knobs.iter().filter(|knob| knob.is_secret);
    let secrets = secrets.map(|knob| format!("\n  {}\n          {} [{}]", knob.variable, knob.about, knob.range));
    // Names that other programs have for a flag.
    let expected = EXPECTED_NAMES.into_iter().chain([(PUBLISHED_PORT, "CHAT_BIND")]);
    let expected = expected.map(|(variable, meant)| {
        let tip = UnknownArgumentValueParser::suggest_arg(format!("--{}", flag_name(meant)));
        Arg::new(variable).long(flag_name(variable)).value_name("VALUE").hide(true).value_parser(tip)
    });
    let command = Arguments::command()
        .max_term_width(COLUMNS_MAX)
        .next_line_help(true)
        .after_help(format!("Secrets:{}\n\n{SOURCES}", secrets.collect::<String>()))
        .mut_subcommands(|command| with_hidden_flags(command, &knobs));
    command.args(knobs.iter().map(flag)).args(expected)
}

/// Adds the flags to a command and to its own commands, except those whose name means something else there.
fn with_hidden_flags(command: clap::Command, knobs: &[Knob]) -> clap::Command {
    let taken: Vec<String> = command.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect();
    let flags = knobs.iter().map(flag).filter(|flag| !taken.iter().any(|long| flag.get_long() == Some(long)));
    command.args(flags.map(|flag| flag.hide(true))).mut_subcommands(|command| with_hidden_flags(command, knobs))
}

/// The flag of a knob. The flag of a secret only names the variable to set.
fn flag(knob: &Knob) -> Arg {
    let Knob { variable, subject, default, range, about, is_secret } = knob;
    let flag = Arg::new(*variable).long(flag_name(variable));
    if *is_secret {
        let advice = format!("a secret has no flag; set the variable {variable}");
        return flag.value_name("VALUE").hide(true).value_parser(UnknownArgumentValueParser::suggest(advice));
    }
    let first_sentence = about.split_once(". ").map_or(about.trim_end_matches('.'), |(sentence, _)| sentence);
    let default = if default.is_empty() { "empty" } else { default };
    flag.value_name("VALUE")
        .allow_hyphen_values(true)
        .help_heading(*subject)
        .help(format!("{first_sentence} [default: {default}]"))
        .long_help(format!("{about}\n[{variable}; {range}; default: {default}]"))
}

/// The flag of a variable, without its dashes.
fn flag_name(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).to_lowercase().replace('_', "-")
}

/// The settings from the flags before and after the name of a command. If two set the same variable, the later one
/// wins.
fn settings(matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |variable: &str| matches.try_get_one::<String>(variable).ok().flatten().cloned();
    let knobs = Config::knobs().into_iter().map(|knob| knob.variable);
    let own = knobs.filter_map(|variable| Some((variable.to_owned(), given(variable)?)));
    let behind = matches.subcommand().map(|(_, matches)| settings(matches));
    own.chain(behind.into_iter().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Vec<(String, String)> {
        settings(&command().try_get_matches_from([&["starling"], arguments].concat()).unwrap())
    }

    #[test]
    fn the_flags_fit_together() {
        command().debug_assert();
    }

    #[test]
    fn a_flag_counts_before_and_behind_a_command() {
        for arguments in [
            &["--history-path", "a.db", "backup", "file"][..],
            &["backup", "--history-path", "a.db", "file"],
            &["--history-path=b.db", "history", "check", "--history-path=a.db"],
        ] {
            let last = given(arguments).pop();
            assert_eq!(last, Some(("CHAT_HISTORY_PATH".to_owned(), "a.db".to_owned())), "{arguments:?}");
        }
        // The rooms of a token are not a knob.
        assert_eq!(given(&["token", "ann", "--rooms", "dev"]), []);
    }
}
