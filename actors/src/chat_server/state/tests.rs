//! Every rule of the chat, both sides of every limit.
//!
//! The tests are dialogues with a chat that has no sockets and a clock that only the test moves, see [`chat::Chat`].

mod changes;
mod chat;
mod ending;
mod errors;
mod ids;
mod inboxes;
mod messages;
mod moderation;
mod names;
mod newcomers;
mod nodes;
mod positions;
mod presence;
mod private;
mod proof;
mod resume;
mod resume_meanwhile;
mod retention;
mod rooms;
mod settings;
mod typing;

pub(super) use self::chat::Chat;
