//! The ledger's verdict on one delivery.

/// Whether a delivery counts as correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bot had to receive it and had not received it before.
    Counts,
    /// It was wrong, and is noted as a fault.
    Wrong,
}
