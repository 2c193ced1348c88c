//! The program: its arguments, its exit codes, and the signals that stop it.

use std::process::{Command, Output, Stdio};

use crate::server::{Fault, Options, TestServer};
use crate::wait_until;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bot-swarm"));
    // A folder without .env, and an environment without BOT_*.
    command.current_dir(std::env::temp_dir()).env_clear().stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_configuration_is_printed_as_it_is() {
    let output = program().args(["--print-config", "--count", "7"]).env("BOT_ROOMS", "3").output().unwrap();
    assert!(output.status.success());
    assert!(stdout(&output).contains("BOT_COUNT=7\n") && stdout(&output).contains("BOT_ROOMS=3\n"));
}

#[test]
fn a_wrong_configuration_ends_with_3_and_one_line() {
    for (variable, value) in [("BOT_COUNT", "none"), ("BOT_CUONT", "5"), ("BOT_COUNT", "1000000")] {
        let output = program().env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{variable}={value}");
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains("BOT_COUNT"), "{}", stderr(&output));
    }
}

#[test]
fn help_names_every_variable() {
    let output = program().arg("--help").output().unwrap();
    for knob in bot_swarm::config::KNOBS {
        assert!(stdout(&output).contains(knob.variable), "{}", knob.variable);
    }
}

/// Runs the program against a server until it has taken a hundred messages, then sends it this signal.
async fn run_until_signalled(server: &TestServer, signal: rustix::process::Signal) -> Output {
    let child = program()
        .env("BOT_SERVER_URL", server.url())
        .env("BOT_COUNT", "10")
        .env("BOT_MESSAGES_PER_SECOND", "20")
        .env("BOT_DRAIN_SECONDS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("messages", || server.taken() >= 100).await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    actix_rt::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
}

#[actix_rt::test]
async fn a_clean_run_ends_with_0_at_sigterm_and_at_sigint() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let server = TestServer::start().await;
        let output = run_until_signalled(&server, signal).await;
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).starts_with("CLEAN"), "{}", stdout(&output));
        assert_eq!(server.goodbyes(), 10);
    }
}

#[actix_rt::test]
async fn a_run_that_is_not_clean_ends_with_1() {
    let server = TestServer::with(Options { fault: Some(Fault::LoseDelivery), ..Options::default() }).await;
    let output = run_until_signalled(&server, rustix::process::Signal::TERM).await;
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).starts_with("NOT CLEAN: 3 lost\n"), "{}", stdout(&output));
}
