//! Stopping a swarm: by a signal, or by the caller.

use actix_rt::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Requests a running swarm to stop. Clones belong to the same swarm.
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    stop: CancellationToken,
    hurry: CancellationToken,
}

impl StopHandle {
    /// A handle without a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the swarm in order: no new messages, wait for outstanding work, close, report. After a second call, the
    /// swarm stops waiting.
    pub fn stop(&self) {
        if self.stop.is_cancelled() {
            self.hurry.cancel();
        }
        self.stop.cancel();
    }

    /// Whether a stop was requested.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until a stop is requested.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until a stop is requested a second time.
    pub async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// Stops at SIGINT, SIGTERM, SIGQUIT and SIGHUP from now on, but not at a SIGHUP that is ignored, as with `nohup`.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        let hangup = (!is_hangup_ignored()).then(SignalKind::hangup);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit()];
        for kind in kinds.into_iter().chain(hangup) {
            let signals = signal(kind)?;
            actix_rt::spawn(self.clone().stop_at(signals));
        }
        Ok(())
    }

    async fn stop_at(self, mut signals: Signal) {
        while signals.recv().await.is_some() {
            self.stop();
        }
    }
}

/// Whether SIGHUP was ignored when the process was started, so that it outlives its terminal.
fn is_hangup_ignored() -> bool {
    let status = procfs::process::Process::myself().and_then(|process| process.status());
    status.is_ok_and(|status| status.sigign & 1 != 0)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_first_request_stops_and_the_second_hurries() {
        let handle = StopHandle::new();
        assert!(handle.stopped().now_or_never().is_none());
        handle.clone().stop();
        assert!(handle.stopped().now_or_never().is_some());
        assert!(handle.hurried().now_or_never().is_none());
        handle.stop();
        assert!(handle.hurried().now_or_never().is_some());
    }
}
