//! The number of bots by behaviour and state.

use crate::behaviour::BehaviourKind;

/// The state of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BotState {
    /// The profile has not wanted it yet.
    Waiting,
    /// It connects for the first time.
    Connecting,
    /// It is connected and has caught up.
    Connected,
    /// It has lost its connection, or has not caught up since.
    Away,
    /// It has left by its own choice, and will return.
    Resting,
    /// It has left for good.
    Gone,
}

impl BotState {
    /// All states, in the order of their discriminants.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Connecting, Self::Connected, Self::Away, Self::Resting, Self::Gone];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Away => "away",
            Self::Resting => "resting",
            Self::Gone => "gone",
        }
    }
}

/// Counts of bots by behaviour and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census([[u32; BotState::ALL.len()]; BehaviourKind::ALL.len()]);

impl Census {
    /// Bots of this behaviour in this state.
    pub fn of(&self, behaviour: BehaviourKind, state: BotState) -> u32 {
        self.0.get(behaviour as usize).and_then(|states| states.get(state as usize)).copied().unwrap_or_default()
    }

    /// Bots in this state.
    pub fn in_state(&self, state: BotState) -> u32 {
        BehaviourKind::ALL.iter().map(|behaviour| self.of(*behaviour, state)).sum()
    }

    /// Adds a new bot, in state `Waiting`.
    pub fn add(&mut self, behaviour: BehaviourKind) {
        *self.cell(behaviour, BotState::Waiting) += 1;
    }

    /// Moves a bot from one state to another.
    pub fn change(&mut self, behaviour: BehaviourKind, from: BotState, to: BotState) {
        *self.cell(behaviour, from) -= 1;
        *self.cell(behaviour, to) += 1;
    }

    fn cell(&mut self, behaviour: BehaviourKind, state: BotState) -> &mut u32 {
        #[expect(clippy::indexing_slicing, reason = "as many cells as there are behaviours and states")]
        &mut self.0[behaviour as usize][state as usize]
    }
}

impl std::ops::AddAssign for Census {
    fn add_assign(&mut self, other: Self) {
        for (ours, theirs) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            *ours += theirs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bot_is_counted_once_whatever_happens_to_it() {
        let mut census = Census::default();
        for behaviour in BehaviourKind::ALL {
            census.add(behaviour);
        }
        census.add(BehaviourKind::Slow);
        census.change(BehaviourKind::Slow, BotState::Waiting, BotState::Connected);
        let mut sum = census;
        sum += census;
        assert_eq!((sum.of(BehaviourKind::Slow, BotState::Connected), sum.in_state(BotState::Waiting)), (2, 22));
        assert_eq!(BotState::ALL.iter().map(|state| sum.in_state(*state)).sum::<u32>(), 24);
    }

    #[test]
    fn the_lists_are_in_the_order_of_the_numbers() {
        assert!(BotState::ALL.iter().enumerate().all(|(index, state)| *state as usize == index));
        assert!(BehaviourKind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
    }
}
