//! The mix of behaviours, by weight.

use std::fmt;
use std::str::FromStr;

use crate::behaviour::BehaviourKind;

/// The largest weight of a behaviour.
const WEIGHT_MAX: u32 = 10_000;

/// Behaviours with weights: in each group of as many bots as the sum of the weights, each behaviour has as many bots as
/// its weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(Vec<(BehaviourKind, u32)>);

impl Mix {
    /// All bots have the same behaviour.
    pub fn only(behaviour: BehaviourKind) -> Self {
        Self(vec![(behaviour, 1)])
    }

    /// Whether some bots have this behaviour.
    pub fn has(&self, behaviour: BehaviourKind) -> bool {
        self.0.iter().any(|(kind, _)| *kind == behaviour)
    }

    /// The behaviours of the first `count` bots. Within each group of as many bots as the sum of the weights, the order
    /// is random, so that behaviours do not correlate with rooms, and any part of the bots is mixed.
    pub fn deal(&self, count: u32, seed: u64) -> Vec<BehaviourKind> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut dealt = Vec::with_capacity(count as usize);
        while dealt.len() < count as usize {
            let mut group: Vec<BehaviourKind> =
                self.0.iter().flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight as usize)).collect();
            rng.shuffle(&mut group);
            dealt.extend(group);
        }
        dealt.truncate(count as usize);
        dealt
    }
}

/// The text is not a mix of behaviours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAMix {
    /// A part has no weight.
    #[error("{0:?} has no weight: write it like chatter=1")]
    NoWeight(String),
    /// There is no behaviour of this name.
    #[error("there is no behaviour {0:?}: write {behaviours}", behaviours = BehaviourKind::ALL.map(BehaviourKind::as_str).join(", "))]
    Unknown(String),
    /// The weight is no number, or too large.
    #[error("the weight of {0} must be a whole number, 0 to {WEIGHT_MAX}, not {1:?}")]
    Weight(&'static str, String),
    /// A behaviour stands twice.
    #[error("{0} stands twice")]
    Twice(&'static str),
    /// All weights are 0.
    #[error("no behaviour has a weight above 0")]
    Nothing,
}

impl FromStr for Mix {
    type Err = NotAMix;

    fn from_str(text: &str) -> Result<Self, NotAMix> {
        let mut mix: Vec<(BehaviourKind, u32)> = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(|| NotAMix::NoWeight(part.trim().to_owned()))?;
            let (name, weight) = (name.trim(), weight.trim());
            let kind = BehaviourKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            let kind = kind.ok_or_else(|| NotAMix::Unknown(name.to_owned()))?;
            let number = weight.parse().ok().filter(|weight| *weight <= WEIGHT_MAX);
            let weight = number.ok_or_else(|| NotAMix::Weight(kind.as_str(), weight.to_owned()))?;
            if mix.iter().any(|(known, _)| *known == kind) {
                return Err(NotAMix::Twice(kind.as_str()));
            }
            mix.push((kind, weight));
        }
        mix.retain(|(_, weight)| *weight > 0);
        if mix.is_empty() { Err(NotAMix::Nothing) } else { Ok(Self(mix)) }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(kind, weight)| format!("{}={weight}", kind.as_str())).collect();
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_behaviour_has_its_share_in_every_group_of_bots() {
        let mix: Mix = "chatter=60, lurker=25,private=10,hopper=3,slow=1,churner=1".parse().unwrap();
        let dealt = mix.deal(1_050, 9);
        assert_eq!(dealt.len(), 1_050);
        for group in dealt.chunks_exact(100) {
            let count = |kind| group.iter().filter(|dealt| **dealt == kind).count();
            assert_eq!((count(BehaviourKind::Chatter), count(BehaviourKind::Lurker)), (60, 25));
            assert_eq!((count(BehaviourKind::Slow), count(BehaviourKind::Churner)), (1, 1));
        }
        assert_eq!(dealt, mix.deal(1_050, 9), "the same seed deals the same");
        assert_ne!(dealt, mix.deal(1_050, 10));
    }

    #[test]
    fn no_behaviour_falls_together_with_a_room() {
        let mix: Mix = "chatter=1,lurker=1".parse().unwrap();
        let dealt = mix.deal(200, 1);
        let talks_in_room = |room| dealt.iter().skip(room).step_by(2).filter(|k| **k == BehaviourKind::Chatter).count();
        assert!(talks_in_room(0) > 20 && talks_in_room(1) > 20);
    }

    #[test]
    fn a_mix_is_written_as_it_is_read() {
        assert_eq!("chatter=60,slow=1".parse::<Mix>().unwrap().to_string(), "chatter=60,slow=1");
        assert_eq!("chatter=1,slow=0".parse::<Mix>().unwrap(), Mix::only(BehaviourKind::Chatter));
    }

    #[test]
    fn a_wrong_part_is_named_with_what_is_allowed() {
        let known = BehaviourKind::ALL.map(BehaviourKind::as_str).join(", ");
        for (text, says) in [
            ("", "\"\" has no weight: write it like chatter=1".to_owned()),
            ("lurker=1, chatter", "\"chatter\" has no weight: write it like chatter=1".to_owned()),
            ("chatter=x", "the weight of chatter must be a whole number, 0 to 10000, not \"x\"".to_owned()),
            ("chatter=10001", "the weight of chatter must be a whole number, 0 to 10000, not \"10001\"".to_owned()),
            ("chatter=1,dancer=1", format!("there is no behaviour \"dancer\": write {known}")),
            ("chatter=1,chatter=2", "chatter stands twice".to_owned()),
            ("chatter=0", "no behaviour has a weight above 0".to_owned()),
        ] {
            assert_eq!(text.parse::<Mix>().map_err(|error| error.to_string()), Err(says), "{text}");
        }
    }
}
