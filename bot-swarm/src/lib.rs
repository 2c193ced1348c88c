//! Many bots that load a chat server, check what arrives and measure how long it took.
//!
//! ```text
//! Swarm ── asks ──▶ Worker (actor, one per thread)      Ledger, Stats: one per worker, added up at the end
//!                     │  ticker: one timer, the Agenda
//!                     └──▶ Bot (actor) ── Socket ──▶ server
//! ```
//!
//! A [`plan`] decides when each bot sends, whatever the server does; latencies run from the planned time to every
//! receiver. Each message carries a [`marker`], with which the [`ledger`] checks every delivery. [`run`] is the only
//! entry point, for the program and for tests.
//!
//! Invariants:
//! - The bots know only the server's protocol: they depend on `starling-protocol`, never on `starling-actors`.
//! - Judgement is pure: [`ledger`], [`plan`], [`marker`], [`server_clock`] do no I/O and read no clock.
//! - A planned time never changes, however late its message is sent. The bot's own delays are recorded separately.
//! - Everything that waits is bounded: messages in flight per bot, unwritten bytes per socket, positions remembered per
//!   room, messages followed to their last receiver.

pub mod advice;
pub mod agenda;
pub mod backoff;
pub mod behaviour;
mod bot;
pub mod census;
pub mod cli;
mod client;
pub mod clock;
pub mod compare;
pub mod config;
pub mod connect_error;
pub mod credentials;
mod crowds;
pub mod dialect;
mod dialing;
pub mod doubt;
pub mod endpoint;
pub mod expect;
pub mod find_limit;
pub mod footprint;
mod foreign;
mod judgement;
pub mod last_receivers;
pub mod latencies;
pub mod ledger;
mod loop_probe;
pub mod marker;
pub mod merge;
mod metrics;
pub mod metrics_url;
pub mod mix;
pub mod open_files;
pub mod outcome;
mod outstanding;
mod panics;
pub mod plan;
mod presence;
pub mod profile;
pub mod progress;
mod read_buffers;
mod recorder;
pub mod redaction;
mod refused;
pub mod report;
pub mod roster;
pub mod server_clock;
pub mod server_stages;
pub mod sizes;
pub mod stats;
mod stop;
mod swarm;
pub mod tag;
mod ticker;
pub mod timing;
pub mod tls;
pub mod units;
pub mod wire;
mod worker;
mod worker_state;

pub use config::Config;
pub use outcome::Outcome;
pub use report::document::Report;
pub use stop::StopHandle;
pub use swarm::{RunError, run, run_on};
