//! When a bot speaks, to whom and how much: decided in advance, whatever the server does.
//!
//! Message k is planned at `start + k × interval`. A bot that is kept from sending (by a slow server, a lost
//! connection, a rate limit) sends later what was planned earlier, and the planned time stays: so a stall is charged
//! to every message that it delayed, not to one. A plan is arithmetic, it holds no messages; it may fall behind by
//! any number of them at no cost.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::clock::Nanos;

/// What all bots of a swarm have in common in what they say.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Messages per second of each bot; 0: it only listens.
    pub messages_per_second: f64,
    /// Bytes of a message's text, evenly spread.
    pub message_bytes: RangeInclusive<u32>,
    /// The share of messages that go to one friend instead of the room, 0 to 1.
    pub private_share: f64,
    /// To how many friends a bot writes.
    pub friends: u32,
}

/// For whom a planned message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressee {
    /// The bot's room.
    Room,
    /// The bot's friend of this number, from 0.
    Friend(u32),
}

/// A message that a plan holds ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedMessage {
    /// When it is to be sent.
    pub planned: Nanos,
    /// For whom.
    pub to: Addressee,
    /// Bytes of its text.
    pub bytes: u32,
}

/// The plan of one bot.
#[derive(Debug)]
pub struct Plan {
    start: Nanos,
    interval_ns: f64,
    next: u64,
}

impl Plan {
    /// The plan of a bot that is ready to speak at `now`: the first message within one interval, at random, so that
    /// bots that came together do not speak together. `None` where bots only listen.
    pub fn begin(habits: &Habits, now: Nanos, rng: &mut fastrand::Rng) -> Option<Self> {
        if habits.messages_per_second <= 0.0 {
            return None;
        }
        let interval = Duration::from_secs(1).div_f64(habits.messages_per_second);
        let interval_ns = interval.as_nanos() as f64;
        Some(Self { start: now.after(interval.mul_f64(rng.f64())), interval_ns, next: 0 })
    }

    /// When the next message is to be sent.
    pub fn due(&self) -> Nanos {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and centuries fit")]
        let offset = (self.next as f64 * self.interval_ns) as u64;
        Nanos(self.start.0.saturating_add(offset))
    }

    /// Takes the next message if its time has come.
    pub fn take(&mut self, habits: &Habits, now: Nanos, rng: &mut fastrand::Rng) -> Option<PlannedMessage> {
        let planned = self.due();
        if planned > now {
            return None;
        }
        self.next += 1;
        let is_private = habits.friends > 0 && rng.f64() < habits.private_share;
        let to = if is_private { Addressee::Friend(rng.u32(0..habits.friends)) } else { Addressee::Room };
        Some(PlannedMessage { planned, to, bytes: rng.u32(habits.message_bytes.clone()) })
    }

    /// How many messages were to be sent until `now` and are not.
    pub fn overdue(&self, now: Nanos) -> u64 {
        if self.due() > now {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a count of messages"
        )]
        let planned = (now.since(self.start).as_nanos() as f64 / self.interval_ns) as u64 + 1;
        planned.saturating_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habits(messages_per_second: f64) -> Habits {
        Habits { messages_per_second, message_bytes: 40..=60, private_share: 0.5, friends: 3 }
    }

    fn plan(habits: &Habits) -> (Plan, fastrand::Rng) {
        let mut rng = fastrand::Rng::with_seed(5);
        (Plan::begin(habits, Nanos(1_000), &mut rng).unwrap(), rng)
    }

    #[test]
    fn a_late_bot_sends_with_the_planned_times() {
        let habits = habits(10.0);
        let (mut plan, mut rng) = plan(&habits);
        let first = plan.due();
        // Kept from sending for one second, in which ten more messages came due.
        let late = Nanos(first.0 + 1_000_000_000);
        assert_eq!(plan.overdue(late), 11);
        let times: Vec<u64> =
            std::iter::from_fn(|| plan.take(&habits, late, &mut rng)).map(|m| m.planned.0 - first.0).collect();
        assert_eq!(times, (0..=10).map(|k| k * 100_000_000).collect::<Vec<u64>>());
        assert_eq!(plan.overdue(late), 0);
    }

    #[test]
    fn nothing_is_sent_before_its_time() {
        let habits = habits(0.1);
        let (mut plan, mut rng) = plan(&habits);
        let due = plan.due();
        assert!(due.0 <= 1_000 + 10_000_000_000, "the first message comes within one interval");
        assert_eq!(plan.take(&habits, Nanos(due.0 - 1), &mut rng), None);
        assert_eq!(plan.overdue(Nanos(due.0 - 1)), 0);
        assert!(plan.take(&habits, due, &mut rng).is_some());
    }

    #[test]
    fn sizes_and_addressees_keep_to_the_habits() {
        let habits = habits(1_000.0);
        let (mut plan, mut rng) = plan(&habits);
        let messages: Vec<_> =
            std::iter::from_fn(|| plan.take(&habits, Nanos(10_000_000_000), &mut rng)).take(5_000).collect();
        assert!(messages.iter().all(|m| habits.message_bytes.contains(&m.bytes)));
        let private = messages.iter().filter(|m| m.to != Addressee::Room).count();
        assert!((2_200..2_800).contains(&private), "{private} of 5,000 are private");
        assert!((0..3).all(|friend| messages.iter().any(|m| m.to == Addressee::Friend(friend))));
    }

    #[test]
    fn the_same_seed_makes_the_same_plan() {
        let habits = habits(7.0);
        let run = || {
            let (mut plan, mut rng) = plan(&habits);
            std::iter::from_fn(|| plan.take(&habits, Nanos(5_000_000_000), &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn bots_that_only_listen_have_no_plan() {
        assert!(Plan::begin(&habits(0.0), Nanos(0), &mut fastrand::Rng::with_seed(1)).is_none());
    }
}
