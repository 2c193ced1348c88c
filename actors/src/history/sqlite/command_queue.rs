//! The queue of the writer thread.
//!
//! `std::sync::mpsc` wakes the receiver while it holds a lock that the receiver needs. On a core that both threads
//! share, the woken thread runs at once and must wait for that lock, so each message costs two more thread switches.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::command::WriterCommand;

/// Makes the two ends of a queue.
pub(super) fn command_queue() -> (CommandSender, CommandReceiver) {
    let shared = Arc::new(Shared::default());
    (CommandSender(Arc::clone(&shared)), CommandReceiver(shared))
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    turns: Vec<Vec<WriterCommand>>,
    is_receiver_asleep: bool,
    is_closed: bool,
}

impl Shared {
    /// Changes the queue, and wakes the receiver after the lock is released.
    fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.lock();
        let outcome = change(&mut queue);
        let is_asleep = std::mem::take(&mut queue.is_receiver_asleep);
        drop(queue);
        if is_asleep {
            self.has_changed.notify_one();
        }
        outcome
    }

    fn close(&self) {
        self.change(|queue| queue.is_closed = true);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends commands to the writer.
#[derive(Debug, Clone)]
pub(super) struct CommandSender(Arc<Shared>);

impl CommandSender {
    /// Queues the commands of a turn. Returns them if the queue is closed.
    pub(super) fn send(&self, turn: Vec<WriterCommand>) -> Result<(), Vec<WriterCommand>> {
        self.0.change(|queue| {
            if queue.is_closed {
                return Err(turn);
            }
            queue.turns.push(turn);
            Ok(())
        })
    }

    /// Closes the queue for all senders. The receiver still gets what is queued.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

/// The queue is closed and empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

/// Receives the commands. It closes the queue when it is dropped.
#[derive(Debug)]
pub(super) struct CommandReceiver(Arc<Shared>);

impl CommandReceiver {
    /// Takes all queued commands. If there are none, it waits for them, at most for `wait`.
    pub(super) fn receive(&self, into: &mut VecDeque<WriterCommand>, wait: Duration) -> Result<(), Closed> {
        let mut queue = self.0.lock();
        if queue.turns.is_empty() && !queue.is_closed {
            queue.is_receiver_asleep = true;
            let is_asleep = |queue: &mut Queue| queue.is_receiver_asleep;
            let woken = self.0.has_changed.wait_timeout_while(queue, wait, is_asleep);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
            queue.is_receiver_asleep = false;
        }
        if queue.turns.is_empty() && queue.is_closed {
            return Err(Closed);
        }
        drop(queue);
        self.take(into);
        Ok(())
    }

    /// Takes the commands that are queued now.
    pub(super) fn take(&self, into: &mut VecDeque<WriterCommand>) {
        let turns = std::mem::take(&mut self.0.lock().turns);
        into.extend(turns.into_iter().flatten());
    }
}

impl Drop for CommandReceiver {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn numbers(from: u32, to: u32) -> Vec<WriterCommand> {
        (from..to).map(WriterCommand::FindNumbers).collect()
    }

    fn received(queue: &VecDeque<WriterCommand>) -> Vec<u32> {
        let number = |command: &WriterCommand| {
            let WriterCommand::FindNumbers(number) = command else { panic!("nobody has sent {command:?}") };
            *number
        };
        queue.iter().map(number).collect()
    }

    #[test]
    fn a_receiver_that_waits_gets_all_commands_in_order_and_then_the_end() {
        let (sender, receiver) = command_queue();
        let receiving = thread::spawn(move || {
            let mut all = VecDeque::new();
            while receiver.receive(&mut all, LONG).is_ok() {}
            received(&all)
        });
        for number in 0..10_000 {
            sender.clone().send(numbers(number, number + 1)).unwrap();
        }
        sender.close();
        assert_eq!(receiving.join().unwrap(), (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn who_waits_in_vain_gets_nothing_and_commands_that_are_queued_come_before_the_end() {
        let (sender, receiver) = command_queue();
        let mut all = VecDeque::new();
        assert_eq!(receiver.receive(&mut all, Duration::from_millis(1)), Ok(()));
        receiver.take(&mut all);
        assert!(all.is_empty());
        sender.send(numbers(0, 2)).unwrap();
        sender.send(numbers(2, 3)).unwrap();
        sender.close();
        assert_eq!(sender.send(numbers(3, 4)).unwrap_err().len(), 1);
        assert_eq!((receiver.receive(&mut all, LONG), received(&all)), (Ok(()), vec![0, 1, 2]));
        assert_eq!(receiver.receive(&mut all, LONG), Err(Closed));
    }

    #[test]
    fn without_a_receiver_commands_come_back() {
        let (sender, receiver) = command_queue();
        drop(receiver);
        assert_eq!(sender.send(numbers(0, 2)).unwrap_err().len(), 2);
    }
}
