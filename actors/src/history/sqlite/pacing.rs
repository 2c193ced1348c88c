//! Decides whether a commit waits for messages that can share it.

use std::time::Duration;

use crate::clock::Instant;

/// The shortest time from the begin of a commit to the begin of a small one, if the pause pays.
const INTERVAL: Duration = Duration::from_micros(1_500);

/// A commit of so many commands is not small: a pause would not make a message much cheaper.
const SMALL_BELOW: usize = 64;

/// A pause pays if the commit after it has so many commands, and twice as many as without it.
const SHARED_MIN: usize = 3;

/// The largest number of commits between two pauses in vain.
const UNPAUSED_MAX: u32 = 1_023;

/// Spaces small commits that follow each other fast.
///
/// A message that is stored alone costs some 20 system calls and two switches of threads. A short pause lets several
/// share them. But it only costs time if all clients wait for this commit, and only a pause shows that. So after each
/// pause in vain, twice as many commits go without one.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// The begin of the last commit.
    last: Option<Instant>,
    /// The number of commands that were queued before the pause of the next commit. `None`: it has no pause.
    paused_with: Option<usize>,
    /// The number of commits without a pause after the last pause in vain, and how many of them are still to come.
    unpaused: u32,
    left: u32,
}

impl Pacing {
    /// The pause before a commit of this many queued commands.
    pub(super) fn pause(&mut self, queued: usize, now: Instant) -> Duration {
        let since = self.last.map_or(INTERVAL, |last| now.saturating_duration_since(last));
        let is_small = (1..SMALL_BELOW).contains(&queued);
        let pause = if is_small { INTERVAL.saturating_sub(since) } else { Duration::ZERO };
        let may_pause = !pause.is_zero() && self.left == 0;
        self.left = self.left.saturating_sub(1);
        self.paused_with = may_pause.then_some(queued);
        if may_pause { pause } else { Duration::ZERO }
    }

    /// A commit of this many commands begins.
    pub(super) fn begin(&mut self, commands: usize, now: Instant) {
        self.last = Some(now);
        if let Some(before) = self.paused_with {
            let has_paid = commands >= SHARED_MIN.max(2 * before);
            self.unpaused = if has_paid { 0 } else { (2 * self.unpaused + 1).min(UNPAUSED_MAX) };
            self.left = self.unpaused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const COMMIT: Duration = Duration::from_micros(100);

    /// The commits of a simulated writer.
    struct Writer {
        pacing: Pacing,
        now: Instant,
    }

    impl Writer {
        fn new() -> Self {
            Self { pacing: Pacing::default(), now: clock::now() }
        }

        /// Messages come one by one in this interval for some time. Returns the number of commits and the longest wait.
        fn takes_messages_every(&mut self, interval: Duration, messages: usize) -> (usize, Duration) {
            let mut due: Vec<Instant> = Vec::new();
            for _ in 0..messages {
                due.push(due.last().copied().unwrap_or(self.now) + interval);
            }
            let (mut commits, mut longest) = (0, Duration::ZERO);
            while let Some(first) = due.first().copied() {
                self.now += first.saturating_duration_since(self.now);
                let queued = due.iter().filter(|at| **at <= self.now).count();
                self.now += self.pacing.pause(queued, self.now);
                let shared = due.iter().filter(|at| **at <= self.now).count();
                self.pacing.begin(shared, self.now);
                self.now += COMMIT;
                longest = longest.max(self.now.saturating_duration_since(first));
                due.drain(..shared);
                commits += 1;
            }
            (commits, longest)
        }

        /// Clients send these many messages at once, and the next ones when they are stored. Returns the time of one
        /// such round.
        fn takes_rounds_of(&mut self, messages: usize, rounds: u32) -> Duration {
            let began = self.now;
            for _ in 0..rounds {
                self.now += self.pacing.pause(messages, self.now);
                self.pacing.begin(messages, self.now);
                self.now += COMMIT;
            }
            self.now.saturating_duration_since(began) / rounds
        }
    }

    #[test]
    fn messages_that_keep_coming_share_commits_and_wait_at_most_the_interval() {
        for (micros, most) in [(5, 25), (20, 25), (100, 80), (500, 350)] {
            let (commits, longest) = Writer::new().takes_messages_every(Duration::from_micros(micros), 1_000);
            assert!(commits <= most, "{commits} commits of messages every {micros} us");
            assert!(longest <= INTERVAL + COMMIT, "{longest:?} for messages every {micros} us");
        }
    }

    #[test]
    fn messages_of_which_too_few_can_share_a_commit_soon_do_not_wait() {
        for micros in [800, 1_000, 1_400] {
            let (commits, longest) = Writer::new().takes_messages_every(Duration::from_micros(micros), 1_000);
            assert!(commits >= 990, "{commits} commits of messages every {micros} us");
            assert!(longest <= INTERVAL + COMMIT, "{longest:?} for messages every {micros} us");
        }
    }

    #[test]
    fn messages_that_come_seldom_never_wait() {
        for millis in [2, 20, 1_000] {
            let taken = Writer::new().takes_messages_every(Duration::from_millis(millis), 1_000);
            assert_eq!(taken, (1_000, COMMIT));
        }
    }

    #[test]
    fn who_waits_for_the_commit_soon_goes_on_without_pauses() {
        for messages in [1, 2, 10, SMALL_BELOW - 1] {
            let mut writer = Writer::new();
            writer.takes_rounds_of(messages, 2_000);
            assert!(writer.takes_rounds_of(messages, 10_000) < COMMIT * 102 / 100);
        }
        assert_eq!(Writer::new().takes_rounds_of(SMALL_BELOW, 10_000), COMMIT);
    }

    #[test]
    fn the_next_load_that_can_share_commits_does() {
        let mut writer = Writer::new();
        writer.takes_rounds_of(1, 10_000);
        writer.takes_messages_every(Duration::from_micros(500), 1_100);
        let (commits, _) = writer.takes_messages_every(Duration::from_micros(500), 1_000);
        assert!(commits <= 350, "{commits}");
    }
}
