//! Guarantees for operators: signals work even if the log fails, mistakes are reported, secrets are not shown.

mod configuration;
mod logs;
mod memory;
mod mistakes;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use test_kit::certificate::Certificate;
use test_kit::{Process, within};

use crate::harness::starling;
use crate::log_levels::ReservedPort;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[actix::test]
async fn a_hangup_ends_no_server_however_early_it_comes() {
    // Regression: SIGHUP ended a server without TLS at any time, and one with TLS during its start.
    for has_tls in [false, true] {
        let (folder, port) = (tempfile::tempdir().unwrap(), ReservedPort::new());
        let path = |name: &str| folder.path().join(name);
        let mut variables = format!("CHAT_BIND={}\n", port.address());
        if has_tls {
            let identity = Certificate::self_signed(&["localhost"]);
            fs::write(path("cert.pem"), identity.cert).unwrap();
            fs::write(path("key.pem"), identity.key).unwrap();
            variables += "CHAT_TLS_CERT=cert.pem\nCHAT_TLS_KEY=key.pem\n";
        }
        // A start that waits for its `.env`, which it reads first.
        assert!(Command::new("mkfifo").arg(path(".env")).status().unwrap().success());
        let child = starling().command(folder.path(), &[], &[]).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let dotenv = path(".env");
        let opened = actix_web::web::block(move || fs::File::options().write(true).open(dotenv).unwrap());
        let mut dotenv = within("the server reads its .env", opened).await.unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        dotenv.write_all(variables.as_bytes()).unwrap();
        drop(dotenv);
        let mut server = Process::of(child).reached(port.address()).await;
        server.signal(Signal::HUP);
        server.line_with(if has_tls { "certificate and key reloaded" } else { "SIGHUP changes nothing" });
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code().await, Some(0), "TLS: {has_tls}");
    }
}

#[actix::test]
async fn a_service_manager_is_told_that_the_server_is_ready_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let told = async || {
        let mut text = [0; 256];
        let length = within("the service manager is told", manager.recv(&mut text)).await.unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    };
    let variables =
        [("CHAT_BIND", "127.0.0.1:0"), ("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "100000")];
    let mut server = starling().start(folder.path(), &variables);
    assert_eq!(told().await, "READY=1");
    for _ in 0..3 {
        assert_eq!(told().await, "WATCHDOG=1");
    }
    server.signal(Signal::TERM);
    while told().await != "STOPPING=1" {}
    assert_eq!(server.exit_code().await, Some(0));
}

#[test]
fn the_unit_of_systemd_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let unit = fs::read_to_string(crate::tidy::root().join("packaging/starling.service")).unwrap();
    let installed = "ExecStart=/usr/local/bin/starling\n";
    assert!(unit.contains(installed));
    // Nothing is installed on the test machine. The path of the program may contain blanks.
    let program = folder.path().join("starling");
    symlink(env!("CARGO_BIN_EXE_starling"), &program).unwrap();
    let unit = unit.replace(installed, &format!("ExecStart={}\n", program.display()));
    let path = folder.path().join("starling.service");
    fs::write(&path, unit).unwrap();
    let output = Command::new("systemd-analyze").arg("verify").arg(&path).output();
    let output = output.unwrap_or_else(|error| panic!("systemd-analyze: {error}; see scripts/install-test-tools"));
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}
