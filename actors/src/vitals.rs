//! The vital parts: if one of them ends, the server ends.
//!
//! A failed session ends alone. If the `ChatServer`, a hub or a thread of the history fails, the whole process ends,
//! because it would otherwise accept connections that it cannot serve. The owner of the process waits for the first
//! [`death`](Vitals::death) and exits, so that a supervisor starts the server again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// A part without which the server cannot serve its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VitalPart {
    /// The one `ChatServer`.
    ChatServer,
    /// A worker thread's hub.
    Hub,
    /// A thread of the history.
    History,
    /// The thread of the log of several nodes.
    Log,
    /// A worker thread; the first one also accepts connections.
    Worker,
}

/// The reason that a server ends without being asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Death {
    /// A vital part has ended while the server was running.
    #[error("{0} has died: the server cannot continue without it")]
    Of(VitalPart),
    /// Every part still runs, but the server must not serve any more, for this reason.
    #[error("{0}")]
    Unfit(Arc<str>),
}

impl fmt::Display for VitalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChatServer => "the ChatServer",
            Self::Hub => "a hub",
            Self::History => "a thread of the history",
            Self::Log => "the thread of the log",
            Self::Worker => "a worker thread",
        })
    }
}

/// Records the first reason for which the server must end; shared by all vital parts.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    first: OnceLock<Death>,
    changed: Notify,
}

/// Held by a part for as long as it runs. On drop it reports that the part has ended.
#[derive(Debug)]
pub struct Pulse {
    vitals: Vitals,
    part: VitalPart,
    is_over: bool,
}

/// Reports the end of a part if it is dropped by a panic.
#[derive(Debug)]
pub struct PanicWatch<'a>(&'a Vitals, VitalPart);

impl Vitals {
    /// Makes the pulse of a part that has started.
    pub fn pulse(&self, part: VitalPart) -> Pulse {
        Pulse { vitals: self.clone(), part, is_over: false }
    }

    /// Watches one piece of a part's work for a panic.
    pub fn watch(&self, part: VitalPart) -> PanicWatch<'_> {
        PanicWatch(self, part)
    }

    /// The first reason for which the server must end, if there is one.
    pub fn dead(&self) -> Option<Death> {
        self.0.first.get().cloned()
    }

    /// Waits for the first reason for which the server must end.
    pub async fn death(&self) -> Death {
        loop {
            let changed = self.0.changed.notified();
            if let Some(death) = self.dead() {
                return death;
            }
            changed.await;
        }
    }

    fn die(&self, death: Death) {
        // Only the first one is kept: the others are consequences.
        self.0.first.set(death).unwrap_or_default();
        self.0.changed.notify_waiters();
    }
}

impl Pulse {
    /// Ends the server although all parts run, because it must not serve any more. It can still notify its clients.
    pub fn unfit(&self, reason: &dyn fmt::Display) {
        self.vitals.die(Death::Unfit(reason.to_string().into()));
    }

    /// Marks an orderly end, which is not reported.
    pub fn rest(mut self) {
        self.is_over = true;
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if !self.is_over {
            self.vitals.die(Death::Of(self.part));
        }
    }
}

impl Drop for PanicWatch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.die(Death::Of(self.1));
        }
    }
}
