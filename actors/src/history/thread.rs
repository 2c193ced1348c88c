//! The threads of a history.

use std::thread::{self, JoinHandle};

use crate::vitals::{VitalPart, Vitals};

/// Starts a thread without which the history is not whole.
#[expect(clippy::expect_used, reason = "a process that cannot have another thread cannot start")]
pub(super) fn spawn(name: &str, vitals: &Vitals, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let pulse = vitals.pulse(VitalPart::History);
    let run = move || {
        run();
        pulse.rest();
    };
    thread::Builder::new().name(name.into()).spawn(run).expect("the system gives another thread")
}
