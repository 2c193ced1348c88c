//! Whether the log can be written, and whether this node has applied its records.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use starling_actors::clock::{self, Instant};

use super::progress::Progress;

/// The log counts as out of reach when it could not be written for this long.
const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

/// Whether a node may accept clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// NATS answers, but this node has not applied all records that the log had when it became reachable.
    CatchesUp,
    InReach,
    /// NATS does not answer.
    OutOfReach,
    /// NATS answers, but does not take this node's records.
    Refused,
}

impl Standing {
    const ALL: [Self; 4] = [Self::CatchesUp, Self::InReach, Self::OutOfReach, Self::Refused];

    /// The reason that the node accepts no clients, if there is one.
    pub(super) fn failure(self) -> Option<&'static str> {
        match self {
            Self::CatchesUp => Some("catching up"),
            Self::InReach => None,
            Self::OutOfReach => Some("the log cannot be reached"),
            Self::Refused => Some("the log takes no records"),
        }
    }
}

/// Whether the log can be written. All handles of one log share the state.
#[derive(Debug, Clone)]
pub struct LogReach {
    standing: Arc<AtomicU8>,
    began: Instant,
    /// The time at which the standing was told, in milliseconds since `began`. After a pause of the process it is old.
    told: Arc<AtomicU64>,
    progress: Arc<Progress>,
}

impl LogReach {
    pub(super) fn new(progress: Arc<Progress>) -> Self {
        let standing = Arc::new(AtomicU8::new(Standing::CatchesUp as u8));
        Self { standing, began: clock::now(), told: Arc::default(), progress }
    }

    /// The reason that the node accepts no clients, if there is one.
    pub fn failure(&self) -> Option<Cow<'static, str>> {
        let standing = self.standing(clock::now());
        let failure = standing.failure()?;
        Some(if standing == Standing::CatchesUp {
            format!("{failure}: {} records of the log are left", self.progress.lag()).into()
        } else {
            failure.into()
        })
    }

    pub(super) fn is_in_reach(&self) -> bool {
        self.standing(clock::now()) == Standing::InReach
    }

    /// The standing is still the one that was set.
    pub(super) fn renew(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.began).as_millis();
        self.told.store(u64::try_from(millis).unwrap_or(u64::MAX), SeqCst);
    }

    pub(super) fn set(&self, standing: Standing) {
        self.standing.store(standing as u8, SeqCst);
    }

    fn standing(&self, now: Instant) -> Standing {
        let told = Standing::ALL.get(usize::from(self.standing.load(SeqCst)));
        let at = self.began + Duration::from_millis(self.told.load(SeqCst));
        told.copied().filter(|told| *told != Standing::InReach || is_recent(at, now)).unwrap_or(Standing::OutOfReach)
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Reach {
    /// The newest time at which NATS told the state of the log.
    answered: Instant,
    /// The newest time at which the log could be written.
    proof: Instant,
    /// The newest record of the log when it became reachable; `None` while it is unreachable.
    catches_up_to: Option<u64>,
    standing: Standing,
}

impl Reach {
    /// A log that was opened just now, and whose newest record is this one.
    pub(super) fn opened(now: Instant, newest: u64) -> Self {
        Self { answered: now, proof: now, catches_up_to: Some(newest), standing: Standing::CatchesUp }
    }

    /// NATS told the state of the log just now.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = now;
    }

    /// The log could be written just now, and its newest record is this one.
    pub(super) fn proved(&mut self, now: Instant, newest: u64) {
        if !is_recent(self.proof, now) {
            self.catches_up_to = None;
        }
        self.proof = now;
        self.catches_up_to.get_or_insert(newest);
    }

    pub(super) fn is_in_reach(&self) -> bool {
        self.standing == Standing::InReach
    }

    /// The node's standing once it has applied the records up to this one, if the standing has changed since the last
    /// call. The first standing is [`Standing::CatchesUp`].
    pub(super) fn changed(&mut self, now: Instant, applied: u64) -> Option<Standing> {
        if !is_recent(self.proof, now) {
            self.catches_up_to = None;
        }
        let standing = match self.catches_up_to {
            Some(newest) if applied >= newest => Standing::InReach,
            Some(_) => Standing::CatchesUp,
            None if is_recent(self.answered, now) => Standing::Refused,
            None => Standing::OutOfReach,
        };
        (std::mem::replace(&mut self.standing, standing) != standing).then_some(standing)
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < WRITTEN_WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_in_reach_once_it_is_applied_and_for_a_second_after_each_write() {
        let now = clock::now();
        let mut reach = Reach::opened(now, 7);
        assert_eq!(reach.changed(now, 6), None, "one record is not applied");
        assert_eq!(reach.changed(now, 7), Some(Standing::InReach));
        assert_eq!(reach.changed(now + WRITTEN_WITHIN / 2, 7), None);
        assert_eq!(reach.changed(now + WRITTEN_WITHIN, 7), Some(Standing::OutOfReach));
        assert_eq!(reach.changed(now + WRITTEN_WITHIN, 7), None);
        reach.answered(now + WRITTEN_WITHIN);
        assert_eq!(reach.changed(now + WRITTEN_WITHIN, 7), Some(Standing::Refused));
    }

    #[test]
    fn a_node_that_was_cut_off_first_applies_what_the_others_have_written_meanwhile() {
        let now = clock::now();
        let mut reach = Reach::opened(now, 0);
        assert_eq!(reach.changed(now, 0), Some(Standing::InReach));
        let later = now + 9 * WRITTEN_WITHIN;
        assert_eq!(reach.changed(later, 0), Some(Standing::OutOfReach));
        reach.proved(later, 90);
        assert_eq!(reach.changed(later, 89), Some(Standing::CatchesUp));
        reach.proved(later, 95);
        assert_eq!(reach.changed(later, 90), Some(Standing::InReach), "records that came later do not count");
        let paused = later + 9 * WRITTEN_WITHIN;
        reach.proved(paused, 120);
        assert_eq!(reach.changed(paused, 95), Some(Standing::CatchesUp), "nobody was told that it was cut off");
    }

    #[test]
    fn every_standing_is_told_to_those_that_want_to_know() {
        let progress = Arc::new(Progress::default());
        let told = LogReach::new(Arc::clone(&progress));
        progress.saw_newest(90);
        progress.begin(20);
        let at_first = told.failure();
        assert_eq!(at_first.as_deref(), Some("catching up: 70 records of the log are left"));
        told.set(Standing::InReach);
        let late = told.began + WRITTEN_WITHIN;
        assert_eq!(told.standing(late), Standing::OutOfReach, "nobody has told it since a pause");
        told.renew(late);
        assert_eq!(told.standing(late), Standing::InReach);
        for standing in Standing::ALL {
            told.set(standing);
            if standing == Standing::CatchesUp {
                assert_eq!(told.failure(), at_first);
            } else {
                assert_eq!(told.failure().as_deref(), standing.failure());
            }
        }
    }
}
