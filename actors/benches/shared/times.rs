//! Times of steps, held against the rule that nothing which grows with what is stored stands between a message and its
//! acknowledgement for more than 50 ms.

use std::time::Duration;

/// Longest time that the rule allows.
const ALLOWED: Duration = Duration::from_millis(50);

/// Times of one kind of step, and what is told of them.
#[derive(Default)]
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    pub(crate) fn tell(mut self, what: &str) {
        let at = self.0.iter().enumerate().max_by_key(|(_, time)| **time).map_or(0, |(at, _)| at);
        self.0.sort_unstable();
        let count = u32::try_from(self.0.len()).unwrap();
        let mean = self.0.iter().sum::<Duration>() / count;
        let (median, longest) = (*self.0.get(self.0.len() / 2).unwrap(), *self.0.last().unwrap());
        let mark = if longest > ALLOWED { "   MORE THAN 50 ms" } else { "" };
        println!(
            "{what}: {count} times, mean {mean:.2?}, median {median:.2?}, longest {longest:.2?} (number {at}){mark}"
        );
    }
}
