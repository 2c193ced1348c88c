//! The server's process and its edges: configuration, HTTP, the WebSocket handshake, signals. No chat rules here.
//!
//! [`Server::start`] is the one door: the binary and the tests start the real server through it.

mod auth;
pub mod config;
pub mod environment;
pub mod help;
pub mod history_commands;
mod http;
pub mod logging;
mod page;
mod process_metrics;
mod refusal;
mod server;
pub mod shutdown;
mod state;
mod summary;
pub mod token_command;
mod upgrade;

pub use auth::AuthError;
pub use config::{Config, ConfigError};
pub use server::{Server, StartError};
