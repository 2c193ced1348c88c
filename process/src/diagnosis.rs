//! Determines from readings of a Starling server's metrics what limits it, and how sure that is.
//!
//! [`observe`] is a pure function: readings in, a [`Verdict`] out. The server, the swarm and the tests share it. The
//! rules are a table, [`RULES`], whose first rule that finds its cause decides; `docs/diagnosis.md` explains its order.

mod reading;
mod rules;
mod verdict;
mod window;

pub use reading::{Buckets, Reading};
pub use rules::{RULES, Rule};
pub use verdict::{Confidence, Evidence, Verdict, What};

use rules::Found;
use window::Window;
pub(crate) use {reading::StageReading, window::grown};

/// Determines what limits the server between the first and the last of these readings, which are in order.
///
/// Ten seconds of readings, one a second, are enough. With fewer than two readings, [`What::Unknown`].
pub fn observe(readings: &[Reading]) -> Verdict {
    let Some(window) = Window::of(readings) else { return Verdict::unknown() };
    let found = RULES.iter().find_map(|rule| (rule.find)(&window).map(|found| rule.verdict(found)));
    found.unwrap_or_else(|| nothing(&window))
}

/// All figures with a limit, and their distance from it, between the first and the last of these readings.
pub(crate) fn distances(readings: &[Reading]) -> Vec<Evidence> {
    Window::of(readings).map(|window| window.distances()).unwrap_or_default()
}

/// The cores that the server uses between the first and the last of these readings.
pub(crate) fn cores_used(readings: &[Reading]) -> f64 {
    Window::of(readings).map_or(0.0, |window| window.cores_used())
}

/// The verdict that nothing is saturated, with the figure that is nearest to its limit.
fn nothing(window: &Window) -> Verdict {
    let mut evidence = window.distances();
    evidence.sort_by(|a, b| b.share().total_cmp(&a.share()));
    evidence.truncate(3);
    let nearest = evidence.first().map_or(String::new(), |nearest| {
        format!("; the nearest to its limit is {}, at {:.0} %", nearest.figure, nearest.share() * 100.0)
    });
    Verdict {
        what: What::Nothing,
        subject: None,
        confidence: Confidence::Sure,
        sentence: format!("Nothing is saturated{nearest}."),
        evidence,
        remedy: "Nothing to do.".to_owned(),
        would_refute: "Latencies that grow at this load: then the cause is outside these figures, for example the \
                       network or the clients."
            .to_owned(),
    }
}

impl Rule {
    fn verdict(&self, found: Found) -> Verdict {
        Verdict {
            what: self.what,
            subject: found.subject,
            confidence: found.confidence,
            sentence: found.sentence,
            evidence: found.evidence,
            remedy: self.remedy.to_owned(),
            would_refute: self.would_refute.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
