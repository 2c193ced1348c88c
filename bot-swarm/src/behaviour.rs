//! What kinds of bots there are, and what each does. A behaviour decides; the bot acts.

mod chatter;
mod churner;
mod flooder;
mod hopper;
mod lurker;
mod private;
mod slow;

use std::time::Duration;

use crate::plan::Habits;

/// How a bot behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BehaviourKind {
    /// Talks to its room.
    Chatter,
    /// Only reads.
    Lurker,
    /// Talks to other bots, in private.
    Private,
    /// Joins and leaves rooms.
    Hopper,
    /// Reads slowly.
    Slow,
    /// Leaves and comes back.
    Churner,
    /// Ignores limits.
    Flooder,
}

impl BehaviourKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Chatter, Self::Lurker, Self::Private, Self::Hopper, Self::Slow, Self::Churner, Self::Flooder];

    /// Its name, in the configuration and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chatter => "chatter",
            Self::Lurker => "lurker",
            Self::Private => "private",
            Self::Hopper => "hopper",
            Self::Slow => "slow",
            Self::Churner => "churner",
            Self::Flooder => "flooder",
        }
    }

    /// What a bot of this kind goes by.
    pub(crate) fn begin(self) -> Box<dyn Behaviour> {
        match self {
            Self::Chatter => Box::new(chatter::Chatter),
            Self::Lurker => Box::new(lurker::Lurker),
            Self::Private => Box::new(private::Private),
            Self::Hopper => Box::new(hopper::Hopper),
            Self::Slow => Box::new(slow::Slow),
            Self::Churner => Box::new(churner::Churner::default()),
            Self::Flooder => Box::new(flooder::Flooder),
        }
    }
}

/// To whom a bot talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// To nobody.
    Silent,
    /// To the room that it is at home in.
    Room,
    /// To its friends, one at a time.
    Friends,
}

/// What a bot does beside talking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// It visits another room than the one it visits.
    Hop,
    /// It goes, to come back and resume where it was.
    Depart {
        /// Whether it says goodbye, or is cut off.
        politely: bool,
        /// For how long.
        rest: Duration,
    },
}

/// What a bot goes by. Says what is to be done; never does it.
pub(crate) trait Behaviour {
    /// To whom it talks.
    fn talk(&self) -> Talk {
        Talk::Silent
    }

    /// What it does next, and how long from now. Asked when it is connected, and after each move. `None`: nothing.
    fn next_move(&mut self, _: &Habits, _: &mut fastrand::Rng) -> Option<(Duration, Move)> {
        None
    }

    /// Whether it reads no faster than `BOT_SLOW_BYTES_PER_SECOND`. Then nothing is timed that it receives, and what
    /// it misses when the server has enough of it, it does not ask for.
    fn reads_slowly(&self) -> bool {
        false
    }

    /// Whether it talks at `BOT_FLOOD_PER_SECOND`, whatever the server says. Then nothing is timed that it says.
    fn ignores_limits(&self) -> bool {
        false
    }
}

/// Some time around the mean: between half of it and half more.
fn around(mean: Duration, rng: &mut fastrand::Rng) -> Duration {
    mean.mul_f64(0.5 + rng.f64())
}
