//! A question to NATS. The subject of the answer repeats it, so that an answer counts for what it was asked, however
//! late it comes.

use std::time::Duration;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To take a record.
    Write,
    /// For the state of the stream.
    Look,
}

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) kind: Kind,
    /// The number of the write or the look.
    pub(super) number: u64,
    /// The newest record that this node had read when it asked. The log has it, so a record that the log takes after
    /// the question has a later position.
    pub(super) read: u64,
    /// The time of the question since the hub began.
    pub(super) asked: Duration,
}

impl Question {
    /// The last part of the answer's subject.
    pub(super) fn part(self) -> String {
        let kind = match self.kind {
            Kind::Write => 'w',
            Kind::Look => 'l',
        };
        format!("{kind}-{}-{}-{}", self.number, self.read, self.asked.as_millis())
    }

    /// The question of an answer with this subject.
    pub(super) fn of(subject: &str) -> Option<Self> {
        let mut parts = subject.rsplit('.').next()?.split('-');
        let kind = match parts.next()? {
            "w" => Kind::Write,
            "l" => Kind::Look,
            _ => return None,
        };
        let mut number = || parts.next()?.parse().ok();
        Some(Self { kind, number: number()?, read: number()?, asked: Duration::from_millis(number()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_repeats_its_question() {
        for kind in [Kind::Write, Kind::Look] {
            let question = Question { kind, number: 7, read: 90, asked: Duration::from_millis(1_234) };
            assert_eq!(Question::of(&format!("_INBOX.abc.{}", question.part())), Some(question));
        }
        for other in ["", "_INBOX.abc", "_INBOX.x-1-2-3", "_INBOX.w-1-2", "_INBOX.l-1-b-3"] {
            assert_eq!(Question::of(other), None, "{other}");
        }
    }
}
