//! Stopping a swarm: by a signal, or by whoever runs it.

use actix_rt::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Asks a running swarm to stop. Clones ask the same swarm.
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    stop: CancellationToken,
    hurry: CancellationToken,
}

impl StopHandle {
    /// A handle that nobody has used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the swarm in order: no more messages, wait for what is outstanding, close, report. Asked a second time,
    /// the swarm waits no longer.
    pub fn stop(&self) {
        if self.stop.is_cancelled() {
            self.hurry.cancel();
        }
        self.stop.cancel();
    }

    /// Whether somebody has asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until somebody asks to stop.
    pub async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until somebody asks a second time.
    pub async fn hurried(&self) {
        self.hurry.cancelled().await;
    }

    /// Stops at SIGINT, SIGTERM, SIGQUIT and SIGHUP, from now on; not at a SIGHUP that is ignored, as `nohup` wants.
    ///
    /// # Errors
    /// Where the signals cannot be listened to.
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

/// Whether the process was started so that it outlives its terminal.
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
