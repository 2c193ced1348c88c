//! Decides whether a commit waits for messages that can share it.

use std::time::Duration;

use crate::clock::Instant;

/// The time from the start of a commit to the start of the next one, if that one is small and the pause pays.
const INTERVAL: Duration = Duration::from_micros(1_500);

/// A commit with this many messages or more is not small: a pause would hardly make a message cheaper.
pub(super) const SMALL_BELOW: usize = 64;

/// A pause pays if the commit then has at least twice the messages, and at least this many.
const SHARED_MIN: usize = 3;

/// The largest number of pauses that are skipped after a pause that did not pay.
const SKIPS_MAX: u32 = 255;

/// Spaces small commits that follow each other fast.
///
/// A message that is stored alone costs some 20 system calls and two switches of threads. A short pause lets several
/// messages share them. It only costs time if messages are too few, or if their senders wait for this commit, and only
/// a pause shows that. So after a pause that did not pay, the next ones are skipped, and after each further such pause
/// twice as many.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    /// The start of the last commit.
    last: Option<Instant>,
    /// The number of messages before the pause of the next commit. `None`: it has no pause.
    paused_with: Option<usize>,
    /// The number of pauses that are skipped after the last one that did not pay.
    skips: u32,
    skips_left: u32,
}

impl Pacing {
    /// The pause before a commit of this many messages.
    pub(super) fn pause(&mut self, messages: usize, now: Instant) -> Duration {
        self.paused_with = None;
        let since = self.last.map_or(INTERVAL, |last| now.saturating_duration_since(last));
        let pause = INTERVAL.saturating_sub(since);
        if pause.is_zero() || !(1..SMALL_BELOW).contains(&messages) {
            return Duration::ZERO;
        }
        if self.skips_left > 0 {
            self.skips_left -= 1;
            return Duration::ZERO;
        }
        self.paused_with = Some(messages);
        pause
    }

    /// A commit of this many messages starts.
    pub(super) fn start(&mut self, messages: usize, now: Instant) {
        self.last = Some(now);
        if let Some(before) = self.paused_with.take() {
            let has_paid = messages >= SHARED_MIN.max(2 * before);
            self.skips = if has_paid { 0 } else { (2 * self.skips + 1).min(SKIPS_MAX) };
            self.skips_left = self.skips;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const COMMIT: Duration = Duration::from_micros(100);

    struct SimulatedWriter {
        pacing: Pacing,
        now: Instant,
    }

    impl SimulatedWriter {
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
                self.pacing.start(shared, self.now);
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
                self.pacing.start(messages, self.now);
                self.now += COMMIT;
            }
            self.now.saturating_duration_since(began) / rounds
        }
    }

    #[test]
    fn messages_that_keep_coming_share_commits_and_wait_at_most_the_interval() {
        for (micros, most) in [(5, 25), (20, 25), (100, 80), (500, 350)] {
            let (commits, longest) = SimulatedWriter::new().takes_messages_every(Duration::from_micros(micros), 1_000);
            assert!(commits <= most, "{commits} commits of messages every {micros} us");
            assert!(longest <= INTERVAL + COMMIT, "{longest:?} for messages every {micros} us");
        }
    }

    #[test]
    fn messages_that_are_too_few_to_share_commits_soon_do_not_wait() {
        for micros in [800, 1_000, 1_400] {
            let (commits, longest) = SimulatedWriter::new().takes_messages_every(Duration::from_micros(micros), 1_000);
            assert!(commits >= 990, "{commits} commits of messages every {micros} us");
            assert!(longest <= INTERVAL + COMMIT, "{longest:?} for messages every {micros} us");
        }
    }

    #[test]
    fn messages_that_come_seldom_never_wait() {
        for millis in [2, 20, 1_000] {
            let taken = SimulatedWriter::new().takes_messages_every(Duration::from_millis(millis), 1_000);
            assert_eq!(taken, (1_000, COMMIT));
        }
    }

    #[test]
    fn who_waits_for_the_commit_together_soon_goes_on_without_pauses() {
        for messages in [1, 2, 10, SMALL_BELOW - 1] {
            let mut writer = SimulatedWriter::new();
            writer.takes_rounds_of(messages, 2_000);
            assert!(writer.takes_rounds_of(messages, 10_000) < COMMIT * 107 / 100);
        }
        assert_eq!(SimulatedWriter::new().takes_rounds_of(SMALL_BELOW, 10_000), COMMIT);
    }

    #[test]
    fn the_next_load_that_can_share_commits_does() {
        let mut writer = SimulatedWriter::new();
        writer.takes_rounds_of(1, 10_000);
        writer.takes_messages_every(Duration::from_micros(500), SKIPS_MAX as usize + 1);
        let (commits, _) = writer.takes_messages_every(Duration::from_micros(500), 1_000);
        assert!(commits <= 350, "{commits}");
    }

    #[test]
    fn clients_that_each_wait_for_their_own_answer_share_commits() {
        // Each sends again 50 us after the one before it, so the first of them waits for the others.
        let mut writer = SimulatedWriter::new();
        for _ in 0..100 {
            let first = writer.now;
            writer.now += writer.pacing.pause(1, writer.now);
            let came = writer.now.saturating_duration_since(first).as_micros() / 50;
            writer.pacing.start(usize::try_from(came).unwrap().clamp(1, 10), writer.now);
            writer.now += COMMIT;
            assert!(writer.now.saturating_duration_since(first) <= INTERVAL + COMMIT);
        }
        assert_eq!(writer.pacing.skips, 0, "the last pause has paid");
    }
}
