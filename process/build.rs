//! Sets `STARLING_VERSION`: the version of the package and the commit that it was built from.
//!
//! The commit is in `STARLING_COMMIT`, or the one that is checked out. A debug build does not contain it: otherwise,
//! every commit would rebuild everything.

use std::env;
use std::path::Path;
use std::process::Command;

/// The number of hexadecimal digits that name a commit.
const DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-env-changed=STARLING_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let package = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let given = env::var("STARLING_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| is_release.then(checked_out)?);
    let version = match commit {
        Some(commit) => format!("{package} ({})", commit.get(..DIGITS).unwrap_or(&commit)),
        None if is_release => package,
        None => format!("{package} (debug)"),
    };
    println!("cargo:rustc-env=STARLING_VERSION={version}");
}

/// The commit that is checked out; `None` if this folder is not in a repository of its own.
fn checked_out() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new("..").canonicalize().ok()? {
        return None;
    }
    // Git adds a line to this file whenever another commit is checked out.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
