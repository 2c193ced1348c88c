//! The private messages that the test server keeps, and what it does wrong with them.

use std::collections::HashMap;

use starling_protocol::{ClientId, Epoch, InboxPosition, JoinedEvent, MessageId, Resume, Seq};

/// Something that a server must not do when an inbox is resumed. Each is committed three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InboxFault {
    /// A message that was missed does not come.
    Lose,
    /// A message that was missed comes twice.
    Double,
    /// Two messages that were missed come in the wrong order.
    Swap,
    /// Everything is said to be recovered, and nothing comes.
    ForgeRecovery,
    /// Nothing is recovered, and the server says so.
    RecoverNothing,
    /// The resume is never answered.
    Ignore,
}

/// Most faults that are committed.
const FAULTS_MAX: u32 = 3;

#[derive(Debug)]
struct Inbox {
    epoch: Epoch,
    messages: Vec<String>,
    /// Messages that a connection of the owner was sent.
    delivered: usize,
}

/// All inboxes.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    owners: HashMap<ClientId, Inbox>,
    fault: Option<InboxFault>,
    committed: u32,
    /// Deliveries that are wrong for the faults that were committed.
    pub(crate) wrong: u64,
    /// Messages that came by resumes.
    pub(crate) resumed: u64,
    /// Messages that had waited for their owner.
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

    /// A connection of the owner is here: where the inbox is, and what waited.
    pub(crate) fn open(&mut self, owner: &ClientId) -> (InboxPosition, Vec<String>) {
        let inbox = self.of(owner);
        let waiting = inbox.messages.split_off(inbox.delivered);
        inbox.messages.extend_from_slice(&waiting);
        inbox.delivered = inbox.messages.len();
        let position = InboxPosition { seq: Seq(inbox.delivered as u64), epoch: inbox.epoch };
        self.waited += waiting.len() as u64;
        (position, waiting)
    }

    /// Keeps a message. Answers its frame; `is_here`: it is sent to the owner now.
    pub(crate) fn keep(&mut self, owner: &ClientId, is_here: bool, frame: impl FnOnce(Seq) -> String) -> String {
        let inbox = self.of(owner);
        let frame = frame(Seq(inbox.messages.len() as u64 + 1));
        inbox.messages.push(frame.clone());
        if is_here {
            inbox.delivered = inbox.messages.len();
        }
        frame
    }

    /// Begins an inbox anew, as after its owner's messages were dropped.
    pub(crate) fn forget(&mut self) {
        self.owners.clear();
    }

    /// The answer to a resume, and what it brings. `None`: nothing is answered.
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
