//! The merged reports of many processes.

use std::collections::BTreeMap;
use std::process::Stdio;

use bot_swarm::report::document::{Latency, Report};
use bot_swarm::report::folder;
use bot_swarm::{Config, Outcome};
use test_kit::process::output_of;

use crate::process::{program, stderr, stdout};
use crate::reports::{ended, endless, valid_json};
use crate::server::TestServer;
use crate::wait_until;

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
    // Every process received the messages of all; each message has one last receiver.
    let count = |latencies: &BTreeMap<String, Latency>, kind: &str| {
        latencies.get(kind).map_or(0, |latency| latency.percentiles.count)
    };
    let max = |report: &Report, kind: &str| report.latencies[kind].percentiles.max;
    assert_eq!(count(&sum.latencies, "completion"), sum.messages.done);
    assert!((max(&sum, "completion") - max(&sum, "delivery")).abs() < 1e-9, "{sum}");
    // Phases and seconds contain the latencies of all processes.
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
    // The merge starts before the other processes, and kernel locks show when the killed one has ended.
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
    // The folder contains only the report of an earlier run that was killed.
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
    assert!(stderr(&itself).contains("is one of the merged reports"), "{}", stderr(&itself));
    assert_eq!(folder::read(&parent.path().join("anna")).unwrap().verdict.line, "KEPT: clean");
    // The earlier result in the folder is skipped.
    std::fs::remove_dir_all(parent.path().join("bert")).unwrap();
    let one = merge("all", &["."]).await;
    assert_eq!(one.status.code(), Some(0), "{}{}", stdout(&one), stderr(&one));
}
