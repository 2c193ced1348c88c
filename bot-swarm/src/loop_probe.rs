//! How late a worker's event loop is: a probe that is to run ten times a second says when it did.

use std::rc::Rc;
use std::time::Duration;

use crate::worker_state::WorkerState;

/// How often the probe is to run.
const PERIOD: Duration = Duration::from_millis(100);

/// The timer of the runtime is no finer than this.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// Probes for as long as the worker lives. Each probe that a blocked loop missed is counted, with what was left of
/// the delay at its time, or a long stop would look like one late probe among hundreds on time.
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
