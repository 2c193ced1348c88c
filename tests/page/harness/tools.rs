//! What `scripts/install-test-tools` installs beside Chromium.

use std::path::{Path, PathBuf};

/// A file of the tools.
pub(crate) fn path(file: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools").join(file);
    assert!(path.exists(), "{} is not there: run scripts/install-test-tools", path.display());
    path
}
