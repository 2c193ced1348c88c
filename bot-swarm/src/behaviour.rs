//! What kinds of bots there are.

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
}
