//! The reasons that a decision has no effect.

/// Why a decision has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ineffective {
    /// There are as many sanctions as there may be.
    #[error("there are {0} mutes and bans, and no more are allowed: lift one first")]
    TooManySanctions(usize),
    /// There are as many rooms with settings as there may be.
    #[error("{0} rooms have settings, and no more may have any: take those of one back first")]
    TooManySet(usize),
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
