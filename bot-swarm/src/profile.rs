//! How many bots there are, over time: `ramp 30s to 500, hold 60s, spike 5s to 2000, hold 30s`.
//!
//! Bots come in the order of their numbers, and those with the highest numbers go first: at every moment the bots that
//! are there are those whose numbers are below the number of bots wanted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::units::{duration_text, parse_duration};

/// Most steps of a profile.
const STEPS_MAX: usize = 64;

/// Most bots of one process.
pub const BOTS_MAX: u32 = 1_000_000;

/// What a step of a profile does to the number of bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// It goes evenly from what it was to this.
    Ramp(u32),
    /// It stays what it was.
    Hold,
    /// It is this at once, and what it was before when the step is over.
    Spike(u32),
}

/// A step of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// How long it takes. `None`: until the swarm is stopped; the last step only.
    pub duration: Option<Duration>,
}

/// How many bots there are, over time. Has a step at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(Vec<Step>);

/// A bot comes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// When, from the start.
    pub at: Duration,
    /// Whether it comes.
    pub comes: bool,
}

impl Profile {
    /// A profile that ramps up to so many bots at so many a second, and holds them for the rest of `whole`; `None`:
    /// until the swarm is stopped.
    pub fn ramp_and_hold(bots: u32, per_second: f64, whole: Option<Duration>) -> Self {
        let ramp = Duration::from_secs_f64(f64::from(bots) / per_second);
        let ramp_step = |duration| Step { kind: StepKind::Ramp(bots), duration: Some(duration) };
        match whole {
            Some(whole) if whole <= ramp => {
                // As far as the ramp comes.
                let part = f64::from(bots) * whole.as_secs_f64() / ramp.as_secs_f64();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most `bots`")]
                let bots = (part.ceil() as u32).max(1);
                Self(vec![Step { kind: StepKind::Ramp(bots), duration: Some(whole) }])
            }
            _ => Self(vec![
                ramp_step(ramp),
                Step { kind: StepKind::Hold, duration: whole.map(|whole| whole.saturating_sub(ramp)) },
            ]),
        }
    }

    /// The steps, each with when it begins and how many bots there are before it.
    pub fn steps(&self) -> impl Iterator<Item = (Duration, u32, Step)> {
        let (mut at, mut bots) = (Duration::ZERO, 0);
        self.0.iter().map(move |step| {
            let before = (at, bots, *step);
            at += step.duration.unwrap_or_default();
            if let StepKind::Ramp(to) = step.kind {
                bots = to;
            }
            before
        })
    }

    /// How long it takes; `None`: until the swarm is stopped.
    pub fn duration(&self) -> Option<Duration> {
        self.0.iter().map(|step| step.duration).sum()
    }

    /// The most bots that are there at a time.
    pub fn bots_max(&self) -> u32 {
        let most = |step: &Step| match step.kind {
            StepKind::Ramp(bots) | StepKind::Spike(bots) => bots,
            StepKind::Hold => 0,
        };
        self.0.iter().map(most).max().unwrap_or_default()
    }

    /// When a bot comes and goes.
    pub fn turns(&self, bot: u32) -> impl Iterator<Item = Turn> {
        self.steps().flat_map(move |(at, bots, step)| {
            let whole = step.duration.unwrap_or_default();
            let is_in = |few: u32, many: u32| (few..many).contains(&bot);
            match step.kind {
                StepKind::Ramp(to) if is_in(bots, to) => {
                    let share = f64::from(bot - bots) / f64::from(to - bots);
                    [Some(Turn { at: at + whole.mul_f64(share), comes: true }), None]
                }
                StepKind::Ramp(to) if is_in(to, bots) => {
                    let share = f64::from(bots - bot) / f64::from(bots - to);
                    [Some(Turn { at: at + whole.mul_f64(share), comes: false }), None]
                }
                StepKind::Spike(to) if is_in(bots.min(to), bots.max(to)) => {
                    let comes = to > bots;
                    let back = step.duration.map(|_| Turn { at: at + whole, comes: !comes });
                    [Some(Turn { at, comes }), back]
                }
                StepKind::Ramp(_) | StepKind::Spike(_) | StepKind::Hold => [None, None],
            }
            .into_iter()
            .flatten()
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, to) = match self.kind {
            StepKind::Ramp(to) => ("ramp", Some(to)),
            StepKind::Hold => ("hold", None),
            StepKind::Spike(to) => ("spike", Some(to)),
        };
        f.write_str(word)?;
        if let Some(duration) = self.duration {
            write!(f, " {}", duration_text(duration))?;
        }
        to.map_or(Ok(()), |to| write!(f, " to {to}"))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.0.iter().map(Step::to_string).collect();
        f.write_str(&steps.join(", "))
    }
}

/// A text is no profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a profile")]
pub struct NotAProfile;

impl FromStr for Step {
    type Err = NotAProfile;

    fn from_str(text: &str) -> Result<Self, NotAProfile> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let duration = |word: &str| parse_duration(word).ok_or(NotAProfile);
        let bots = |word: &str| word.parse().ok().filter(|bots| *bots <= BOTS_MAX).ok_or(NotAProfile);
        let (kind, duration) = match words[..] {
            ["ramp", time, "to", to] => (StepKind::Ramp(bots(to)?), Some(duration(time)?)),
            ["spike", time, "to", to] => (StepKind::Spike(bots(to)?), Some(duration(time)?)),
            ["hold", time] => (StepKind::Hold, Some(duration(time)?)),
            ["hold"] => (StepKind::Hold, None),
            _ => return Err(NotAProfile),
        };
        Ok(Self { kind, duration })
    }
}

impl FromStr for Profile {
    type Err = NotAProfile;

    fn from_str(text: &str) -> Result<Self, NotAProfile> {
        let steps: Vec<Step> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let profile = Self(steps);
        let endless_too_soon = profile.0.iter().rev().skip(1).any(|step| step.duration.is_none());
        let is_good = !endless_too_soon && profile.0.len() <= STEPS_MAX && profile.bots_max() > 0;
        if is_good { Ok(profile) } else { Err(NotAProfile) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    fn turns(profile: &Profile, bot: u32) -> Vec<(f64, bool)> {
        profile.turns(bot).map(|turn| (turn.at.as_secs_f64(), turn.comes)).collect()
    }

    #[test]
    fn a_profile_is_written_as_it_is_read() {
        for text in ["ramp 30s to 500, hold 1m, spike 5s to 2000, hold 30s", "spike 1ms to 1", "ramp 0s to 3, hold"] {
            assert_eq!(profile(text).to_string(), text);
        }
        assert_eq!(profile("ramp 60s to 5,hold 0.5s").to_string(), "ramp 1m to 5, hold 500ms");
        let endless_before_the_end = "ramp 1s to 5, hold, hold 1s";
        for text in ["", "hold 5s", "ramp to 5", "ramp 5s", "ramp 5s to", "up 5s to 5", "ramp 5s to -1", "ramp 5s to 0"]
        {
            assert_eq!(text.parse::<Profile>(), Err(NotAProfile), "{text}");
        }
        assert_eq!(endless_before_the_end.parse::<Profile>(), Err(NotAProfile));
        assert!("ramp 1s to 1000000".parse::<Profile>().is_ok() && "ramp 1s to 1000001".parse::<Profile>().is_err());
    }

    #[test]
    fn bots_come_evenly_in_a_ramp_and_the_last_go_first() {
        let profile = profile("ramp 10s to 10, ramp 5s to 5, hold 1s");
        assert_eq!(turns(&profile, 0), [(0.0, true)]);
        assert_eq!(turns(&profile, 5), [(5.0, true), (15.0, false)]);
        assert_eq!(turns(&profile, 9), [(9.0, true), (11.0, false)]);
        assert_eq!(turns(&profile, 10), []);
        assert_eq!((profile.duration(), profile.bots_max()), (Some(Duration::from_secs(16)), 10));
    }

    #[test]
    fn a_spike_comes_at_once_and_goes_when_it_is_over() {
        let profile = profile("ramp 1s to 2, spike 3s to 4, hold");
        assert_eq!(turns(&profile, 1), [(0.5, true)]);
        assert_eq!(turns(&profile, 3), [(1.0, true), (4.0, false)]);
        assert_eq!((profile.duration(), profile.bots_max()), (None, 4));
        let dip = self::profile("ramp 1s to 2, spike 3s to 1, hold 1s");
        assert_eq!(turns(&dip, 1), [(0.5, true), (1.0, false), (4.0, true)]);
    }

    #[test]
    fn a_ramp_that_is_cut_short_comes_as_far_as_it_comes() {
        let whole = Some(Duration::from_secs(2));
        assert_eq!(Profile::ramp_and_hold(100, 10.0, whole).to_string(), "ramp 2s to 20");
        assert_eq!(Profile::ramp_and_hold(10, 10.0, whole).to_string(), "ramp 1s to 10, hold 1s");
        assert_eq!(Profile::ramp_and_hold(10, 10.0, None).to_string(), "ramp 1s to 10, hold");
    }
}
