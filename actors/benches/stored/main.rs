//! How long what is stored stands between a message and its acknowledgement: `cargo bench -p starling-actors --bench stored`.
//!
//! The rule: nothing that grows with what is stored does so for more than 50 ms. An operator's message is posted every few
//! milliseconds, while a database under `target/` with `full` has large things dropped; the longest time to its answer is
//! told. What the rules cost by themselves is measured without a storage, in time of the thread. Letters after `--` choose
//! the measures (`-` and `a` to `f`); without one all run.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a measure ends with what is wrong")]

mod rules;
mod storage;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Longest time that the rule allows.
const ALLOWED: Duration = Duration::from_millis(50);

/// Times of one kind of step, and what is told of them.
#[derive(Default)]
struct Times(Vec<Duration>);

/// How long this thread has worked: what others do on the machine does not count.
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
