//! The search for the highest load that keeps what is expected.

pub mod search;
