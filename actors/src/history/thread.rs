//! Starts the threads of a history.

use std::thread::{self, JoinHandle};

use crate::vitals::{VitalPart, Vitals};

/// Starts a thread that the history needs. If it panics, the process ends.
#[expect(clippy::expect_used, reason = "a process that cannot start its threads cannot run")]
pub(super) fn spawn(name: &str, vitals: &Vitals, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let pulse = vitals.pulse(VitalPart::History);
    let run = move || {
        run();
        pulse.rest();
    };
    thread::Builder::new().name(name.into()).spawn(run).expect("the system can start another thread")
}
