//! The parts of the chat's state. Each owns its data, keeps its own invariants, and knows none of the rules.

pub(crate) mod catching_up;
pub(crate) mod cluster;
pub(crate) mod in_flight;
pub(crate) mod inboxes;
pub(crate) mod order;
mod parted;
pub(crate) mod participants;
pub(crate) mod paused;
pub(crate) mod positions;
pub(crate) mod presence;
pub(crate) mod proofs;
pub(crate) mod reads;
pub(crate) mod remembered;
pub(crate) mod room;
pub(crate) mod rooms;
pub(crate) mod slowed;
pub(crate) mod typing;
mod unclaimed;
mod vacancies;
