//! Why a configuration is refused.

/// Why a configuration is refused, in one line for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value is not in its range.
    #[error("{variable}={value:?} is not valid: it must be {range}")]
    BadValue {
        /// The variable's full name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// One of several parts of a value is wrong.
    #[error("{variable}={value:?} is not valid: {why}")]
    BadPart {
        /// The variable's full name.
        variable: &'static str,
        /// Its value.
        value: String,
        /// The wrong part, the reason, and an example.
        why: String,
    },
    /// A variable begins with the swarm's prefix but is unknown.
    #[error("{variable} is not a variable of bot-swarm; did you mean {nearest}?")]
    Unknown {
        /// The variable as it was written.
        variable: String,
        /// The known variable with the most similar name.
        nearest: &'static str,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// The scenario file cannot be read.
    #[error("BOT_SCENARIO: {0}")]
    Scenario(String),
}
