//! Runs the binary with its own database, and reads pages of its history.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use test_kit::{Process, Program};

/// The binary, with settings that let it stop at once.
pub(crate) fn starling() -> Program {
    let variables = [("CHAT_BIND", "127.0.0.1:0"), ("CHAT_WORKERS", "2"), ("CHAT_DRAIN_SECONDS", "0")];
    Program::new(env!("CARGO_BIN_EXE_starling")).with(&variables)
}

/// Runs the binary and waits for its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    starling().run(folder, arguments, &[])
}

/// Runs a server that must refuse to start. Returns its error line.
pub(crate) fn refusal(folder: &Path) -> String {
    let output = run(folder, &[]);
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

/// The messages of the page at a path, and whether there are more.
pub(crate) fn page(server: &Process, path: &str) -> (Vec<Value>, bool) {
    let (status, body) = server.get(path);
    assert_eq!(status, 200, "{path}: {body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    (body["messages"].as_array().unwrap().clone(), body["hasMore"].as_bool().unwrap())
}

/// The seqs of messages.
pub(crate) fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["seq"].as_u64().unwrap()).collect()
}
