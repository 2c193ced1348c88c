//! Code that both programs, the server and the bots, share for the environment, for logging and for metrics.
//!
//! - [`Environment`] is the variables of the process and those of a file `.env`.
//! - [`dotenv`] reads and writes such files.
//! - [`samples`] parses Prometheus' text format.
//! - [`diagnosis`] determines what limits a server, from its metrics.
//! - [`lab`] makes the figures of the page `/lab` from the same metrics.
//! - [`start`] checks the clock and handles the signal of the file size limit.
//! - [`exposition`] makes metric families from figures that were counted elsewhere.
//! - [`manuals`] makes man pages and shell completions.
//! - [`log_lines`] writes log lines to standard error and never waits for it.
//!
//! The crate contains no variable of either program.

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
