//! The parts without which the server is not whole.
//!
//! A session that fails ends alone. The `ChatServer`, a hub or a thread of the history that fails takes the process
//! with it: half a server would go on to take connections that it cannot serve. Whoever runs the process waits for the
//! first [`death`](Vitals::death) and ends it, for its supervisor to start a whole one.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// A part of which there must be no more than a moment without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VitalPart {
    /// The one `ChatServer`.
    ChatServer,
    /// A worker thread's hub.
    Hub,
    /// A thread of the history.
    History,
    /// What accepts connections.
    Workers,
}

/// A part has ended that must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} has died: the server is not whole any more")]
pub struct Died(pub VitalPart);

impl fmt::Display for VitalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ChatServer => "the ChatServer",
            Self::Hub => "a hub",
            Self::History => "a thread of the history",
            Self::Workers => "what accepts connections",
        })
    }
}

/// Knows whether all parts live.
#[derive(Debug, Clone, Default)]
pub struct Vitals(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    first: OnceLock<Died>,
    changed: Notify,
}

/// Held by a part for as long as it lives: dropped, it tells that the part has ended.
#[derive(Debug)]
pub struct Pulse {
    vitals: Vitals,
    part: VitalPart,
    is_over: bool,
}

/// Tells that a part has ended if it is dropped by a panic.
#[derive(Debug)]
pub struct PanicWatch<'a>(&'a Vitals, VitalPart);

impl Vitals {
    /// The pulse of a part that has begun.
    pub fn pulse(&self, part: VitalPart) -> Pulse {
        Pulse { vitals: self.clone(), part, is_over: false }
    }

    /// Watches a piece of work of a part.
    pub fn watch(&self, part: VitalPart) -> PanicWatch<'_> {
        PanicWatch(self, part)
    }

    /// The first part that has ended, if one has.
    pub fn dead(&self) -> Option<Died> {
        self.0.first.get().copied()
    }

    /// Waits for the first part to end.
    pub async fn death(&self) -> Died {
        loop {
            let changed = self.0.changed.notified();
            if let Some(died) = self.dead() {
                return died;
            }
            changed.await;
        }
    }

    fn ended(&self, part: VitalPart) {
        // Only the first counts: others follow from it.
        self.0.first.set(Died(part)).unwrap_or_default();
        self.0.changed.notify_waiters();
    }
}

impl Pulse {
    /// The part has ended as it should.
    pub fn rest(mut self) {
        self.is_over = true;
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if !self.is_over {
            self.vitals.ended(self.part);
        }
    }
}

impl Drop for PanicWatch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ended(self.1);
        }
    }
}
