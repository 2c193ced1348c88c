//! The environment variables of a program, including those in `.env`.

use std::collections::BTreeMap;
use std::env;
use std::io::ErrorKind;
use std::path::Path;

use crate::dotenv::{self, DotenvError, Setting};

/// The file of variables in the current folder.
const DOTENV: &str = ".env";

/// The reason that the variables cannot be read: one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The file `.env` cannot be read or parsed.
    #[error(transparent)]
    Dotenv(#[from] DotenvError),
    /// A variable's value is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
}

/// The variables of the process, and those of `.env` in the current folder that the process does not have.
///
/// The process's own variables are not changed.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    of_process: BTreeMap<String, Option<String>>,
    of_file: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the environment and `.env`.
    ///
    /// # Errors
    /// [`EnvironmentError::Dotenv`] if a file `.env` exists but cannot be read or parsed.
    pub fn read() -> Result<Self, EnvironmentError> {
        // Only in the current folder: those above it may contain the file of another program.
        let settings = match dotenv::read(Path::new(DOTENV)) {
            Err(DotenvError::Unreadable { error, .. }) if error.kind() == ErrorKind::NotFound => Vec::new(),
            settings => settings?,
        };
        let of_file = settings.into_iter().map(|Setting { variable, value }| (variable, value)).collect();
        let of_process = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
            .collect();
        Ok(Self { of_process, of_file })
    }

    /// The value of one variable.
    ///
    /// # Errors
    /// [`EnvironmentError::NotUtf8`].
    pub fn get(&self, variable: &str) -> Result<Option<&str>, EnvironmentError> {
        match self.of_process.get(variable) {
            Some(None) => Err(EnvironmentError::NotUtf8(variable.to_owned())),
            Some(Some(value)) => Ok(Some(value)),
            None => Ok(self.of_file.get(variable).map(String::as_str)),
        }
    }

    /// Whether the process itself has the variable, not `.env` alone.
    pub fn is_of_process(&self, variable: &str) -> bool {
        self.of_process.contains_key(variable)
    }

    /// All variables with this prefix, except those that Kubernetes adds.
    ///
    /// # Errors
    /// [`EnvironmentError::NotUtf8`].
    pub fn starting_with(&self, prefix: &str) -> Result<Vec<(String, String)>, EnvironmentError> {
        let names: std::collections::BTreeSet<&String> = self.of_process.keys().chain(self.of_file.keys()).collect();
        let mut found = Vec::new();
        for name in names.into_iter().filter(|name| name.starts_with(prefix)) {
            if let Some(value) = self.get(name)?.filter(|value| !is_injected(name, value)) {
                found.push((name.clone(), value.to_owned()));
            }
        }
        Ok(found)
    }
}

/// Whether a variable is one of those that Kubernetes adds to every container for each Service of its namespace: for a
/// Service `chat` they are `CHAT_SERVICE_HOST`, `CHAT_SERVICE_PORT`, `CHAT_SERVICE_PORT_HTTP` for a named port,
/// `CHAT_PORT=tcp://10.0.0.1:8080`, `CHAT_PORT_8080_TCP`, and `CHAT_PORT_8080_TCP_PROTO`, `_PORT` and `_ADDR`.
fn is_injected(variable: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if variable.ends_with("_SERVICE_HOST") || variable.ends_with("_SERVICE_PORT") || variable.contains("_SERVICE_PORT_")
    {
        return true;
    }
    if variable.ends_with("_PORT") && is_url {
        return true;
    }
    // A Service may itself be named after a port.
    let mut ends = variable.match_indices("_PORT_").map(|(at, found)| variable.get(at + found.len()..));
    ends.any(|end| end.is_some_and(is_port_of_service))
}

/// Whether this is the end of such a name, like `8080_TCP_ADDR`.
fn is_port_of_service(text: &str) -> bool {
    let mut parts = text.split('_');
    let is_port = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
    let is_protocol = parts.next().is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol));
    let is_end = parts.next().is_none_or(|part| ["PROTO", "PORT", "ADDR"].contains(&part));
    is_port && is_protocol && is_end && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_adds_is_known_and_nothing_else() {
        for (variable, value) in [
            ("CHAT_SERVICE_HOST", "10.0.0.1"),
            ("CHAT_SERVICE_PORT", "8080"),
            ("CHAT_SERVICE_PORT_HTTP", "8080"),
            ("CHAT_SERVER_SERVICE_HOST", "10.0.0.1"),
            ("CHAT_PORT", "tcp://10.0.0.1:8080"),
            ("CHAT_SERVER_PORT", "udp://10.0.0.1:8080"),
            ("CHAT_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("CHAT_PORT_8080_TCP_PROTO", "tcp"),
            ("CHAT_PORT_8080_TCP_PORT", "8080"),
            ("CHAT_PORT_8080_SCTP_ADDR", "10.0.0.1"),
            ("CHAT_PORT_5_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_injected(variable, value), "{variable}={value}");
        }
        for (variable, value) in [
            ("CHAT_PORT", "21001"),
            ("CHAT_PORT_8080", "x"),
            ("CHAT_PORT_HTTP_TCP", "x"),
            ("CHAT_PORT_99999_TCP", "x"),
            ("CHAT_PORT_8080_TCP_ADDRESS", "x"),
            ("CHAT_SERVICE", "x"),
            ("CHAT_BIND", "tcp://10.0.0.1:8080"),
        ] {
            assert!(!is_injected(variable, value), "{variable}={value}");
        }
    }
}
