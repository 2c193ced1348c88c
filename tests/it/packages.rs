//! The archive of `scripts/build-release`, as a user gets it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tidy;

/// Runs a command in a folder; it must succeed.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_release_is_an_archive_with_programs_manuals_and_a_checksum() {
    let root = tidy::root();
    let build = || run(root, "scripts/build-release", &["--profile", "quick"]);
    let archive = PathBuf::from(build().lines().last().unwrap());
    let first = fs::read(&archive).unwrap();
    build();
    assert!(fs::read(&archive).unwrap() == first, "the same commit made another archive");

    let name = archive.file_name().unwrap().to_str().unwrap();
    let checked = run(archive.parent().unwrap(), "sha256sum", &["--check", &format!("{name}.sha256")]);
    assert_eq!(checked, format!("{name}: OK"));

    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "tar", &["--extract", "--file", archive.to_str().unwrap()]);
    let top = folder.path().join(name.strip_suffix(".tar.gz").unwrap());
    let commit = run(root, "git", &["rev-parse", "--short=12", "HEAD"]);
    for program in ["starling", "bot-swarm"] {
        let version = run(&top, &format!("bin/{program}"), &["--version"]);
        assert_eq!(version, format!("{program} {} ({commit})", env!("CARGO_PKG_VERSION")));
        let page = fs::read_to_string(top.join(format!("man/{program}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {program} 1")), "{page}");
        let script = format!("source completions/{program}.bash && complete -p {program}");
        assert!(run(&top, "bash", &["-c", &script]).contains(program));
    }
    for file in
        ["man/starling-history-check.1", "completions/_starling", "starling.service", "LICENSE-MIT", ".env.example"]
    {
        assert!(top.join(file).is_file(), "{file}");
    }
}
