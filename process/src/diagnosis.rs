//! Determines from readings of a Starling server's metrics what limits it, and how sure that is.
//!
//! [`observe`] is a pure function: readings in, a [`Verdict`] out. The server, the swarm and the tests share it. The
//! rules are a table, [`RULES`], whose first rule that finds its cause decides; `docs/diagnosis.md` explains its order.

mod latency;
mod reading;
mod rounding;
mod rules;
mod verdict;
mod window;

pub use latency::PartOfLatency;
pub use reading::{Buckets, Reading};
pub(crate) use rounding::rounded;
pub use rules::{RULES, Rule};
pub use verdict::{Evidence, Nearest, Unit, Verdict, What};

use std::time::Duration;

use rules::Found;
use verdict::SURE;
use window::Window;
pub(crate) use {
    latency::parts,
    reading::{StageReading, grown},
};

/// Determines what limits the server between the first and the last of these readings, which are in order.
///
/// Ten seconds of readings, one a second, are enough. With fewer than two readings, [`Verdict::unmeasured`].
pub fn observe(readings: &[Reading]) -> Verdict {
    let Some(window) = Window::of(readings) else { return Verdict::unmeasured() };
    let mut distances = window.distances();
    distances.sort_by(|(_, a), (_, b)| b.share().total_cmp(&a.share()));
    if ["stopping", "died"].iter().any(|reason| window.is_not_ready(reason)) {
        return Verdict::stopping();
    }
    let verdict = RULES.iter().find_map(|rule| (rule.find)(&window).map(|found| rule.verdict(found)));
    let verdict = verdict.unwrap_or_else(|| nothing(&distances));
    let mut limits = distances.iter().filter_map(|(what, it)| Some(((*what)?, it)));
    let nearest = limits.find(|(what, _)| *what != verdict.what);
    let nearest = nearest.map_or(verdict.nearest, |(what, it)| Nearest { what, used: rounded(it.share()) });
    Verdict { nearest, latency: window.latency(), ..verdict }
}

/// The verdict on a server of which only this is known: why it is not ready, as `chat_not_ready` names it.
pub fn not_ready(reason: &str) -> Verdict {
    observe(&[0, 1].map(|second| Reading::not_ready(reason, Duration::from_secs(second))))
}

/// All figures with a limit, and their distance from it, between the first and the last of these readings.
pub(crate) fn distances(readings: &[Reading]) -> Vec<Evidence> {
    let window = Window::of(readings);
    window.map(|window| window.distances().into_iter().map(|(_, it)| it).collect()).unwrap_or_default()
}

/// The cores that the server uses between the first and the last of these readings.
pub(crate) fn cores_used(readings: &[Reading]) -> f64 {
    Window::of(readings).map_or(0.0, |window| window.cores_used())
}

/// The verdict that nothing is saturated, with the figure that is nearest to its limit, of those in this order.
fn nothing(distances: &[(Option<What>, Evidence)]) -> Verdict {
    let limits: Vec<&Evidence> = distances.iter().filter(|(what, _)| what.is_some()).map(|(_, it)| it).collect();
    let nearest = limits.first().map_or(String::new(), |nearest| {
        format!("; the nearest to its limit is {}, at {:.0} %", nearest.name, nearest.share() * 100.0)
    });
    Verdict {
        what: What::Nothing,
        confidence: SURE,
        sentence: format!("Nothing is saturated{nearest}."),
        evidence: limits.into_iter().take(3).cloned().collect(),
        remedy: "Nothing to do.".to_owned(),
        would_refute: "Latencies that grow at this load: then the cause is outside these figures, for example the \
                       network or the clients."
            .to_owned(),
        ..Verdict::unmeasured()
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
            ..Verdict::unmeasured()
        }
    }
}

#[cfg(test)]
mod tests;
