//! The report that a run or a search writes into a folder.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use bot_swarm::find_limit::LimitReport;
use bot_swarm::report::document::{Judgement, Report};
use bot_swarm::report::folder;
use test_kit::process::{Signal, output_of, signal};

use crate::process::{program, stderr, stdout};
use crate::server::TestServer;
use crate::wait_until;

/// Runs the program to its end.
pub(crate) async fn ended(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    actix_rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A run of two seconds whose report goes into a folder.
pub(crate) async fn reported(server: &TestServer, folder: &Path) -> Output {
    let mut command = program();
    command
        .args(["--server-url", &server.url(), "--count", "10", "--ramp-per-second", "100"])
        .args(["--messages-per-second", "20", "--seconds", "2", "--drain-seconds", "1", "--lateness-max-seconds", "60"])
        .arg("--report")
        .arg(folder);
    ended(command).await
}

/// Reads a file of the program, which must be valid by the published schema.
pub(crate) fn valid_json(file: &Path, schema: &str) -> serde_json::Value {
    let json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema_of(schema)).unwrap();
    let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
    json
}

fn schema_of(path: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(path);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    for (file, schema) in [
        ("swarm-report.schema.json", schemars::schema_for!(Report)),
        ("swarm-limit.schema.json", schemars::schema_for!(LimitReport)),
    ] {
        let schema = serde_json::to_value(&schema).unwrap();
        assert_eq!(schema_of(file), schema, "docs/{file} must be:\n{schema:#}");
    }
}

#[actix_rt::test]
async fn a_run_leaves_a_report_that_is_valid_by_the_published_schema() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let output = reported(&server, folder.path()).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));

    let json = valid_json(&folder.path().join(folder::JSON), "swarm-report.schema.json");
    let report = folder::read(folder.path()).unwrap();
    assert_eq!(serde_json::to_value(&report).unwrap(), json, "nothing is lost by reading it");
    assert_eq!(report.verdict.judgement, Judgement::Kept);
    assert_eq!(report.config["BOT_COUNT"], "10");
    let sent: u64 = report.series.iter().map(|second| second.sent).sum();
    assert!(sent > 100 && sent == report.messages.sent, "{sent} of {}", report.messages.sent);
    assert_eq!(report.latencies["delivery"].percentiles.count, report.ledger.deliveries);

    let page = std::fs::read_to_string(folder.path().join(folder::PAGE)).unwrap();
    assert!(page.contains(&format!("<h1>{}</h1>", report.verdict.line)), "{page}");
    assert!(stdout(&output).starts_with(&report.verdict.line), "{}", stdout(&output));
}

#[actix_rt::test]
async fn a_token_of_the_servers_url_is_shown_nowhere() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}?token=s3cret", server.url());
    let metrics = format!("{}?key=s3cret", server.url().replace("ws://", "http://").replace("/ws", "/metrics"));
    let with_url = |arguments: &[&str]| {
        let mut command = program();
        command.args(["--server-url", &url, "--server-metrics", &metrics, "--count", "2"]).args(arguments);
        command.env("RUST_LOG", "debug").arg("--report").arg(folder.path());
        command
    };
    let run = ended(with_url(&["--seconds", "1", "--drain-seconds", "1", "--lateness-max-seconds", "60"])).await;
    assert_eq!(run.status.code(), Some(0), "{}{}", stdout(&run), stderr(&run));
    let printed = ended(with_url(&["--print-config"])).await;
    assert!(stdout(&printed).contains("?token=(hidden)"), "{}", stdout(&printed));
    let mut wrong = program();
    let wrong = ended({
        wrong.args(["--server-url", "wss://host/ws?token=s3cret"]);
        wrong
    })
    .await;
    assert_eq!(wrong.status.code(), Some(3));
    for (what, text) in [
        ("the report", std::fs::read_to_string(folder.path().join(folder::JSON)).unwrap()),
        ("its page", std::fs::read_to_string(folder.path().join(folder::PAGE)).unwrap()),
        ("what the run prints", stdout(&run).to_owned()),
        ("its log", stderr(&run).to_owned()),
        ("the configuration", stdout(&printed).to_owned()),
        ("an error", stderr(&wrong).to_owned()),
    ] {
        assert!(!text.contains("s3cret"), "{what}: {text}");
    }
}

#[actix_rt::test]
async fn a_folder_that_cannot_be_written_is_told_before_any_bot_connects() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir_all(folder.path().join("taken").join(folder::JSON)).unwrap();
    std::fs::create_dir_all(folder.path().join("taken").join(LimitReport::FILE)).unwrap();
    for report in [file.join("report"), folder.path().join("taken")] {
        for command in [&["--seconds", "1"][..], &["find-limit"]] {
            let server = TestServer::start().await;
            let mut program = program();
            program.args(command).args(["--server-url", &server.url(), "--report"]).arg(&report);
            let output = ended(program).await;
            assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
            assert!(stderr(&output).starts_with("bot-swarm: BOT_REPORT cannot be written to: "), "{}", stderr(&output));
            assert_eq!((server.welcomed(), stdout(&output)), (0, ""));
        }
    }
}

/// A swarm that sends a lot until it is stopped, with a report in a folder.
pub(crate) fn endless(server: &TestServer, folder: &Path) -> Command {
    let mut command = program();
    command
        .args(["--server-url", &server.url(), "--count", "5", "--messages-per-second", "20"])
        .args(["--drain-seconds", "1", "--lateness-max-seconds", "60"])
        .arg("--report")
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[actix_rt::test]
async fn a_folder_that_is_lost_during_the_run_ends_with_3_and_the_text_is_still_there() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("report");
    let server = TestServer::start().await;
    let child = endless(&server, &folder).spawn().unwrap();
    wait_until("messages", || server.taken() >= 50).await;
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "").unwrap();
    signal(&child, Signal::TERM);
    let output = output_of(child).await;
    assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).starts_with("KEPT: clean\n"), "{}", stdout(&output));
}

#[actix_rt::test]
async fn a_report_is_written_whatever_becomes_of_standard_output_and_the_terminal() {
    for ending in [Signal::TERM, Signal::HUP] {
        let folder = tempfile::tempdir().unwrap();
        let server = TestServer::start().await;
        let mut child = endless(&server, folder.path()).spawn().unwrap();
        // All readers are gone, as when a pager or a terminal is closed.
        drop((child.stdout.take(), child.stderr.take()));
        wait_until("messages", || server.taken() >= 50).await;
        signal(&child, ending);
        let status = output_of(child).await.status;
        assert_eq!(status.code(), Some(0), "the exit code is the verdict");
        let report = folder::read(folder.path()).unwrap();
        assert_eq!(report.verdict.line, "KEPT: clean");
        assert!(folder.path().join(folder::PAGE).exists());
    }
}

#[actix_rt::test]
async fn a_swarm_under_nohup_goes_on_when_its_terminal_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start().await;
    let swarm = endless(&server, folder.path());
    let mut command = Command::new("nohup");
    command.current_dir(folder.path()).env_clear().arg(swarm.get_program()).args(swarm.get_args());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("messages", || server.taken() >= 50).await;
    signal(&child, Signal::HUP);
    let taken = server.taken();
    wait_until("more messages", || server.taken() >= taken + 100).await;
    signal(&child, Signal::TERM);
    let output = output_of(child).await;
    assert!(stdout(&output).starts_with("KEPT: clean\n"), "{}{}", stdout(&output), stderr(&output));
}

#[actix_rt::test]
async fn a_search_that_is_stopped_leaves_what_it_has_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::start().await;
    let mut command = program();
    command
        .args(["find-limit", "--server-url", &server.url(), "--find-start", "4", "--find-seconds", "0.2"])
        .args(["--ramp-per-second", "10000", "--messages-per-second", "20", "--lateness-max-seconds", "60"])
        .args(["--expect", "clean, lost=0", "--report"])
        .arg(folder.path());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The second run repeats the first load; the third has more bots.
    wait_until("a third load", || server.connected() > 4).await;
    signal(&child, Signal::TERM);
    let output = output_of(child).await;
    assert_eq!(output.status.code(), Some(3), "{}{}", stdout(&output), stderr(&output));
    assert!(
        stdout(&output).starts_with("ENDED EARLY: the search was stopped; bots that keep clean, lost=0: "),
        "{}",
        stdout(&output)
    );
    let json = valid_json(&folder.path().join(LimitReport::FILE), "swarm-limit.schema.json");
    assert_eq!(json["endedEarly"], "the search was stopped");
    assert!(!json["loads"].as_array().unwrap().is_empty());
}

#[actix_rt::test]
async fn two_runs_at_a_time_do_not_write_into_one_folder() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let first = endless(&server, folder.path()).spawn().unwrap();
    wait_until("bots", || server.connected() == 5).await;
    let second = ended(endless(&server, folder.path())).await;
    assert_eq!((second.status.code(), stdout(&second)), (Some(3), ""), "{}", stderr(&second));
    assert!(stderr(&second).contains("is the folder of another run that has not ended"), "{}", stderr(&second));
    signal(&first, Signal::TERM);
    let output = output_of(first).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}
