//! The reasons that a configuration is refused.

/// The reason that the configuration is refused: one line for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value is not in the accepted range.
    #[error("{variable}={value}: must be {range}")]
    BadValue {
        /// As in the environment, with its prefix.
        variable: &'static str,
        /// The value in the environment; a secret is hidden.
        value: String,
        /// The accepted values.
        range: String,
    },
    /// There is no such variable.
    #[error("{variable} is not known; did you mean {nearest}?")]
    Unknown {
        /// The unknown variable.
        variable: String,
        /// The known variable with the most similar name.
        nearest: &'static str,
    },
    /// Two variables contradict each other.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A value is too small for another one.
    #[error("{variable}={value} is too small: it must be at least {least}, because {reason}")]
    TooSmall {
        /// As in the environment, with its prefix.
        variable: &'static str,
        /// The value in the environment, or the default.
        value: u64,
        /// The smallest value that fits the other variables.
        least: u64,
        /// A clause that follows "because".
        reason: &'static str,
    },
    /// A variable is set without another one that it needs.
    #[error("{variable} is set and {missing} is not: {reason}")]
    Alone {
        /// The variable that is set.
        variable: &'static str,
        /// The variable that is not set.
        missing: &'static str,
        /// A sentence without its full stop.
        reason: &'static str,
    },
}
