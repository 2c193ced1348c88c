//! The example is as short as the README states, and works.

use std::path::Path;
use std::process::Stdio;

use test_kit::within;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{start, start_at};

fn run(url: &str, name: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let deps = std::env::current_exe().unwrap();
    let program = deps.ancestors().nth(2).unwrap().join("examples/chat");
    assert!(program.exists(), "there is no {}: cargo build -p starling-client --examples", program.display());
    let mut command = Command::new(program);
    command.args([url, name, "dev"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn until(lines: &mut Lines<BufReader<ChildStdout>>, expected: &str) {
    let found = async { while lines.next_line().await.unwrap().unwrap() != expected {} };
    within(format!("the line {expected:?}"), found).await;
}

async fn type_line(child: &mut Child, line: &str) {
    child.stdin.as_mut().unwrap().write_all(format!("{line}\n").as_bytes()).await.unwrap();
}

#[tokio::test]
async fn the_example_chats_across_a_kill_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path(), &[]);
    let address = server.address();
    let url = format!("ws://{address}");
    let (mut alice, mut to_alice) = run(&url, "alice");
    until(&mut to_alice, "* 1 here, all seen: true").await;
    let (mut bob, mut to_bob) = run(&url, "bob");
    until(&mut to_bob, "* 2 here, all seen: true").await;
    type_line(&mut alice, "hello bob").await;
    until(&mut to_bob, "[dev] alice: hello bob").await;
    server.kill();
    type_line(&mut alice, "are you still there?").await;
    let _server = start_at(folder.path(), address, &[]);
    until(&mut to_bob, "[dev] alice: are you still there?").await;
    type_line(&mut bob, "/msg alice yes").await;
    until(&mut to_alice, "(bob) yes").await;
    type_line(&mut bob, "/history").await;
    until(&mut to_bob, "* 2 messages").await;
    drop(bob.stdin.take());
    assert!(within("the example ends", bob.wait()).await.unwrap().success());
}

#[test]
fn the_example_has_at_most_forty_lines_of_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/chat.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().skip_while(|line| !line.starts_with("#[tokio::main")).count();
    assert!(lines <= 40, "{lines}");
}
