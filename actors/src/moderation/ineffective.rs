//! The reasons that a decision has no effect.

use super::target::Target;

/// Why a decision has no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ineffective {
    /// There are as many sanctions as there may be.
    #[error("there are {0} mutes and bans, and no more are allowed: lift one first")]
    TooManySanctions(usize),
    /// There are as many rooms with settings as there may be.
    #[error("{0} rooms have settings, and no more may have any: take those of one back first")]
    TooManySet(usize),
    /// There is no such sanction to lift. The same client or address may have one of another place, which the operator
    /// may mean.
    #[error("there is no such sanction{}", elsewhere(.0.as_deref()))]
    NotThere(Option<Box<Target>>),
    /// There are as many invitations as there may be, to the room or in all.
    #[error("there are {0} invitations {1}, and no more are allowed: take one back first")]
    TooManyInvited(usize, &'static str),
    /// There is no such invitation to take back.
    #[error("there is no such invitation")]
    NotInvited,
}

fn elsewhere(target: Option<&Target>) -> String {
    target.map_or_else(String::new, |target| {
        let place =
            target.room.as_ref().map_or_else(|| "on the whole server".to_owned(), |room| format!("in the room {room}"));
        format!("; {} is {} {place}", target.who(), target.measure.participle())
    })
}
