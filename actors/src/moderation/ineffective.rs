//! The reasons that a decision has no effect.

/// Why a decision has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ineffective {
    /// The table of sanctions or of rooms with settings is full.
    #[error("there are {0} of them, and no more are allowed: lift one first")]
    Full(usize),
    /// There is no such sanction to lift.
    #[error("there is no such sanction")]
    NotThere,
    /// There are as many invitations as there may be, to the room or in all.
    #[error("there are {0} invitations {1}, and no more are allowed: take one back first")]
    TooManyInvited(usize, &'static str),
    /// There is no such invitation to take back.
    #[error("there is no such invitation")]
    NotInvited,
}
