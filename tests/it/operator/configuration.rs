//! The configuration that a program prints, and variables of other programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use starling::Config;

use super::text;
use crate::harness::{bot_swarm, starling};

#[test]
fn a_stack_variable_in_the_dotenv_file_is_for_compose_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".env"), "CHAT_PORT=21001\nCHAT_CPUS=2\n").unwrap();
    let output = starling().run(folder.path(), &["--print-config"], &[]);
    assert_eq!(text(&output.stdout), Config::default().to_string());
    // With a listening address set, CHAT_PORT is not a mistake.
    let output = starling().run(folder.path(), &["--print-config"], &[("CHAT_PORT", "1"), ("CHAT_BIND", "[::1]:9")]);
    assert!(text(&output.stdout).contains("CHAT_BIND=[::1]:9\n"), "{output:?}");
}

#[test]
fn what_kubernetes_adds_for_a_service_of_our_name_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let injected = |prefix: &str| {
        [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "8080"),
            ("SERVICE_PORT_HTTP", "8080"),
            ("PORT", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP_PROTO", "tcp"),
            ("PORT_8080_TCP_PORT", "8080"),
            ("PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("SERVER_SERVICE_HOST", "10.0.0.2"),
            ("SERVER_PORT", "tcp://10.0.0.2:80"),
        ]
        .map(|(name, value)| (format!("{prefix}_{name}"), value))
    };
    let of_chat = injected("CHAT");
    let variables: Vec<(&str, &str)> = of_chat.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let output = starling().run(folder.path(), &["--print-config"], &variables);
    assert_eq!(text(&output.stdout), Config::default().to_string(), "{output:?}");
    let bots = |variables: &[(String, &str)]| {
        let mut command = Command::new(bot_swarm().path());
        command.arg("--print-config").env_clear().current_dir(folder.path());
        text(&command.envs(variables.iter().map(|(name, value)| (name, value))).output().unwrap().stdout)
    };
    assert_eq!(bots(&injected("BOT")), bots(&[]));
    assert!(bots(&[]).contains("BOT_COUNT=100\n"));
}

/// A program's printed configuration: once with these variables, and once with the printed text as its `.env`.
fn printed_twice(program: &Path, variables: &[(&str, &str)]) -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let print = |variables: &[(&str, &str)]| {
        let mut command = Command::new(program);
        command.arg("--print-config").env_clear().current_dir(folder.path()).envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{variables:?}");
        text(&output.stdout)
    };
    let first = print(variables);
    fs::write(folder.path().join(".env"), &first).unwrap();
    [first, print(&[])]
}

#[test]
fn the_printed_configuration_can_be_read_back_whatever_the_values() {
    let server = Path::new(env!("CARGO_BIN_EXE_starling"));
    let awkward =
        ["a b", " a ", "#a", "a #b", "$HOME", "a$", "it's", "say \"hi\"", "back\\slash\\", "a\nb", "'\"$\\ #", "ü 🦉"];
    for value in awkward {
        let [first, again] = printed_twice(server, &[("CHAT_HISTORY_PATH", value)]);
        assert_eq!(first, again, "{value:?}");
        assert!(!first.contains("CHAT_HISTORY_PATH=data/starling.db\n"), "{value:?}: {first}");
        let [first, again] = printed_twice(bot_swarm().path(), &[("BOT_REPORT", value.trim())]);
        assert_eq!(first, again, "{value:?}");
    }
    for (variable, value) in [
        ("BOT_PROFILE", "ramp 30s to 500, hold 60s, spike 5s to 2000, hold 30s"),
        ("BOT_EXPECT", "clean, p99<250ms, connect.p99<1s, completion.max<=5s, reconnects=0"),
        (
            "BOT_BEHAVIOURS",
            "chatter=60,lurker=25,private=10,hopper=3,slow=1,churner=1,editor=5,reactor=5,reader=5,typist=5,flooder=0",
        ),
        ("BOT_SERVER_URL", "ws://[::1]:8080/ws?token=x&y=$z"),
    ] {
        let [first, again] = printed_twice(bot_swarm().path(), &[(variable, value)]);
        assert_eq!(first, again, "{variable}={value}");
        assert_ne!(first, printed_twice(bot_swarm().path(), &[])[0], "{variable}={value}");
    }
}
