//! Code that both programs, the server and the bots, share for the environment, for logging and for metrics.
//!
//! - [`Environment`] is the variables of the process and those of a file `.env`.
//! - [`dotenv`] reads and writes such files.
//! - [`samples`] parses Prometheus' text format.
//! - [`diagnosis`] says what limits a server, by its metrics.
//! - [`lab`] makes the figures of the page `/lab` from the same metrics.
//! - [`start`] sees to the clock and to the signal of the limit on the size of files.
//! - [`exposition`] makes metric families of figures that were counted elsewhere.
//! - [`manuals`] makes man pages and shell completions.
//! - [`log_lines`] writes log lines to standard error and never waits for it.
//!
//! The crate knows no variable of either program.

pub mod diagnosis;
pub mod dotenv;
mod environment;
pub mod exposition;
pub mod lab;
pub mod log_lines;
#[cfg(feature = "command-line")]
pub mod manuals;
pub mod samples;
pub mod start;

pub use environment::{Environment, EnvironmentError};

/// The version of both programs, with the commit that a release was built from: `0.1.0 (0123456789ab)`.
pub const VERSION: &str = env!("STARLING_VERSION");
