//! Orderly shutdown.

use std::io;
use std::process;
use std::time::Duration;

use log::{info, warn};
use starling_actors::vitals::{Death, VitalPart};
use tokio::signal::unix::{Signal, SignalKind, signal as unix_signal};

use crate::logging;
use crate::state::ServerState;

/// The interval at which the drain checks whether all clients have left.
const LOOK: Duration = Duration::from_millis(20);

/// Completes when the process receives SIGTERM or SIGINT.
///
/// A second signal ends the process at once with exit code 1: acknowledged messages are stored, but clients are not
/// notified. From this call on SIGHUP does not end the process any more; [`Server`](crate::Server) handles it.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = unix_signal(SignalKind::terminate())?;
    let mut interrupt = unix_signal(SignalKind::interrupt())?;
    // Installing the handler disables the default action (to end the process), even after the handler is dropped.
    drop(unix_signal(SignalKind::hangup())?);
    Ok(async move {
        // Awaited outside of `info!`, which does not evaluate its arguments if its level is disabled.
        let first = either(&mut terminate, &mut interrupt).await;
        info!("stopping: {first}");
        actix_rt::spawn(async move {
            let second = either(&mut terminate, &mut interrupt).await;
            warn!("stopping at once: {second} again");
            logging::finish();
            process::exit(1);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// Refuses new connections, notifies every client, and waits until they have left and every request is answered, or until
/// this time is over.
/// Afterwards the `ChatServer` has at most five seconds to handle what their sessions have told it.
pub(crate) async fn drain(state: &ServerState, limit: Duration) {
    state.refuse_new();
    state.lab().end();
    if state.chat().vitals().dead() == Some(Death::Of(VitalPart::ChatServer)) {
        // Without the `ChatServer` no client can be notified.
        return;
    }
    state.chat().drain("the server is stopping", limit);
    let gone = async {
        // In this order, because a request may become a WebSocket in between.
        while state.admission().requests() > 0 || state.admission().websockets() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(limit, gone).await.is_err() {
        let admission = state.admission();
        let (websockets, requests) = (admission.websockets(), admission.requests());
        info!("stopping, although clients are left: WebSockets: {websockets}, HTTP requests: {requests}");
    }
    // The end of a session is also when its client's delivery position is noted.
    if !state.chat().answers().await {
        warn!("the ChatServer does not answer: it may not have noted what every client has received and read");
    }
}
