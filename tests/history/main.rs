//! What the stored history promises, held against the real binary: restarts, kills, refused databases, a full disk.

mod crash;
mod harness;
mod promises;
mod refused;
mod small_disk;
