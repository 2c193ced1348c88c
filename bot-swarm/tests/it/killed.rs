//! The files that a killed process leaves.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use bot_swarm::find_limit::LimitReport;
use bot_swarm::report::folder;

use crate::process::program;
use crate::reports::{ended, endless, valid_json};
use crate::server::TestServer;
use crate::wait_until;

/// Kills a process with SIGKILL, and waits for its end.
async fn killed(mut child: std::process::Child) {
    child.kill().unwrap();
    actix_rt::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
}

#[actix_rt::test]
async fn what_a_killed_process_leaves_says_that_it_has_not_ended_and_nothing_of_an_earlier_one() {
    let server = TestServer::start().await;
    let parent = tempfile::tempdir().unwrap();
    let (run, search, sum) = (parent.path().join("run"), parent.path().join("search"), parent.path().join("sum"));
    // Earlier results, and the unfinished files of a process that was killed while writing.
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
    assert_eq!(json["endedEarly"], "the search has not ended: it is still running, or was killed");
    assert!(!earlier.exists() && json["loads"].as_array().unwrap().is_empty());

    let mut command = program();
    command.arg("merge").arg(parent.path().join("nowhere")).args(["--wait", "2", "--report"]).arg(&sum);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.next().unwrap();
    assert!(waiting.starts_with("waiting: 0 of 2 reports found; no run is active; "), "{waiting}");
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
