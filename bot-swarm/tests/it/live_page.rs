//! The page of a running swarm, compared with the report of the same run.

use std::process::Command;
use std::time::Duration;

use bot_swarm::report::folder;
use test_kit::Process;
use test_kit::process::Signal;

use crate::process::program;
use crate::server::TestServer;
use crate::wait_until;

/// Starts a swarm, and returns the URL of its page.
fn start(mut command: Command) -> (Process, String) {
    command.args(["--metrics-bind", "127.0.0.1:0", "--drain-seconds", "1", "--lateness-max-seconds", "60"]);
    let swarm = Process::spawn(command);
    let line = swarm.line_with("page of this run: ");
    let url = line.split_once("page of this run: ").unwrap().1.split(',').next().unwrap().to_owned();
    (swarm, url)
}

async fn get(url: &str) -> (u16, String, String) {
    let client = awc::Client::builder().timeout(Duration::from_secs(20)).finish();
    let mut answer = client.get(url).send().await.unwrap();
    let policy = answer.headers().get("content-security-policy").map(|policy| policy.to_str().unwrap().to_owned());
    let body = answer.body().limit(16 << 20).await.unwrap();
    (answer.status().as_u16(), policy.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

/// The rows of the table "Second by second".
fn seconds(page: &str) -> Vec<&str> {
    let table = page.split("<h2>Second by second</h2>").nth(1).unwrap();
    table.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap().split("</tr>").collect()
}

#[actix_rt::test]
async fn the_page_of_a_run_shows_what_its_report_shows_in_the_end() {
    let server = TestServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["--server-url", &server.url(), "--count", "10", "--messages-per-second", "20", "--report"]);
    command.arg(folder.path());
    let (mut swarm, url) = start(command);
    wait_until("messages", || server.taken() >= 300).await;
    let (status, policy, live) = get(&url).await;
    assert_eq!(status, 200, "{live}");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    assert!(live.contains("<h1>RUNNING: ") && live.contains(r#"<p class="name">deliveries</p>"#), "{live}");
    for (file, begins) in [("page.css", ":root"), ("live.js", "//")] {
        let (status, policy, body) = get(&format!("{url}{file}")).await;
        assert_eq!((status, body.starts_with(begins)), (200, true), "{file}: {body}");
        assert!(live.contains(&format!("\"{file}\"")) && !policy.is_empty(), "{file}");
    }
    assert_eq!(get(&format!("{url}report.json")).await.0, 404);

    swarm.signal(Signal::TERM);
    assert_eq!(swarm.exit_code().await, Some(0));
    let report = std::fs::read_to_string(folder.path().join(folder::PAGE)).unwrap();
    let (live, report) = (seconds(&live), seconds(&report));
    // The last element of the split is not a row.
    let shown = live.len() - 1;
    assert!(shown > 0 && report.len() > shown, "{live:?}\n{report:?}");
    assert_eq!(live[..shown], report[..shown], "a second that was shown is in the report as it was");
}

#[actix_rt::test]
async fn a_page_shows_the_bots_that_are_connected_now() {
    let server = TestServer::start().await;
    let mut command = program();
    command.args(["--server-url", &server.url(), "--count", "3", "--ramp-per-second", "1000"]);
    let (mut swarm, url) = start(command);
    let tile = |count: u32| {
        format!(r#"<p class="name">bots connected</p><p class="value">{count}</p><p class="note">of 3, now</p>"#)
    };
    let shows = async |tile: String| {
        while !get(&url).await.2.contains(&tile) {
            actix_rt::time::sleep(Duration::from_millis(50)).await;
        }
    };
    actix_rt::time::timeout(Duration::from_secs(20), shows(tile(3))).await.unwrap();
    // All bots were connected, and then none is.
    server.stop();
    actix_rt::time::timeout(Duration::from_secs(20), shows(tile(0))).await.unwrap();
    swarm.signal(Signal::TERM);
    swarm.exit_code().await;
}

#[actix_rt::test]
async fn nobody_who_looks_makes_the_run_longer() {
    let server = TestServer::start().await;
    let mut command = program();
    command.args(["--server-url", &server.url(), "--count", "3"]);
    let (mut swarm, url) = start(command);
    wait_until("bots", || server.connected() == 3).await;
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    // These clients send a request and read no answer.
    let ask = || {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream
    };
    let watchers: Vec<_> = (0..10).map(|_| ask()).collect();
    swarm.signal(Signal::TERM);
    assert_eq!(swarm.exit_code().await, Some(0));
    drop(watchers);
}
