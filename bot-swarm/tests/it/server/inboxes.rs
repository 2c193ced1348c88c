//! The private messages that the test server keeps, and its faults with them.

use std::collections::HashMap;

use starling_protocol::{ClientId, Epoch, InboxPosition, JoinedEvent, MessageId, Resume, Seq};

/// A fault when an inbox is resumed. Each is committed three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InboxFault {
    /// A missed message is not delivered.
    Lose,
    /// A missed message is delivered twice.
    Double,
    /// Two missed messages are delivered in the wrong order.
    Swap,
    /// The server claims that everything was recovered, but sends nothing.
    ForgeRecovery,
    /// Nothing is recovered, and the server says so.
    RecoverNothing,
    /// The resume is never answered.
    Ignore,
}

/// The most faults that are committed.
const FAULTS_MAX: u32 = 3;

#[derive(Debug)]
struct Inbox {
    epoch: Epoch,
    messages: Vec<String>,
    /// The number of messages that were sent to a connection of the owner.
    delivered: usize,
}

/// All inboxes.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    owners: HashMap<ClientId, Inbox>,
    fault: Option<InboxFault>,
    committed: u32,
    /// The number of wrong deliveries from the committed faults.
    pub(crate) wrong: u64,
    /// The number of messages in answers to resumes.
    pub(crate) resumed: u64,
    /// The number of messages that had waited for their owner.
    pub(crate) waited: u64,
}

impl Inboxes {
    pub(crate) fn with(fault: Option<InboxFault>) -> Self {
        Self { fault, ..Self::default() }
    }

    fn of(&mut self, owner: &ClientId) -> &mut Inbox {
        let new = || Inbox { epoch: Epoch(fastrand::u64(..)), messages: Vec::new(), delivered: 0 };
        self.owners.entry(owner.clone()).or_insert_with(new)
    }

    /// Handles a new connection of the owner. Returns the inbox's position, and the waiting messages.
    pub(crate) fn open(&mut self, owner: &ClientId) -> (InboxPosition, Vec<String>) {
        let inbox = self.of(owner);
        let waiting = inbox.messages.split_off(inbox.delivered);
        inbox.messages.extend_from_slice(&waiting);
        inbox.delivered = inbox.messages.len();
        let position = InboxPosition { seq: Seq(inbox.delivered as u64), epoch: inbox.epoch };
        self.waited += waiting.len() as u64;
        (position, waiting)
    }

    /// Keeps a message and returns its frame; with `is_here`, it is sent to the owner now.
    pub(crate) fn keep(&mut self, owner: &ClientId, is_here: bool, frame: impl FnOnce(Seq) -> String) -> String {
        let inbox = self.of(owner);
        let frame = frame(Seq(inbox.messages.len() as u64 + 1));
        inbox.messages.push(frame.clone());
        if is_here {
            inbox.delivered = inbox.messages.len();
        }
        frame
    }

    /// Starts all inboxes with a new epoch, as after the deletion of their messages.
    pub(crate) fn forget(&mut self) {
        self.owners.clear();
    }

    /// The answer to a resume, with the missed messages. `None`: no answer.
    pub(crate) fn resume(
        &mut self,
        owner: &ClientId,
        id: Option<MessageId>,
        resume: Option<Resume>,
    ) -> Option<(JoinedEvent, Vec<String>)> {
        let inbox = self.of(owner);
        let from = resume.filter(|resume| resume.epoch == Some(inbox.epoch));
        let skipped = from.map_or(inbox.messages.len(), |from| usize::try_from(from.after.0).unwrap());
        let mut missed = inbox.messages[skipped..].to_vec();
        let mut joined = JoinedEvent {
            id,
            room: None,
            inbox: true,
            seq: Seq(inbox.messages.len() as u64),
            epoch: inbox.epoch,
            count: 1,
            recovered: resume.map(|_| from.is_some()),
            settings: None,
            visible_after: None,
        };
        let is_worth_it = |fault: &InboxFault| missed.len() >= 2 || *fault == InboxFault::Ignore;
        if let Some(fault) = self.fault.filter(is_worth_it).filter(|_| self.committed < FAULTS_MAX) {
            self.committed += 1;
            let all = missed.len() as u64;
            self.wrong += if matches!(fault, InboxFault::ForgeRecovery | InboxFault::RecoverNothing) { all } else { 1 };
            match fault {
                InboxFault::Lose => drop(missed.remove(0)),
                InboxFault::Double => missed.insert(0, missed[0].clone()),
                InboxFault::Swap => missed.swap(0, 1),
                InboxFault::ForgeRecovery => missed.clear(),
                InboxFault::RecoverNothing => {
                    missed.clear();
                    joined.recovered = Some(false);
                }
                InboxFault::Ignore => return None,
            }
        }
        self.resumed += missed.len() as u64;
        Some((joined, missed))
    }
}
