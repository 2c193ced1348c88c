//! The log of several nodes, in a real NATS server that is killed, paused, cut off, replaced and misconfigured; and the
//! server's program as the nodes of one chat.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    reason = "a test ends with what is wrong"
)]

mod acknowledged;
mod admitted;
mod backups;
mod checkpoints;
mod credentials;
mod documented;
mod ends;
mod faults;
mod harness;
mod listed;
mod lives;
mod lost;
mod moderation;
mod neighbours;
mod operators;
mod refused;
mod replays;
mod room_history;
mod server;
mod settings;
mod together;
