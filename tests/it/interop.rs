//! WebSocket clients of other projects: `ws` and `undici` for Node.js, `websockets` and `aiohttp` for Python, with the
//! compression that each of them offers. `clients/rust/` tests `tokio-tungstenite`.
//!
//! Needs the tools of `scripts/install-test-tools`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::TestServer;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Runs a client, which checks everything that it receives.
fn run(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/install-test-tools"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "ok", "{command:?}\n{out}\n{err}");
}

fn server() -> (TestServer, String) {
    let server = TestServer::start(&[("CHAT_COMPRESSION_BYTES", "1")]);
    let url = format!("ws://{}/ws", server.address());
    (server, url)
}

#[test]
fn the_ws_client_of_nodejs_talks_with_compression_and_without() {
    let (_server, url) = server();
    run(Command::new("node").arg(path("tests/it/interop/ws.mjs")).arg(path("target/test-tools/node_modules")).arg(url));
}

#[test]
fn the_websockets_client_of_python_talks_with_compression_and_without() {
    let (_server, url) = server();
    run(Command::new("python3")
        .arg(path("tests/it/interop/websockets_client.py"))
        .arg(url)
        .env("PYTHONPATH", path("target/test-tools"))
        .env("PYTHONDONTWRITEBYTECODE", "1"));
}

#[test]
fn the_websocket_of_nodejs_itself_talks_with_compression() {
    let (_server, url) = server();
    let script = path("tests/it/interop/undici.mjs");
    run(Command::new("node").arg(script).arg(path("target/test-tools/node_modules")).arg(url));
}

#[test]
fn the_aiohttp_client_of_python_talks_with_compression_and_without() {
    let (_server, url) = server();
    run(Command::new("python3")
        .arg(path("tests/it/interop/aiohttp_client.py"))
        .arg(url)
        .env("PYTHONPATH", path("target/test-tools/schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1"));
}
