//! Docker Compose, as a user runs it. `scripts/test-stack` sets the project's name, its ports and its variables.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output};

use serde_json::Value;

use crate::shown::root;

fn run(command: &mut Command) -> Output {
    command.current_dir(root()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn expect(mut command: Command) -> String {
    let output = run(&mut command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Runs `docker compose` with these arguments, and returns its output.
pub(crate) fn compose(arguments: &[&str]) -> String {
    assert!(std::env::var_os("COMPOSE_PROJECT_NAME").is_some(), "this test is run by scripts/test-stack");
    let mut command = Command::new("docker");
    command.arg("compose").args(arguments);
    expect(command)
}

/// Runs `docker compose` with these arguments and variables.
pub(crate) fn compose_with(variables: &[(&str, &str)], arguments: &[&str]) {
    let mut command = Command::new("docker");
    command.arg("compose").args(arguments).envs(variables.iter().copied());
    expect(command);
}

/// The standard error of a container so far.
pub(crate) fn log(container: &str) -> String {
    let output = run(Command::new("docker").args(["logs", container]));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs `docker` with these arguments, and returns its output.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(arguments);
    expect(command)
}

/// The containers of a service, including those that ended.
pub(crate) fn containers(service: &str) -> Vec<String> {
    compose(&["ps", "--all", "--quiet", service]).lines().map(str::to_owned).collect()
}

/// The engine's description of a service's only container.
pub(crate) fn inspect(service: &str) -> Value {
    let containers = containers(service);
    assert_eq!(containers.len(), 1, "{service}: {containers:?}");
    let described: Value = serde_json::from_str(&docker(&["inspect", &containers[0]])).unwrap();
    described[0].clone()
}

/// The address of a service's port on this machine.
pub(crate) fn address(service: &str, port: u16) -> SocketAddr {
    let printed = compose(&["port", service, &port.to_string()]);
    let address: SocketAddr = printed.trim().parse().unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST, "published on this machine alone");
    address
}
