//! Counts the connections that a worker is opening. If the end of the run interrupts an attempt, the count shows
//! whether the connection or the handshake had no answer.

use std::cell::Cell;
use std::rc::Rc;

/// The attempts of one worker that wait for a connection; those that wait for a handshake are not among them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialing {
    waiting: Rc<Cell<u64>>,
    told: Rc<Cell<u64>>,
}

/// One attempt, for as long as it waits for its connection.
#[derive(Debug)]
pub(crate) struct Dial(Rc<Cell<u64>>);

impl Dialing {
    /// Begins an attempt.
    pub(crate) fn begin(&self) -> Dial {
        self.waiting.set(self.waiting.get() + 1);
        Dial(Rc::clone(&self.waiting))
    }

    /// Whether an attempt still waits for its connection and was not reported yet. Marks it as reported.
    pub(crate) fn tell_one(&self) -> bool {
        let is_left = self.told.get() < self.waiting.get();
        self.told.set(self.told.get() + u64::from(is_left));
        is_left
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_that_waits_is_told_of_once() {
        let dialing = Dialing::default();
        let dials: Vec<Dial> = (0..3).map(|_| dialing.begin()).collect();
        drop(dialing.begin());
        let told: Vec<bool> = (0..5).map(|_| dialing.tell_one()).collect();
        assert_eq!(told, [true, true, true, false, false]);
        drop(dials);
        assert!(!Dialing::default().tell_one());
    }
}
