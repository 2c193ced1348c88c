//! What the ledger says to one delivery.

/// Whether a delivery counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bot had a right to it and had not got it before.
    Counts,
    /// It was wrong, and is noted as such.
    Wrong,
}
