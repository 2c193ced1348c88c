//! Measures the delay of a worker's event loop: a probe is due ten times a second and records how late it runs.

use std::rc::Rc;
use std::time::Duration;

use crate::worker_state::WorkerState;

/// The interval of the probes.
const PERIOD: Duration = Duration::from_millis(100);

/// The resolution of the runtime's timer.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// Probes for the lifetime of the worker. Each probe that a blocked loop missed is counted, with the rest of the delay
/// at its time. Otherwise a long stop would look like one late probe among hundreds on time.
pub(crate) async fn run(worker: Rc<WorkerState>) {
    let mut due = worker.now().after(PERIOD);
    loop {
        actix_rt::time::sleep(due.since(worker.now())).await;
        if worker.is_over.get() {
            return;
        }
        let now = worker.now();
        while due <= now {
            worker.stats.borrow_mut().loop_lag.record(now.since(due).saturating_sub(TIMER_GRAIN));
            due = due.after(PERIOD);
        }
    }
}
