//! The kinds of bots. A behaviour decides; the bot acts.

mod chatter;
mod churner;
mod editor;
mod flooder;
mod hopper;
mod lurker;
mod private;
mod reactor;
mod reader;
mod slow;
mod typist;

use std::time::Duration;

use crate::plan::Habits;

/// The kind of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BehaviourKind {
    /// Talks in its room.
    Chatter,
    /// Only reads.
    Lurker,
    /// Sends private messages to other bots.
    Private,
    /// Joins and leaves rooms besides its own.
    Hopper,
    /// Reads slowly.
    Slow,
    /// Disconnects and returns.
    Churner,
    /// Talks in its room, and edits and deletes its messages.
    Editor,
    /// Reads, and reacts to messages of its room.
    Reactor,
    /// Reads, and says how far it has read.
    Reader,
    /// Reads, and types all the time.
    Typist,
    /// Ignores the server's limits.
    Flooder,
}

impl BehaviourKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 11] = [
        Self::Chatter,
        Self::Lurker,
        Self::Private,
        Self::Hopper,
        Self::Slow,
        Self::Churner,
        Self::Editor,
        Self::Reactor,
        Self::Reader,
        Self::Typist,
        Self::Flooder,
    ];

    /// Its name in the configuration and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chatter => "chatter",
            Self::Lurker => "lurker",
            Self::Private => "private",
            Self::Hopper => "hopper",
            Self::Slow => "slow",
            Self::Churner => "churner",
            Self::Editor => "editor",
            Self::Reactor => "reactor",
            Self::Reader => "reader",
            Self::Typist => "typist",
            Self::Flooder => "flooder",
        }
    }

    /// Whether it reads no faster than `BOT_SLOW_BYTES_PER_SECOND`. Then its deliveries are not timed, and
    /// it does not ask for the messages that it misses when the server closes its connection.
    pub(crate) fn reads_slowly(self) -> bool {
        self == Self::Slow
    }

    /// Creates the behaviour of a bot of this kind.
    pub(crate) fn begin(self) -> Box<dyn Behaviour> {
        match self {
            Self::Chatter => Box::new(chatter::Chatter),
            Self::Lurker => Box::new(lurker::Lurker),
            Self::Private => Box::new(private::Private),
            Self::Hopper => Box::new(hopper::Hopper),
            Self::Slow => Box::new(slow::Slow),
            Self::Churner => Box::new(churner::Churner::default()),
            Self::Editor => Box::new(editor::Editor),
            Self::Reactor => Box::new(reactor::Reactor),
            Self::Reader => Box::new(reader::Reader),
            Self::Typist => Box::new(typist::Typist),
            Self::Flooder => Box::new(flooder::Flooder),
        }
    }
}

/// The receiver of a bot's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// No receiver.
    Silent,
    /// The bot's home room.
    Room,
    /// One of its friends at a time.
    Friends,
}

/// An action of a bot apart from talking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// It leaves the room that it visits, if any, and visits another.
    Hop,
    /// It edits its newest message, or deletes it.
    ChangeOwn,
    /// It reacts to the newest message of its room, or takes a reaction back.
    React,
    /// It says that it has read the newest message of its room.
    Read,
    /// It says that it types in its room.
    Type,
    /// It disconnects, then returns and resumes.
    Depart {
        /// Whether it closes the WebSocket first, or just drops the connection.
        politely: bool,
        /// The time until it returns.
        rest: Duration,
    },
}

/// The rules that a bot follows. A behaviour only decides; the bot carries out.
pub(crate) trait Behaviour {
    /// The receiver of its messages.
    fn talk(&self) -> Talk {
        Talk::Silent
    }

    /// The next move, and the time from now until then. The bot asks after it has connected, and after each move.
    /// `None`: no more moves.
    fn next_move(&mut self, _: &Habits, _: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        None
    }

    /// Whether it talks at `BOT_FLOOD_PER_SECOND`, whatever the server answers. Then its messages are not timed.
    fn ignores_limits(&self) -> bool {
        false
    }
}

/// A random time between half the mean and one and a half times the mean.
fn around(mean: Duration, rng: &mut fastrand::Rng) -> Duration {
    mean.mul_f64(0.5 + rng.f64())
}
