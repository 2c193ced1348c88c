//! A network namespace of the test's own, in which every port of the loopback interface is free.
//!
//! The test runs itself once more inside of it (`unshare`, `ip`). A user namespace gives it the rights, so it needs none
//! of the machine's. Where the kernel does not allow that, the test fails and says so.

use std::process::{Command, Output};

/// Tells the second run that it is the second.
const IS_INSIDE: &str = "STARLING_TEST_NETWORK";

/// Runs a program of the system that must succeed. No argument has a blank in it.
pub fn run(program: &str, arguments: &str) {
    let output = Command::new(program).args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed for a network of the test's own: {error}"));
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this process is inside of a namespace that [`again`] has made; if so, its loopback interface is up.
pub fn is_this() -> bool {
    let is_inside = std::env::var_os(IS_INSIDE).is_some();
    if is_inside {
        run("ip", "link set lo up");
    }
    is_inside
}

/// Runs this program once more, with these arguments, inside of a namespace of its own.
pub fn again(arguments: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--kill-child"]).arg(std::env::current_exe().unwrap());
    let output = command.args(arguments).env(IS_INSIDE, "1").output();
    output.unwrap_or_else(|error| panic!("unshare is needed for a network of the test's own: {error}"))
}

/// Whether this is the run inside of the namespace. The run outside gets `false` after the run inside has succeeded.
///
/// `test` is the name of the test that asks, with its modules.
pub fn is_inside(test: &str) -> bool {
    if is_this() {
        return true;
    }
    let output = again(&["--exact", test, "--nocapture"]);
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in a network of its own, {test}: {told}");
    assert!(told.contains("1 passed"), "{test} is this test: {told}");
    false
}
