//! The number of messages in an actor's mailbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use crate::highest::Highest;

/// The mailboxes of one kind of actor.
#[derive(Debug, Default)]
pub struct Mailboxes {
    pub(super) waiting: AtomicI64,
    pub(super) highest: Highest,
}

/// The mailbox of one actor; counts its waiting messages.
#[derive(Debug)]
pub struct Mailbox {
    kind: Arc<Mailboxes>,
    waiting: AtomicI64,
}

impl Mailbox {
    /// The mailbox of a new actor of this kind.
    pub fn new(kind: &Arc<Mailboxes>) -> Arc<Self> {
        Arc::new(Self { kind: Arc::clone(kind), waiting: AtomicI64::new(0) })
    }

    /// Counts a message in. The guard counts it out on drop, whether the message was handled or lost.
    pub fn enter(self: &Arc<Self>) -> InMailbox {
        let waiting = self.waiting.fetch_add(1, Relaxed) + 1;
        self.kind.waiting.fetch_add(1, Relaxed);
        self.kind.highest.record(u64::try_from(waiting).unwrap_or(0));
        InMailbox(Arc::clone(self))
    }
}

/// A message in a mailbox.
#[derive(Debug)]
pub struct InMailbox(Arc<Mailbox>);

impl Drop for InMailbox {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.kind.waiting.fetch_sub(1, Relaxed);
    }
}
