//! The end of the server, on purpose.

use std::io;
use std::time::Duration;

use log::info;
use tokio::signal::unix::{SignalKind, signal as unix_signal};

use crate::Server;

/// How often it is looked whether everybody has gone.
const LOOK: Duration = Duration::from_millis(20);

/// Ends when the process is asked to stop: SIGTERM or SIGINT.
///
/// # Errors
/// The system lets no signal be waited for.
pub fn signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = unix_signal(SignalKind::terminate())?;
    let mut interrupt = unix_signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => info!("stopping: SIGTERM"),
            _ = interrupt.recv() => info!("stopping: SIGINT"),
        }
    })
}

/// Takes no new connection, tells every client, and waits until they have gone or the time is over.
pub(crate) async fn drain(server: &Server) {
    let limit = Duration::from_secs(server.config().drain_seconds);
    server.state().refuse_new();
    server.state().chat().drain("the server is stopping", limit);
    let gone = async {
        while server.state().places_taken() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(limit, gone).await.is_err() {
        info!("stopping with {} connections left", server.state().places_taken());
    }
}
