//! What the program leaves behind: a report that others can read, and what two of them say of each other.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bot_swarm::find_limit::LimitReport;
use bot_swarm::report::document::{Judgement, Latency, Report};
use bot_swarm::report::folder;
use bot_swarm::{Config, Outcome};
use test_kit::process::{Signal, output_of, signal};

use crate::process::{program, stderr, stdout};
use crate::server::{Fault, Options, TestServer};
use crate::wait_until;

/// Runs the program to its end.
pub(crate) async fn ended(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    actix_rt::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A run of two seconds whose report goes into a folder.
async fn reported(server: &TestServer, folder: &Path) -> Output {
    let mut command = program();
    command
        .args(["--server-url", &server.url(), "--count", "10", "--ramp-per-second", "100"])
        .args(["--messages-per-second", "20", "--seconds", "2", "--drain-seconds", "1", "--lateness-max-seconds", "60"])
        .arg("--report")
        .arg(folder);
    ended(command).await
}

/// Reads a file that a program left, which must be valid by the published schema.
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
async fn two_reports_are_compared_and_what_got_worse_ends_with_1() {
    let (good, bad) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    reported(&TestServer::start().await, good.path()).await;
    let losing = TestServer::with(Options { fault: Some(Fault::LoseDelivery), ..Options::default() }).await;
    reported(&losing, bad.path()).await;

    let compare = async |before: &Path, now: &Path| {
        let mut command = program();
        command.arg("compare").arg(before.join(folder::JSON)).arg(now);
        ended(command).await
    };
    let worse = compare(good.path(), bad.path()).await;
    assert_eq!(worse.status.code(), Some(1), "{}{}", stdout(&worse), stderr(&worse));
    assert!(stdout(&worse).starts_with("WORSE: "), "{}", stdout(&worse));
    assert!(stdout(&worse).lines().any(|line| line.starts_with("worse   lost ")), "{}", stdout(&worse));
    let mut invalid = folder::read(good.path()).unwrap();
    invalid.verdict.judgement = Judgement::Invalid;
    let other = tempfile::tempdir().unwrap();
    folder::write(other.path(), &invalid).unwrap();
    for (before, now, line) in
        [(good.path(), other.path(), "INVALID: the run now "), (other.path(), good.path(), "INVALID: the run before ")]
    {
        let nothing = compare(before, now).await;
        assert_eq!(
            (nothing.status.code(), stdout(&nothing).starts_with(line)),
            (Some(2), true),
            "{}",
            stdout(&nothing)
        );
    }
    let same = compare(good.path(), good.path()).await;
    assert_eq!((same.status.code(), stdout(&same).starts_with("SAME: ")), (Some(0), true), "{}", stdout(&same));
}

#[actix_rt::test]
async fn the_reports_of_many_processes_make_one_and_one_verdict() {
    let server = TestServer::start().await;
    let parent = tempfile::tempdir().unwrap();
    let swarm = async |name: &str| {
        let mut command = program();
        command
            .args(["--server-url", &server.url(), "--count", "5", "--name-prefix", name, "--ramp-per-second", "100"])
            .args(["--messages-per-second", "20", "--seconds", "1", "--drain-seconds", "2"])
            .args(["--lateness-max-seconds", "60", "--server-metrics", "off", "--report"])
            .arg(parent.path().join("runs").join(name));
        ended(command).await
    };
    let outputs = tokio::join!(swarm("anna"), swarm("bert"), swarm("cleo"));
    for output in [&outputs.0, &outputs.1, &outputs.2] {
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    }
    let merge = async |expect: &[&str]| {
        let mut command = program();
        command
            .arg("merge")
            .arg(parent.path().join("runs"))
            .args(expect)
            .arg("--report")
            .arg(parent.path().join("sum"));
        ended(command).await
    };
    let merged = merge(&["--expect", "clean, connected>=15"]).await;
    assert_eq!(merged.status.code(), Some(0), "{}{}", stdout(&merged), stderr(&merged));
    assert!(stdout(&merged).starts_with("KEPT: clean, connected>=15\n"), "{}", stdout(&merged));
    valid_json(&parent.path().join("sum").join(folder::JSON), "swarm-report.schema.json");
    let sum = folder::read(&parent.path().join("sum")).unwrap();
    let parts = ["anna", "bert", "cleo"].map(|name| folder::read(&parent.path().join("runs").join(name)).unwrap());
    let count = |count: fn(&Report) -> u64| (count(&sum), parts.iter().map(count).sum::<u64>());
    for (sum, of_parts) in [
        count(|report| report.messages.done),
        count(|report| report.ledger.expected),
        count(|report| report.latencies["delivery"].percentiles.count),
        count(|report| report.series.iter().map(|second| second.deliveries).sum()),
    ] {
        assert!(sum == of_parts && sum > 0, "{sum} of {of_parts}");
    }
    // Every process saw the messages of all; each message has one last receiver.
    let count = |latencies: &BTreeMap<String, Latency>, kind: &str| {
        latencies.get(kind).map_or(0, |latency| latency.percentiles.count)
    };
    let max = |report: &Report, kind: &str| report.latencies[kind].percentiles.max;
    assert_eq!(count(&sum.latencies, "completion"), sum.messages.done);
    assert!((max(&sum, "completion") - max(&sum, "delivery")).abs() < 1e-9, "{sum}");
    // Phases and seconds have the latencies of all.
    for kind in ["delivery", "ack", "completion", "lateness"] {
        let whole = count(&sum.latencies, kind);
        let by_phase: u64 = sum.phases.iter().map(|phase| count(&phase.latencies, kind)).sum();
        let by_second: u64 = sum.series.iter().filter_map(|second| second.latencies.get(kind)).map(|p| p.count).sum();
        assert_eq!((by_phase, by_second), (whole, whole), "{kind}");
    }
    assert_eq!(sum.phases.last().unwrap().name, "drain");
    let broken = merge(&["--expect", "connected>=16"]).await;
    assert_eq!(broken.status.code(), Some(1));
    assert!(stdout(&broken).starts_with("BROKEN: connected>=16: 15\n"), "{}", stdout(&broken));
}

#[actix_rt::test]
async fn what_is_no_report_is_said_in_one_line_and_ends_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let other = write("other.json", r#"{"schemaVersion":99}"#);
    let cases = [
        (folder.path().join("nowhere.json"), "nowhere.json"),
        (write("empty.json", "{}"), "is not a report"),
        (other, "is a report of version 99"),
    ];
    for (path, reason) in cases {
        let mut command = program();
        command.arg("compare").arg(&path).arg(&path);
        let output = ended(command).await;
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
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

/// A talkative swarm whose report goes into a folder, and that runs until it is stopped.
fn endless(server: &TestServer, folder: &Path) -> Command {
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
        // Nobody reads any more, as when a pager or a terminal is closed.
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
async fn a_swarm_that_is_to_outlive_its_terminal_does() {
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
    // The second run is of the first load again, the third of more bots.
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
async fn a_process_that_was_killed_is_not_done_in_the_sum_of_many() {
    let server = TestServer::start().await;
    let parent = tempfile::tempdir().unwrap();
    let swarm = |name: &str| {
        let mut command = program();
        command
            .args(["--server-url", &server.url(), "--count", "5", "--name-prefix", name, "--seconds", "2"])
            .args(["--lateness-max-seconds", "60", "--server-metrics", "off", "--report"])
            .arg(parent.path().join("runs").join(name));
        command
    };
    let mut killed = swarm("anna").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("bots", || server.connected() == 5).await;
    // It is begun before the others are, and knows by the kernel when the killed one has ended.
    let mut command = program();
    command.arg("merge").arg(parent.path().join("runs")).args(["--wait", "2"]);
    let merging = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let kill = async {
        wait_until("all bots", || server.connected() == 10).await;
        killed.kill().unwrap();
        killed.wait().unwrap();
    };
    let (whole, ()) = tokio::join!(ended(swarm("bert")), kill);
    assert_eq!(whole.status.code(), Some(0), "{}{}", stdout(&whole), stderr(&whole));

    let merged = output_of(merging).await;
    assert_eq!(merged.status.code(), Some(2), "{}{}", stdout(&merged), stderr(&merged));
    let first = stdout(&merged).lines().next().unwrap();
    assert!(first.starts_with("INVALID: anna: the run of 5 bots has not ended"), "{first}");
    assert!(stdout(&merged).contains("5 of 10 were connected"), "{}", stdout(&merged));
}

#[actix_rt::test]
async fn a_sum_that_waits_is_of_all_that_were_awaited() {
    let server = TestServer::start().await;
    let parent = tempfile::tempdir().unwrap();
    // There is nothing but what an earlier run left, which was killed.
    let old = parent.path().join("runs").join("old").join(folder::JSON);
    folder::write(old.parent().unwrap(), &Report::of(&Outcome::not_ended(&Config::default()))).unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    std::fs::File::options().append(true).open(&old).unwrap().set_modified(hour_ago).unwrap();
    let mut command = program();
    command.arg("merge").arg(parent.path().join("runs")).args(["--wait", "2", "--expect", "clean, connected>=10"]);
    let merging = ended(command);
    let swarm = async |name: &str, seconds: &str| {
        let mut command = program();
        command
            .args(["--server-url", &server.url(), "--count", "5", "--name-prefix", name, "--seconds", seconds])
            .args(["--lateness-max-seconds", "60", "--server-metrics", "off", "--report"])
            .arg(parent.path().join("runs").join(name));
        ended(command).await
    };
    let (merged, anna, bert) = tokio::join!(merging, swarm("anna", "3"), swarm("bert", "1"));
    for output in [&anna, &bert, &merged] {
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(output), stderr(output));
    }
    assert!(stdout(&merged).starts_with("KEPT: clean, connected>=10\n"), "{}", stdout(&merged));
}

#[actix_rt::test]
async fn two_runs_at_a_time_do_not_write_into_one_folder() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let first = endless(&server, folder.path()).spawn().unwrap();
    wait_until("bots", || server.connected() == 5).await;
    let second = ended(endless(&server, folder.path())).await;
    assert_eq!((second.status.code(), stdout(&second)), (Some(3), ""), "{}", stderr(&second));
    assert!(stderr(&second).contains("is the folder of another run, which goes on"), "{}", stderr(&second));
    signal(&first, Signal::TERM);
    let output = output_of(first).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
}

/// Kills a process as nothing can prevent, and waits for its end.
async fn killed(mut child: std::process::Child) {
    child.kill().unwrap();
    actix_rt::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
}

#[actix_rt::test]
async fn what_a_killed_process_leaves_says_that_it_has_not_ended_and_nothing_of_an_earlier_one() {
    let server = TestServer::start().await;
    let parent = tempfile::tempdir().unwrap();
    let (run, search, sum) = (parent.path().join("run"), parent.path().join("search"), parent.path().join("sum"));
    // Results of before, and what a process left that was killed while it wrote.
    for folder in [&run, &search, &sum] {
        let mut command = endless(&server, folder);
        command.args(["--seconds", "0.3"]);
        ended(command).await;
    }
    let earlier = search.join("kept");
    std::fs::create_dir(&earlier).unwrap();
    std::fs::rename(search.join(folder::JSON), earlier.join(folder::JSON)).unwrap();
    std::fs::write(search.join(LimitReport::FILE), "{}").unwrap();
    for (folder, file) in [(&run, folder::JSON), (&sum, folder::PAGE), (&search, LimitReport::FILE)] {
        std::fs::write(folder.join(format!("{file}.new")), "{").unwrap();
    }

    let first = server.welcomed();
    let child = endless(&server, &run).spawn().unwrap();
    wait_until("bots of the run", || server.welcomed() >= first + 5).await;
    killed(child).await;
    let report = folder::read(&run).unwrap();
    assert!(report.verdict.line.starts_with("INVALID: the run of 5 bots has not ended"), "{}", report.verdict.line);
    assert!(report.verdict.expectations.iter().all(|expectation| !expectation.kept), "{:?}", report.verdict);

    let first = server.welcomed();
    let mut command = program();
    command.args(["find-limit", "--server-url", &server.url(), "--find-start", "5", "--report"]).arg(&search);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("bots of the search", || server.welcomed() >= first + 5).await;
    killed(child).await;
    let json = valid_json(&search.join(LimitReport::FILE), "swarm-limit.schema.json");
    assert_eq!(json["endedEarly"], "the search has not ended: it goes on, or was killed");
    assert!(!earlier.exists() && json["loads"].as_array().unwrap().is_empty());

    let mut command = program();
    command.arg("merge").arg(parent.path().join("nowhere")).args(["--wait", "2", "--report"]).arg(&sum);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.next().unwrap();
    assert!(waiting.starts_with("waiting: 0 of 2 reports are there; no run goes on; "), "{waiting}");
    killed(child).await;
    let line = folder::read(&sum).unwrap().verdict.line;
    assert!(line.starts_with("INVALID: the merge of reports has not ended"), "{line}");

    for folder in [&run, &sum, &search] {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "new")).collect();
        assert!(left.is_empty(), "{}: {left:?}", folder.display());
    }
}

#[actix_rt::test]
async fn a_search_says_what_was_known_after_each_load() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["find-limit", "--server-url", &server.url(), "--find-start", "4", "--find-seconds", "0.2"])
        .args(["--ramp-per-second", "10000", "--messages-per-second", "20", "--lateness-max-seconds", "60"])
        .args(["--expect", "clean, lost=0", "--report"])
        .arg(folder.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("a second load", || server.connected() > 4).await;
    killed(child).await;
    let json = valid_json(&folder.path().join(LimitReport::FILE), "swarm-limit.schema.json");
    assert_eq!((json["highestKept"].as_u64(), json["loads"][0]["load"].as_u64()), (Some(4), Some(4)));
    assert_eq!(folder::read(&folder.path().join("kept")).unwrap().bots.connected, 4);
}

#[actix_rt::test]
async fn runs_that_were_never_one_load_are_not_added_and_a_sum_is_no_part_of_itself() {
    let server = TestServer::start().await;
    let parent = tempfile::tempdir().unwrap();
    for name in ["anna", "bert"] {
        let mut command = endless(&server, &parent.path().join(name));
        command.args(["--seconds", "0.3", "--name-prefix", name]);
        assert_eq!(ended(command).await.status.code(), Some(0));
    }
    let merge = async |into: &str, paths: &[&str]| {
        let mut command = program();
        command.current_dir(parent.path()).arg("merge").args(paths).args(["--report", into]);
        ended(command).await
    };
    let apart = merge("all", &["."]).await;
    assert_eq!((apart.status.code(), stdout(&apart)), (Some(3), ""), "{}", stderr(&apart));
    assert!(stderr(&apart).contains("they were not one load"), "{}", stderr(&apart));
    let itself = merge("anna", &["anna", "bert"]).await;
    assert_eq!(itself.status.code(), Some(3), "{}", stdout(&itself));
    assert!(stderr(&itself).contains("is one of the reports"), "{}", stderr(&itself));
    assert_eq!(folder::read(&parent.path().join("anna")).unwrap().verdict.line, "KEPT: clean");
    // What stands there since the first attempt is passed over.
    std::fs::remove_dir_all(parent.path().join("bert")).unwrap();
    let one = merge("all", &["."]).await;
    assert_eq!(one.status.code(), Some(0), "{}{}", stdout(&one), stderr(&one));
}
