//! The number of bots over time: `ramp 30s to 500, hold 60s, spike 5s to 2000, hold 30s`.
//!
//! Bots come in the order of their numbers, and those with the highest numbers leave first: at every moment, the bots
//! that are wanted are those whose numbers are below the wanted number of bots.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::units::{duration_text, parse_duration};

/// The most steps of a profile.
const STEPS_MAX: usize = 64;

/// The most bots of one process.
pub const BOTS_MAX: u32 = 1_000_000;

/// The effect of a step on the number of bots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// The number changes evenly to this.
    Ramp(u32),
    /// The number stays.
    Hold,
    /// The number jumps to this, and back to the number before when the step is over.
    Spike(u32),
}

/// A step of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Its effect.
    pub kind: StepKind,
    /// Its duration. `None`: until the swarm is stopped; only in the last step.
    pub duration: Option<Duration>,
}

/// The number of bots over time. It has at least one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(Vec<Step>);

/// An arrival or departure of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The time, from the start.
    pub at: Duration,
    /// Whether the bot comes.
    pub comes: bool,
}

impl Profile {
    /// A profile that ramps up to `bots` at `per_second`, and holds them for the rest of `whole`; `None`: until the
    /// swarm is stopped.
    pub fn ramp_and_hold(bots: u32, per_second: f64, whole: Option<Duration>) -> Self {
        let ramp = Duration::from_secs_f64(f64::from(bots) / per_second);
        let ramp_step = |duration| Step { kind: StepKind::Ramp(bots), duration: Some(duration) };
        match whole {
            Some(whole) if whole <= ramp => {
                // The ramp ends early.
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

    /// The steps, each with its start and the number of bots before it.
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

    /// The total duration; `None`: until the swarm is stopped.
    pub fn duration(&self) -> Option<Duration> {
        self.0.iter().map(|step| step.duration).sum()
    }

    /// The most bots at a time.
    pub fn bots_max(&self) -> u32 {
        let most = |step: &Step| match step.kind {
            StepKind::Ramp(bots) | StepKind::Spike(bots) => bots,
            StepKind::Hold => 0,
        };
        self.0.iter().map(most).max().unwrap_or_default()
    }

    /// The arrivals and departures of a bot.
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

/// The text is not a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAProfile {
    /// A step is invalid.
    #[error("step {step} ({text:?}): {why}")]
    Step {
        /// The number of the step, from 1.
        step: usize,
        /// The text of the step.
        text: String,
        /// The reason, with an example.
        why: String,
    },
    /// The profile has too many steps.
    #[error("it has {0} steps; at most {STEPS_MAX} are allowed")]
    TooManySteps(usize),
    /// The number of bots is always zero.
    #[error("the profile has no bots at any time; a ramp adds them, as in ramp 30s to 500")]
    NoBots,
}

impl Step {
    /// Reads a step.
    ///
    /// # Errors
    /// The reason, with an example.
    fn read(text: &str, is_last: bool) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let duration =
            |word: &str| parse_duration(word).ok_or_else(|| format!("{word:?} is not a time; a time looks like 30s"));
        let bots = |word: &str| {
            let bots = word.parse().ok().filter(|bots| *bots <= BOTS_MAX);
            bots.ok_or_else(|| format!("{word:?} is not a number of bots from 0 to {BOTS_MAX}, as in ramp 30s to 500"))
        };
        let (kind, duration) = match words[..] {
            ["ramp", time, "to", to] => (StepKind::Ramp(bots(to)?), Some(duration(time)?)),
            ["spike", time, "to", to] => (StepKind::Spike(bots(to)?), Some(duration(time)?)),
            ["hold", time] => (StepKind::Hold, Some(duration(time)?)),
            ["hold"] if is_last => (StepKind::Hold, None),
            ["hold"] => return Err("only the last hold may have no time; others look like hold 60s".to_owned()),
            ["hold", ..] => return Err("a hold has only a time, as in hold 60s".to_owned()),
            [kind @ ("ramp" | "spike"), ..] => {
                return Err(format!("a {kind} has a time and a number of bots, as in {kind} 30s to 500"));
            }
            _ => return Err("a step begins with ramp, hold or spike, as in ramp 30s to 500".to_owned()),
        };
        Ok(Self { kind, duration })
    }
}

impl FromStr for Profile {
    type Err = NotAProfile;

    fn from_str(text: &str) -> Result<Self, NotAProfile> {
        let count = text.split(',').count();
        if count > STEPS_MAX {
            return Err(NotAProfile::TooManySteps(count));
        }
        let read = |(index, text): (usize, &str)| {
            let (step, text) = (index + 1, text.trim());
            Step::read(text, step == count).map_err(|why| NotAProfile::Step { step, text: text.to_owned(), why })
        };
        let profile = Self(text.split(',').enumerate().map(read).collect::<Result<_, _>>()?);
        if profile.bots_max() > 0 { Ok(profile) } else { Err(NotAProfile::NoBots) }
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
        assert!("ramp 1s to 1000000".parse::<Profile>().is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_told_with_its_place_and_one_example() {
        let told = |text: &str| text.parse::<Profile>().unwrap_err().to_string();
        let step = |step: usize, text: &str, why: &str| format!("step {step} ({text:?}): {why}");
        let begin = "a step begins with ramp, hold or spike, as in ramp 30s to 500";
        let ramp = "a ramp has a time and a number of bots, as in ramp 30s to 500";
        let number = |bots: &str| format!("{bots:?} is not a number of bots from 0 to 1000000, as in ramp 30s to 500");
        for (text, expected) in [
            ("", step(1, "", begin)),
            ("ramp 5s to 5,", step(2, "", begin)),
            ("hold 5s", "the profile has no bots at any time; a ramp adds them, as in ramp 30s to 500".to_owned()),
            ("ramp 5s to 0", "the profile has no bots at any time; a ramp adds them, as in ramp 30s to 500".to_owned()),
            ("ramp to 5", step(1, "ramp to 5", ramp)),
            ("hold 1s, ramp 5s", step(2, "ramp 5s", ramp)),
            ("ramp 5s to", step(1, "ramp 5s to", ramp)),
            ("spike 5s", step(1, "spike 5s", "a spike has a time and a number of bots, as in spike 30s to 500")),
            ("up 5s to 5", step(1, "up 5s to 5", begin)),
            ("ramp 5 to 5", step(1, "ramp 5 to 5", r#""5" is not a time; a time looks like 30s"#)),
            ("ramp 5s to -1", step(1, "ramp 5s to -1", &number("-1"))),
            ("ramp 1s to 1000001", step(1, "ramp 1s to 1000001", &number("1000001"))),
            ("hold 5s to 5", step(1, "hold 5s to 5", "a hold has only a time, as in hold 60s")),
            (
                "ramp 1s to 5, hold, hold 1s",
                step(2, "hold", "only the last hold may have no time; others look like hold 60s"),
            ),
            (&"hold 1s,".repeat(STEPS_MAX), "it has 65 steps; at most 64 are allowed".to_owned()),
        ] {
            assert_eq!(told(text), expected);
        }
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
