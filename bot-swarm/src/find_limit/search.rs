//! The search algorithm: up by a factor until a load is broken, then narrowed down. Pure, so tests are cheap.
//!
//! A measurement is noisy: the same load may keep the expectations once and break them the next time. So no single
//! trial decides: a load counts as kept, or as broken, when two trials agree. On the way up, one trial is enough; it is
//! repeated if the limit turns out to be right there.

/// The result of running one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// All expectations were kept.
    Kept,
    /// An expectation was broken.
    Broken,
    /// The swarm itself was the limit: this load cannot be judged with it.
    Invalid,
    /// Nothing was measured: no bot was connected, or no expected event happened.
    Unmeasured,
}

/// The range of the search. Loads are whole numbers of bots, messages per second or members, from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// The first load.
    pub start: u32,
    /// The factor by which the load grows until an expectation breaks; more than 1.
    pub factor: f64,
    /// The highest load.
    pub most: u32,
    /// The required relative distance between kept and broken: 0.05 is 5 %.
    pub precision: f64,
}

/// The upper bound of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// The server: the lowest load that broke an expectation.
    Broken(u32),
    /// The swarm: the lowest load that it could not produce or judge.
    Invalid(u32),
    /// Neither: even the highest allowed load was kept.
    Bounds,
}

/// The result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The highest load that was kept; `None` if not even the least was.
    pub highest_kept: Option<u32>,
    /// Its upper bound.
    pub ceiling: Ceiling,
}

/// A search in progress: it selects the next load and records its result.
#[derive(Debug)]
pub struct Search {
    bounds: Bounds,
    trials: Vec<(u32, Trial)>,
}

/// The number of trials that must agree.
const VOTES: usize = 2;

impl Search {
    /// A search that has tried nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, trials: Vec::new() }
    }

    /// Every trial so far, in order.
    pub fn trials(&self) -> &[(u32, Trial)] {
        &self.trials
    }

    /// Records the result of a load.
    pub fn record(&mut self, load: u32, trial: Trial) {
        self.trials.push((load, trial));
    }

    /// The load of which nothing is measured in repeated trials; it ends the search. The very first trial needs no
    /// repetition: there was no server.
    pub fn unmeasured(&self) -> Option<u32> {
        if let Some((load, Trial::Unmeasured)) = self.trials.first() {
            return Some(*load);
        }
        let of = |(load, _): &&(u32, Trial)| self.votes(*load, Trial::Unmeasured) >= VOTES;
        self.trials.iter().find(of).map(|(load, _)| *load)
    }

    /// The load to try next; `None` once the limit is found, or cannot be found.
    pub fn next(&self) -> Option<u32> {
        if self.unmeasured().is_some() {
            return None;
        }
        if let Some(doubtful) = self.doubtful() {
            return Some(doubtful);
        }
        let Bounds { start, factor, most, precision } = self.bounds;
        match (self.highest_kept(), self.lowest_not_kept().map(|(load, _)| load)) {
            (None, None) => Some(start.clamp(1, most)),
            (Some(kept), None) if kept < most => Some(scaled(kept, factor).clamp(kept + 1, most)),
            (None, Some(1)) => None,
            (None, Some(broken)) => Some(scaled(broken, 1.0 / factor).clamp(1, broken - 1)),
            (Some(kept), Some(broken)) if !is_close(kept, broken, precision) => {
                let middle = scaled(kept, (f64::from(broken) / f64::from(kept)).sqrt());
                Some(middle.clamp(kept + 1, broken - 1))
            }
            // The limit is found, unless the load was kept only once, on the way up.
            (Some(kept), _) => (self.votes(kept, Trial::Kept) < VOTES).then_some(kept),
        }
    }

    /// The limit as known so far.
    pub fn limit(&self) -> Limit {
        let ceiling = match self.lowest_not_kept() {
            None => Ceiling::Bounds,
            Some((load, Trial::Invalid)) => Ceiling::Invalid(load),
            Some((load, Trial::Broken | Trial::Kept | Trial::Unmeasured)) => Ceiling::Broken(load),
        };
        Limit { highest_kept: self.highest_kept(), ceiling }
    }

    fn votes(&self, load: u32, trial: Trial) -> usize {
        self.trials.iter().filter(|known| **known == (load, trial)).count()
    }

    /// Whether enough trials of a load agreed.
    fn is_decided(&self, load: u32) -> bool {
        [Trial::Kept, Trial::Broken, Trial::Invalid, Trial::Unmeasured]
            .iter()
            .any(|trial| self.votes(load, *trial) >= VOTES)
    }

    /// A load with a trial that was not kept, for which no two trials agree yet.
    fn doubtful(&self) -> Option<u32> {
        let not_kept = self.trials.iter().filter(|(_, trial)| *trial != Trial::Kept);
        not_kept.map(|(load, _)| *load).find(|load| !self.is_decided(*load))
    }

    /// The lowest load for which enough trials agree that it was not kept.
    fn lowest_not_kept(&self) -> Option<(u32, Trial)> {
        let is_not_kept = |trial: Trial| matches!(trial, Trial::Broken | Trial::Invalid);
        let not_kept =
            self.trials.iter().filter(|(load, trial)| is_not_kept(*trial) && self.votes(*load, *trial) >= VOTES);
        not_kept.copied().min_by_key(|(load, _)| *load)
    }

    /// The highest load that was kept, even once, below all loads that were not.
    fn highest_kept(&self) -> Option<u32> {
        let ceiling = self.lowest_not_kept().map_or(u32::MAX, |(load, _)| load);
        let kept = self.trials.iter().filter(|(load, trial)| *trial == Trial::Kept && *load < ceiling);
        kept.map(|(load, _)| *load).max()
    }
}

fn is_close(kept: u32, broken: u32, precision: f64) -> bool {
    broken <= kept + 1 || f64::from(broken) <= f64::from(kept) * (1.0 + precision)
}

fn scaled(load: u32, factor: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and `as` saturates")]
    let scaled = (f64::from(load) * factor).round() as u32;
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { start: 100, factor: 2.0, most: 100_000, precision: 0.05 };

    fn search(bounds: Bounds, mut server: impl FnMut(u32) -> Trial) -> Search {
        let mut search = Search::new(bounds);
        while let Some(load) = search.next() {
            search.record(load, server(load));
            assert!(search.trials().len() < 100, "it ends: {:?}", search.trials());
        }
        search
    }

    fn keeps_until(limit: u32) -> impl FnMut(u32) -> Trial {
        move |load| if load <= limit { Trial::Kept } else { Trial::Broken }
    }

    #[test]
    fn every_limit_is_found_to_the_precision_asked_for() {
        for limit in [1, 2, 3, 99, 100, 101, 777, 1_000, 31_234, 99_999] {
            let search = search(BOUNDS, keeps_until(limit));
            let found = search.limit();
            let kept = found.highest_kept.unwrap();
            let Ceiling::Broken(broken) = found.ceiling else { panic!("{limit}: {found:?}") };
            assert!(kept <= limit && limit < broken, "{limit}: {found:?}");
            assert!(is_close(kept, broken, BOUNDS.precision), "{limit}: {found:?}");
            assert!(search.trials().len() <= 30, "{limit}: {} trials", search.trials().len());
        }
    }

    #[test]
    fn what_is_reported_was_seen_twice() {
        let search = search(BOUNDS, keeps_until(800));
        let Limit { highest_kept: Some(kept), ceiling: Ceiling::Broken(broken) } = search.limit() else {
            panic!("{:?}", search.limit())
        };
        assert_eq!(search.votes(kept, Trial::Kept), VOTES);
        assert_eq!(search.votes(broken, Trial::Broken), VOTES);
    }

    #[test]
    fn one_bad_moment_does_not_end_the_way_up() {
        let mut trials = 0;
        let search = search(BOUNDS, |load| {
            trials += 1;
            if trials == 2 { Trial::Broken } else { keeps_until(10_000)(load) }
        });
        assert!(search.limit().highest_kept.unwrap() > 9_000, "{:?}", search.limit());
    }

    #[test]
    fn a_server_that_keeps_nothing_or_everything_is_told() {
        let nothing = search(BOUNDS, |_| Trial::Broken).limit();
        assert_eq!(nothing, Limit { highest_kept: None, ceiling: Ceiling::Broken(1) });
        let everything = search(BOUNDS, |_| Trial::Kept).limit();
        assert_eq!(everything, Limit { highest_kept: Some(100_000), ceiling: Ceiling::Bounds });
    }

    #[test]
    fn a_load_of_which_nothing_is_measured_is_no_limit_and_ends_the_search() {
        let dead = search(BOUNDS, |_| Trial::Unmeasured);
        assert_eq!((dead.trials().len(), dead.unmeasured()), (1, Some(100)));
        let dies = search(BOUNDS, |load| if load <= 1_000 { Trial::Kept } else { Trial::Unmeasured });
        let Some(load) = dies.unmeasured() else { panic!("{:?}", dies.trials()) };
        assert!(load > 1_000 && dies.limit() == Limit { highest_kept: Some(800), ceiling: Ceiling::Bounds });
        let mut trials = 0;
        let restarts = search(BOUNDS, |load| {
            trials += 1;
            if trials == 3 { Trial::Unmeasured } else { keeps_until(1_000)(load) }
        });
        assert!(matches!(restarts.limit().ceiling, Ceiling::Broken(_)), "{:?}", restarts.trials());
    }

    #[test]
    fn where_the_swarm_was_the_limit_the_server_is_not_blamed() {
        let limit = search(BOUNDS, |load| if load <= 1_000 { Trial::Kept } else { Trial::Invalid }).limit();
        assert!(matches!(limit.ceiling, Ceiling::Invalid(load) if load > 1_000), "{limit:?}");
        assert!(limit.highest_kept.unwrap() > 950);
    }

    /// The longest wait of a queue with a capacity of `capacity` per second, in a window in which the machine is
    /// somewhat faster or slower.
    fn noisy_queue(capacity: f64, rng: &mut fastrand::Rng) -> impl FnMut(u32) -> Trial {
        move |load| {
            // The sum of uniforms approximates a normal distribution.
            let bell: f64 = (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
            let share = f64::from(load) / (capacity * (1.0 + 0.05 * bell));
            let wait_ms = if share < 1.0 { 2.0 / (1.0 - share) } else { f64::INFINITY };
            if wait_ms < 50.0 { Trial::Kept } else { Trial::Broken }
        }
    }

    #[test]
    fn two_searches_on_a_noisy_server_agree_within_15_percent() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut far_apart = 0;
        for _ in 0..500 {
            let capacity = rng.f64() * 20_000.0 + 200.0;
            let mut find = || f64::from(search(BOUNDS, noisy_queue(capacity, &mut rng)).limit().highest_kept.unwrap());
            let (first, second) = (find(), find());
            far_apart += usize::from((first / second - 1.0).abs() > 0.15);
        }
        // Each measurement is off by 5 % (one standard deviation).
        assert!(far_apart <= 10, "{far_apart} of 500 pairs are further apart");
    }
}
