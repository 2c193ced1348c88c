//! The server's process and its edges: configuration, HTTP, the WebSocket handshake, signals. No chat rules here.
//!
//! [`Server::start`] is the one door: the binary and the tests start the real server through it.

mod accept;
mod addresses;
mod admission;
pub mod config;
pub mod environment;
mod headers;
pub mod help;
pub mod history_commands;
mod http;
pub mod logging;
mod origin;
mod page;
mod process_metrics;
mod refusal;
mod server;
pub mod shutdown;
mod state;
mod summary;
mod tls;
mod upgrade;

pub use addresses::{ForwardedHeader, Networks};
pub use config::{Config, ConfigError};
pub use origin::AllowedOrigins;
pub use server::{RunError, Server, StartError};
pub use starling_actors::vitals::Died;
pub use tls::TlsError;
