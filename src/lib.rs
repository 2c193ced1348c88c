//! The server's process and its edges: configuration, HTTP, the WebSocket handshake, signals. No chat rules here.
//!
//! [`Server::start`] is the one door: the binary and the tests start the real server through it.

pub mod config;
pub mod environment;
pub mod healthcheck;
pub mod help;
pub mod history_commands;
mod http;
mod limit_metrics;
pub mod logging;
mod page;
mod process_metrics;
mod refusal;
mod server;
pub mod shutdown;
mod state;
mod summary;
mod upgrade;

pub use config::{Config, ConfigError};
pub use server::{Server, StartError};
