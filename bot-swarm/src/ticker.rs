//! The only timer of a worker: delivers errands to bots when they are due.

use std::rc::Rc;
use std::time::Duration;

use crate::bot::BotHandle;
use crate::worker_state::WorkerState;

/// The number of errands that are delivered before other tasks on the thread get their turn.
const TURN: usize = 128;

/// The delay before another attempt to deliver an errand to a bot whose mailbox was full.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// Delivers errands for the lifetime of the worker.
pub(crate) async fn run(worker: Rc<WorkerState>, bots: Vec<BotHandle>) {
    loop {
        bring_what_is_due(&worker, &bots).await;
        let now = worker.now();
        let wait = worker.agenda.next_due().map(|due| due.since(now));
        tokio::select! {
            () = worker.agenda.earlier() => {}
            () = actix_rt::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

async fn bring_what_is_due(worker: &WorkerState, bots: &[BotHandle]) {
    let mut brought = 0;
    while let Some(mut appointment) = worker.agenda.take(worker.now()) {
        let Some(bot) = bots.get(appointment.bot as usize) else { continue };
        if bot.bring(appointment).is_err() {
            // The bot's messages keep their planned times; only the errand comes later.
            appointment.due = worker.now().after(RETRY_AFTER);
            worker.agenda.enter(appointment);
        }
        brought += 1;
        if brought % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}
