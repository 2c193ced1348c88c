//! The page's pure logic, tested with Node.js, and the types in its comments.

use std::path::Path;
use std::process::Command;

use crate::harness::tools;

pub(crate) fn run(command: &mut Command) {
    let output = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: run scripts/install-test-tools"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
}

#[test]
fn ordering_gaps_doubles_and_pauses_are_right() {
    let mut tests: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page/unit"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    tests.sort();
    assert!(!tests.is_empty());
    run(Command::new("node").arg("--test").args(tests));
}

#[test]
fn the_types_in_the_comments_hold() {
    run(Command::new("node")
        .arg(tools::path("node_modules/typescript/bin/tsc"))
        .args(["--project", "tests/page/tsconfig.json"]));
}
