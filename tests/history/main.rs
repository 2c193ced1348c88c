//! Tests the promises of the stored history with the real binary: restarts, kills, refused databases, disks that fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test panics at the first error"
)]

mod control_group;
mod copies;
mod crash;
mod cut_off;
mod damaged;
mod disk;
mod foreign;
mod harness;
mod left_with_log;
mod needs_root;
mod numbers;
mod power_cut;
mod promises;
mod refused;
mod starts;
