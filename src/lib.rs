//! The server's process and its edges: configuration, HTTP, the WebSocket handshake, signals. No chat rules here.
//!
//! [`Server::start`] is the only entry point: the binary and the tests both start the server through it.

mod accept;
mod addresses;
mod admission;
mod auth;
mod broken_connections;
mod callers;
pub mod command_line;
pub mod config;
mod control_group;
mod diagnosis;
pub mod environment;
mod extensions;
mod headers;
pub mod healthcheck;
pub mod history_commands;
mod http;
mod http_limits;
mod http_stream;
mod lab;
mod limit_metrics;
pub mod logging;
mod memory_watch;
pub mod nats;
mod origin;
mod page;
mod path_prefix;
mod process_metrics;
mod reader_left;
mod readiness;
mod refusal;
mod request_body;
mod request_head;
mod server;
pub mod service_manager;
pub mod shutdown;
mod start_error;
mod state;
mod summary;
mod surroundings;
mod threads;
mod timed;
mod tls;
pub mod token_command;
mod upgrade;
mod worker;

pub use addresses::{ForwardedHeader, Networks};
pub use auth::AuthError;
pub use config::{Config, ConfigError};
pub use origin::AllowedOrigins;
pub use path_prefix::PathPrefix;
pub use server::{RunError, Server};
pub use starling_actors::vitals::Death;
pub use start_error::StartError;
pub use tls::TlsError;
