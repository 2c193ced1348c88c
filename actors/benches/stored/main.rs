//! Measures how long stored data can delay the acknowledgement of a message:
//! `cargo bench -p starling-actors --bench stored`.
//!
//! The rule: no work that grows with the stored data blocks a message for more than 50 ms. Each measurement posts an
//! operator's message every few milliseconds, while large amounts of data are dropped from a database under `target/`
//! with `full` durability, and reports the longest time to an answer. The cost of the rules alone is measured without a
//! storage, in CPU time of the thread. Letters after `--` select measurements (`-` and `a` to `f`); without letters all
//! run.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark stops at the first error")]

mod rules;
mod storage;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The longest delay that the rule allows.
const ALLOWED: Duration = Duration::from_millis(50);

/// The durations of one kind of step.
#[derive(Default)]
struct Times(Vec<Duration>);

/// The CPU time of this thread, so that other load on the machine does not count.
fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

impl Times {
    fn measure<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let begun = worked();
        let outcome = step();
        self.0.push(worked().saturating_sub(begun));
        outcome
    }

    fn tell(mut self, what: &str) {
        let at = self.0.iter().enumerate().max_by_key(|(_, time)| **time).map_or(0, |(at, _)| at);
        self.0.sort_unstable();
        let count = u32::try_from(self.0.len()).unwrap();
        let mean = self.0.iter().sum::<Duration>() / count;
        let (median, longest) = (*self.0.get(self.0.len() / 2).unwrap(), *self.0.last().unwrap());
        let over = self.0.iter().filter(|time| **time > ALLOWED).count();
        let mark = if over > 0 { format!("   {over} OVER 50 ms") } else { String::new() };
        println!(
            "{what}: {count} times, mean {mean:.2?}, median {median:.2?}, longest {longest:.2?} (number {at}){mark}"
        );
    }
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| argument.len() == 1).collect();
    let measures: [(&str, fn()); 7] = [
        ("-", storage::quiet),
        ("a", storage::rooms_that_end_together),
        ("b", rules::remembered_ids),
        ("c", rules::rooms),
        ("d", storage::large_rooms),
        ("e", storage::start),
        ("f", storage::start_of_an_older_database),
    ];
    for (name, measure) in measures {
        if chosen.is_empty() || chosen.iter().any(|other| other == name) {
            measure();
        }
    }
}
