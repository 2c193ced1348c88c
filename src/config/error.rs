//! Why a configuration is not taken.

/// Why the configuration is not taken: one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is none of those taken.
    #[error("{variable}={value}: must be {range}")]
    BadValue {
        /// As in the environment, with its prefix.
        variable: &'static str,
        /// What the environment holds; a secret is hidden.
        value: String,
        /// What it may hold.
        range: String,
    },
    /// There is no such variable.
    #[error("{variable} is not known; did you mean {nearest}?")]
    Unknown {
        /// What was set.
        variable: String,
        /// The known variable that looks most like it.
        nearest: &'static str,
    },
    /// A value is missing or too many beside another.
    #[error("{0}")]
    Contradiction(&'static str),
    /// Two values do not go together.
    #[error("{variable}={value} is too small: it must be at least {least}, because {reason}")]
    TooSmall {
        /// As in the environment, with its prefix.
        variable: &'static str,
        /// What the environment holds, or the default.
        value: u64,
        /// The least that goes with the others.
        least: u64,
        /// A clause that follows "because".
        reason: &'static str,
    },
    /// One of two values that need each other is missing.
    #[error("{variable} is set and {missing} is not: {reason}")]
    Alone {
        /// The variable that is set.
        variable: &'static str,
        /// The one that is not.
        missing: &'static str,
        /// A sentence without its full stop.
        reason: &'static str,
    },
}
