//! The process's surroundings: variables and the limit of open files.

use std::env;

use anyhow::Context;

use crate::admission::EXTRA_PLACES;

/// Files the process has open beside the connections that are counted: listeners, event loops, logs, a database, and the
/// connections that a full server answers.
const FILES_RESERVED: u64 = 128 + EXTRA_PLACES;

/// Adds what `.env` in the current folder says to the environment; what is set there already stays.
///
/// # Errors
/// The file is there and cannot be read or understood.
pub fn load_dotenv() -> anyhow::Result<()> {
    // Not `dotenvy::dotenv()`: that goes on to search the folders above.
    match dotenvy::from_path(".env") {
        Ok(()) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        Err(error) => Err(error).context(".env cannot be read"),
    }
}

/// The environment's variables.
///
/// # Errors
/// A variable of ours is not UTF-8.
pub fn variables() -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (name, value) in env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(crate::config::PREFIX)) else { continue };
        let value = value.to_str().with_context(|| format!("{name} is not UTF-8"))?;
        variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}

/// Raises the limit of open files as far as the system lets, and returns how many connections that allows.
pub fn raise_open_files() -> u64 {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1_024);
    files.saturating_sub(FILES_RESERVED)
}
