//! Network namespaces for tests, in which every port of the loopback interface is free.
//!
//! The test runs itself again inside the namespace (`unshare`, `ip`). A user namespace provides the rights, so the test
//! needs no special rights on the machine. If the kernel does not permit it, the test fails with that reason.

use std::process::{Command, Output};

/// Set in the environment of the process inside the namespace.
const IS_INSIDE: &str = "STARLING_TEST_NETWORK";

/// Runs a system program that must succeed. Arguments are separated by blanks, so none may contain a blank.
pub fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is required for a network namespace: {error}"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this process runs inside a namespace made by [`again`]. If so, its loopback interface is up afterwards.
pub fn is_this() -> bool {
    let is_inside = std::env::var_os(IS_INSIDE).is_some();
    if is_inside {
        run("ip", "link set lo up");
    }
    is_inside
}

/// Runs this program again, with these arguments, inside a new namespace.
pub fn again(arguments: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--kill-child"]).arg(std::env::current_exe().unwrap());
    let output = command.args(arguments).env(IS_INSIDE, "1").output();
    output.unwrap_or_else(|error| panic!("unshare is required for a network namespace: {error}"))
}

/// Whether this process runs inside the namespace. The outer process gets `false` after the inner process has
/// succeeded.
///
/// `test` is the full name of the calling test, with its modules.
pub fn is_inside(test: &str) -> bool {
    if is_this() {
        return true;
    }
    let output = again(&["--exact", test, "--nocapture"]);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside a network namespace, {test}: {told}");
    assert!(told.contains("1 passed"), "{test} is not the name of this test: {told}");
    false
}
