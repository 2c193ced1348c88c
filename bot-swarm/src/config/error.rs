//! Why a configuration is refused.

/// Why a configuration is refused, in one line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is not in its range.
    #[error("{variable}={value:?} is not valid: it must be {range}")]
    BadValue {
        /// Its name, in full.
        variable: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// A value has several parts, and one of them is wrong.
    #[error("{variable}={value:?} is not valid: {why}")]
    BadPart {
        /// Its name, in full.
        variable: &'static str,
        /// What it was set to.
        value: String,
        /// Which part is wrong and why, with an example.
        why: String,
    },
    /// A variable begins like the swarm's and is none of them.
    #[error("{variable} is not a variable of bot-swarm; did you mean {nearest}?")]
    Unknown {
        /// As it was written.
        variable: String,
        /// The known one whose name is nearest.
        nearest: &'static str,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Conflict(&'static str),
    /// The scenario cannot be read.
    #[error("BOT_SCENARIO: {0}")]
    Scenario(String),
}
