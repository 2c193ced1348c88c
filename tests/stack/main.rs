//! The real stack: both images, Prometheus, cAdvisor and 20 containers of bots; and that of three nodes (`nodes`).
//! `scripts/test-stack` runs it.
//!
//! Every test begins with a healthy stack, and repairs it if another test has disturbed it; the load is small, and
//! limited in time. Tests run one at a time.

#[cfg(test)]
mod answered;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod nodes;
#[cfg(test)]
#[path = "../it/documents/page.rs"]
mod page;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
#[path = "shown.rs"]
mod shown;
#[cfg(test)]
mod started;
#[cfg(test)]
mod verdict;

#[cfg(test)]
pub(crate) use self::started::{disturb, expect_clean_ledger, start};
