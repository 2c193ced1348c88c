//! The files that `scripts/install-test-tools` installs besides Chromium.

use std::path::{Path, PathBuf};

/// The path of a tool's file.
pub(crate) fn path(file: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools").join(file);
    assert!(path.exists(), "{} is not there: run scripts/install-test-tools", path.display());
    path
}
