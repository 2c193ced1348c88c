//! The program: its arguments, its exit codes, and the signals that stop it.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use test_kit::process::{Signal, output_of, signal};
use test_kit::{LOOK, Process, Program, within};

use crate::server::{Fault, Options, TestServer};
use crate::wait_until;

/// The program, in a folder without `.env` and in an environment without `BOT_*`.
pub(crate) fn program() -> Command {
    Program::new(env!("CARGO_BIN_EXE_bot-swarm")).command(&std::env::temp_dir(), &[], &[])
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
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
    let help = |arguments: &[&str]| stdout(&program().args(arguments).output().unwrap()).to_owned();
    let (of_run, of_search) = (help(&["--help"]), help(&["find-limit", "--help"]));
    for knob in bot_swarm::config::KNOBS {
        let help = if knob.is_of_search() { &of_search } else { &of_run };
        assert!(help.contains(&format!("[{};", knob.variable)), "{}", knob.variable);
    }
}

/// The documented metrics of the swarm: name, type and labels.
fn documented() -> BTreeSet<(String, String, String)> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `swarm_"));
    rows.map(|row| {
        let cells: Vec<String> = row.trim_matches('|').split('|').map(|cell| cell.replace('`', "")).collect();
        let cell = |index: usize| cells[index].trim().to_owned();
        (cell(0), cell(1), cell(2).replace('–', ""))
    })
    .collect()
}

/// The exposed metrics of the swarm: name, type and labels.
fn exposed(text: &str) -> BTreeSet<(String, String, String)> {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let kinds = kinds.filter(|(name, _)| name.starts_with("swarm_"));
    kinds
        .map(|(name, kind)| {
            let sample = text.lines().find(|line| line.starts_with(name)).unwrap();
            let labels = sample.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let labels: Vec<&str> =
                labels.split(',').filter_map(|pair| Some(pair.split_once('=')?.0)).filter(|l| *l != "le").collect();
            (name.to_owned(), kind.to_owned(), labels.join(", "))
        })
        .collect()
}

#[actix_rt::test]
async fn every_metric_is_served_and_documented_and_counts_what_happens() {
    let server = TestServer::start().await;
    let mut command = program();
    command.args(["--server-url", &server.url(), "--count", "10", "--messages-per-second", "20"]).args([
        "--metrics-bind",
        "127.0.0.1:0",
        "--drain-seconds",
        "1",
        "--lateness-max-seconds",
        "60",
    ]);
    let mut swarm = Process::spawn(command);
    let line = swarm.line_with("metrics: ");
    let url = line.split_once("metrics: ").unwrap().1;
    wait_until("messages", || server.taken() >= 100).await;
    let scrape = async || {
        let mut answer = awc::Client::default().get(url).send().await.unwrap();
        assert_eq!(answer.headers().get("content-type").unwrap(), "text/plain; version=0.0.4");
        String::from_utf8(answer.body().await.unwrap().to_vec()).unwrap()
    };
    let deliveries = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("swarm_deliveries_total "));
        line.map_or(0.0, |value| value.parse::<f64>().unwrap())
    };
    let text = within("deliveries are counted", async {
        loop {
            let text = scrape().await;
            if deliveries(&text) >= 500.0 {
                return text;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
    assert_eq!(exposed(&text), documented());
    assert!(text.contains("swarm_bots{behaviour=\"chatter\",state=\"connected\"} 10\n"), "{text}");
    assert!(text.contains("swarm_ledger_findings{finding=\"lost\"} 0\n"), "{text}");
    for name in ["process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"] {
        assert!(text.contains(&format!("\n{name} ")), "{name}\n{text}");
    }
    swarm.signal(Signal::TERM);
    assert_eq!(swarm.exit_code().await, Some(0));
    let lines = swarm.further_lines();
    assert!(lines.iter().all(|line| !line.contains("actix")), "{lines:#?}");
}

#[test]
fn metrics_that_cannot_be_served_end_with_3() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program().env("BOT_METRICS_BIND", &address).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains(&address), "{}", stderr(&output));
}

/// Runs the program until the server has accepted a hundred messages, then sends it this signal.
async fn run_until_signalled(server: &TestServer, ending: Signal) -> Output {
    let child = program()
        .env("BOT_SERVER_URL", server.url())
        .env("BOT_COUNT", "10")
        .env("BOT_MESSAGES_PER_SECOND", "20")
        .env("BOT_DRAIN_SECONDS", "1")
        // The test machine may be busy.
        .env("BOT_LATENESS_MAX_SECONDS", "60")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("messages", || server.taken() >= 100).await;
    signal(&child, ending);
    output_of(child).await
}

#[actix_rt::test]
async fn a_clean_run_ends_with_0_at_every_signal_that_asks_it_to_end() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let server = TestServer::start().await;
        let output = run_until_signalled(&server, signal).await;
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).starts_with("KEPT: clean\n"), "{}", stdout(&output));
        assert_eq!(server.goodbyes(), 10);
    }
}

#[actix_rt::test]
async fn a_run_that_is_not_clean_ends_with_1() {
    let server = TestServer::with(Options { fault: Some(Fault::LoseDelivery), ..Options::default() }).await;
    let output = run_until_signalled(&server, Signal::TERM).await;
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).starts_with("BROKEN: clean: 3 lost\n"), "{}", stdout(&output));
}

#[actix_rt::test]
async fn an_expectation_that_is_not_kept_ends_with_1_and_says_what_was_instead() {
    let server = TestServer::start().await;
    let child = program()
        .args(["--server-url", &server.url(), "--count", "5", "--messages-per-second", "20", "--seconds", "0.5"])
        .args(["--expect", "clean, p50<1us", "--lateness-max-seconds", "60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = output_of(child).await;
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("BROKEN: p50<1us: "), "{}", stdout(&output));
}

#[actix_rt::test]
async fn a_swarm_that_was_late_itself_says_so_and_ends_with_2() {
    let server = TestServer::start().await;
    let child = program()
        .args(["--server-url", &server.url(), "--count", "5", "--messages-per-second", "20"])
        .args(["--drain-seconds", "1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("messages", || server.taken() >= 20).await;
    // The process stops for a while, as on an overloaded machine.
    signal(&child, Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(500));
    signal(&child, Signal::CONT);
    let taken = server.taken();
    wait_until("messages", || server.taken() >= taken + 20).await;
    signal(&child, Signal::TERM);
    let output = output_of(child).await;
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("INVALID: the swarm "), "{}", stdout(&output));
}

#[actix_rt::test]
async fn a_report_past_the_limit_of_a_files_size_is_told_as_one_that_cannot_be_written() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let child = program()
        .args(["--server-url", &server.url(), "--count", "2", "--report", folder.path().to_str().unwrap()])
        .args(["--drain-seconds", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    wait_until("messages", || server.taken() >= 2).await;
    let limit = rustix::process::Rlimit { current: Some(1_000), maximum: None };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = actix_rt::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = stderr(&output);
    assert!(said.contains("the report cannot be written") && said.contains("File too large"), "{said}");
}

#[actix_rt::test]
async fn a_swarm_that_had_no_open_file_left_says_so_and_ends_with_2() {
    let server = TestServer::start().await;
    let child = program()
        .args(["--server-url", &server.url(), "--count", "20", "--ramp-per-second", "10"])
        .args(["--messages-per-second", "20", "--drain-seconds", "1", "--lateness-max-seconds", "60"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    wait_until("the first bots", || server.connected() >= 3).await;
    // Connected bots stay, and no others can connect.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(1_024) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Nofile, none).unwrap();
    let taken = server.taken();
    wait_until("messages", || server.taken() >= taken + 200).await;
    signal(&child, Signal::TERM);
    let output = output_of(child).await;
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(stdout(&output).starts_with("INVALID: the swarm reached its limit of open files "), "{}", stdout(&output));
    assert!(server.welcomed() < 20, "{}", stdout(&output));
}

#[test]
fn a_scenario_is_read_from_a_file_and_the_environment_and_flags_count_more() {
    let file = std::env::temp_dir().join(format!("bot-swarm-{}.env", std::process::id()));
    std::fs::write(&file, "# at night\nBOT_COUNT=3\nBOT_ROOMS=3\nBOT_SEED=3\nBOT_PROFILE=\"ramp 1s to 3, hold 2s\"\n")
        .unwrap();
    let printed = |scenario: &str| {
        let mut command = program();
        command.env("BOT_SCENARIO", scenario).env("BOT_ROOMS", "4").args(["--seed", "5", "--print-config"]);
        command.output().unwrap()
    };
    let output = printed(file.to_str().unwrap());
    std::fs::write(&file, "BOT_CUONT=3\n").unwrap();
    let wrong = printed(file.to_str().unwrap());
    std::fs::remove_file(&file).unwrap();
    for line in ["BOT_COUNT=3", "BOT_ROOMS=4", "BOT_SEED=5", "BOT_PROFILE='ramp 1s to 3, hold 2s'"] {
        assert!(stdout(&output).lines().any(|printed| printed == line), "{line}\n{}", stdout(&output));
    }
    assert!(stderr(&wrong).contains("did you mean BOT_COUNT?"), "{}", stderr(&wrong));
    let missing = printed("/nowhere/night.env");
    assert_eq!(missing.status.code(), Some(3));
    assert!(stderr(&missing).contains("BOT_SCENARIO"), "{}", stderr(&missing));
}

#[test]
fn a_flag_that_there_is_not_ends_with_3() {
    assert_eq!(program().arg("--dance").output().unwrap().status.code(), Some(3));
}
