//! The binary, and the external tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use test_kit::{Process, Program, raw};

/// The operators' token of the tests.
pub(crate) const TOKEN: &str = "letmein-letmein-letmein";

/// Starts the binary with an operators' token and without limits that many requests of one address would reach.
pub(crate) fn server(folder: &Path, variables: &[(&str, &str)]) -> Process {
    let defaults = [
        ("CHAT_BIND", "127.0.0.1:0"),
        ("CHAT_WORKERS", "2"),
        ("CHAT_DRAIN_SECONDS", "0"),
        ("CHAT_HISTORY", "memory"),
        ("CHAT_ADMIN_TOKEN", TOKEN),
    ];
    Program::new(env!("CARGO_BIN_EXE_starling")).with(&defaults).start(folder, variables)
}

/// A file of the repository.
pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Downloads a file of the server.
pub(crate) async fn download(server: &Process, from: &str, to: &Path) {
    let answer = raw::get(server.address(), from).await;
    assert_eq!(answer.status, 200, "{from}: {answer:?}");
    std::fs::write(to, answer.body).unwrap();
}

/// Runs a tool to its end. Panics with its output if it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/install-test-tools"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}\nis scripts/install-test-tools up to date?");
    out.into_owned()
}
