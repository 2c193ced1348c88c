//! The client against the real server, and against one that plays a script.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test ends with what is wrong"
)]

mod example;
mod harness;
mod library;
mod real;
mod script;
mod scripted;
