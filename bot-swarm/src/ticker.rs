//! The one timer of a worker: brings each bot its errand when its time has come.

use std::rc::Rc;
use std::time::Duration;

use crate::bot::BotHandle;
use crate::worker_state::WorkerState;

/// Errands brought before others on the thread get their turn.
const TURN: usize = 128;

/// When to try again to bring an errand to a bot whose mailbox was full.
const RETRY_AFTER: Duration = Duration::from_millis(1);

/// Brings errands, for as long as the worker lives.
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
            // Its messages keep their planned times; only the errand comes later.
            appointment.due = worker.now().after(RETRY_AFTER);
            worker.agenda.enter(appointment);
        }
        brought += 1;
        if brought % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}
