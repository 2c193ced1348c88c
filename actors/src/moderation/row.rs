//! The form in which a store and a checkpoint keep decisions.

use serde::Serialize;

/// A part of the state for a store: a key, and its value; `None`: the key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Unique.
    pub key: String,
    /// JSON.
    pub value: Option<String>,
}

/// The JSON of a value.
pub(super) fn text(value: &impl Serialize) -> String {
    #[expect(clippy::expect_used, reason = "all keys are texts, and no value fails")]
    serde_json::to_string(value).expect("it is plain data")
}
