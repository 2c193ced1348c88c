//! Flow control: a command holds a credit from the read until every outbox has been offered its outcome.
//!
//! A session takes a credit before it handles a text. The credit travels with the command until the last hub has
//! offered its outcome, or until the command is dropped on the way, so no path can leak it. Without a credit the
//! session does not read its socket, so TCP slows the sender. So the credits in circulation bound every mailbox.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

use crate::clock::{self, Instant};
use crate::passage::Passage;

/// The credits of all sessions together.
#[derive(Debug, Clone)]
pub struct ServerCredits {
    semaphore: Arc<Semaphore>,
    total: u32,
    waits: Arc<Mutex<Waits>>,
}

/// The sessions that wait for one of the server's credits, and how long all of them have waited.
#[derive(Debug)]
struct Waits {
    sessions: u32,
    /// Up to the last change of `sessions`.
    waited: Duration,
    changed: Instant,
}

impl Waits {
    fn until(&self, now: Instant) -> Duration {
        self.waited + now.saturating_duration_since(self.changed) * self.sessions
    }

    fn set(&mut self, sessions: u32, now: Instant) {
        *self = Self { sessions, waited: self.until(now), changed: now };
    }
}

/// Counts a session that waits for one of the server's credits, until this is dropped.
#[derive(Debug)]
struct CountedWait(Arc<Mutex<Waits>>);

impl CountedWait {
    fn new(waits: &Arc<Mutex<Waits>>) -> Self {
        let counted = Self(Arc::clone(waits));
        counted.set(|sessions| sessions + 1);
        counted
    }

    fn set(&self, sessions: impl FnOnce(u32) -> u32) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = sessions(waits.sessions);
        // Read while locked: the time never goes back.
        waits.set(sessions, clock::now());
    }
}

impl Drop for CountedWait {
    fn drop(&mut self) {
        self.set(|sessions| sessions - 1);
    }
}

impl ServerCredits {
    /// Makes `total` credits.
    pub fn new(total: u32) -> Self {
        let waits = Waits { sessions: 0, waited: Duration::ZERO, changed: clock::now() };
        Self { semaphore: Arc::new(Semaphore::new(total as usize)), total, waits: Arc::new(Mutex::new(waits)) }
    }

    /// Credits in circulation: an upper bound of everything in all mailboxes.
    pub fn in_use(&self) -> usize {
        (self.total as usize).saturating_sub(self.semaphore.available_permits())
    }

    /// The time that sessions have waited because all credits were in use, summed over the sessions.
    pub fn waited(&self) -> Duration {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.until(clock::now())
    }
}

/// The credit of one command: one of its session's, and one of the server's.
#[derive(Debug)]
pub struct Credit {
    session: OwnCredit,
    _server: OwnedSemaphorePermit,
}

impl Credit {
    /// Reserves the most bytes that the command's answer may have. The reservation ends with the credit: by then the
    /// answer itself is in the outbox.
    pub fn expect_answer(&mut self, bytes: u32) {
        let before = std::mem::replace(&mut self.session.answer_bytes, bytes);
        self.session.bound.asked_bytes.fetch_add(bytes.wrapping_sub(before), Ordering::AcqRel);
    }
}

/// The credits of one session. A semaphore with a single taker, so it needs no queue.
#[derive(Debug)]
struct OwnBound {
    left: AtomicU32,
    /// The sum of the reserved answer sizes of all commands in flight.
    asked_bytes: AtomicU32,
    taker: AtomicWaker,
}

impl OwnBound {
    fn try_take(self: &Arc<Self>) -> Option<OwnCredit> {
        // Only the session takes credits, so `left` cannot shrink between the check and the subtraction.
        if self.left.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.left.fetch_sub(1, Ordering::AcqRel);
        Some(OwnCredit { bound: Arc::clone(self), answer_bytes: 0 })
    }

    fn poll_take(self: &Arc<Self>, cx: &Context<'_>) -> Poll<OwnCredit> {
        if let Some(credit) = self.try_take() {
            return Poll::Ready(credit);
        }
        self.taker.register(cx.waker());
        // A credit may have been returned before the waker was registered.
        self.try_take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A credit of a session, returned on drop.
#[derive(Debug)]
struct OwnCredit {
    bound: Arc<OwnBound>,
    answer_bytes: u32,
}

impl Drop for OwnCredit {
    fn drop(&mut self) {
        self.bound.asked_bytes.fetch_sub(self.answer_bytes, Ordering::AcqRel);
        self.bound.left.fetch_add(1, Ordering::AcqRel);
        self.bound.taker.wake();
    }
}

/// The credit of a command and its passage since it was read; it accompanies the command to all its receivers.
#[derive(Debug)]
pub struct Ticket {
    /// The times at which the command passed the stages.
    pub passage: Passage,
    _credit: Option<Credit>,
}

impl Ticket {
    /// The ticket of a command that was read now and holds this credit.
    pub fn new(read_at: Instant, credit: Credit) -> Self {
        Self { passage: Passage::read_at(read_at), _credit: Some(credit) }
    }

    /// The ticket of a command that did not come from a socket.
    pub fn without_credit(read_at: Instant) -> Self {
        Self { passage: Passage::read_at(read_at), _credit: None }
    }

    /// A second ticket with the same passage, without a credit.
    #[must_use]
    pub fn copy_without_credit(&self) -> Self {
        Self { passage: self.passage, _credit: None }
    }
}

/// The credits of one session. A command needs one of these and one of the server's.
#[derive(Debug)]
pub struct SessionCredits {
    own: u32,
    bound: Arc<OwnBound>,
    /// A credit of the session that waits for its counterpart of the server; usually `None`.
    half: Option<Box<Half>>,
}

/// A credit of a session, while the server has none left.
#[derive(Debug)]
struct Half {
    session: OwnCredit,
    server: PollSemaphore,
    _wait: CountedWait,
}

impl SessionCredits {
    /// The credits of a session that may have `own` commands in flight.
    pub fn new(own: u32) -> Self {
        let bound = OwnBound { left: AtomicU32::new(own), asked_bytes: AtomicU32::new(0), taker: AtomicWaker::new() };
        Self { own, bound: Arc::new(bound), half: None }
    }

    /// Takes both credits of the next command.
    pub fn poll_take(&mut self, server: &ServerCredits, cx: &mut Context<'_>) -> Poll<Credit> {
        let mut half = if let Some(half) = self.half.take() {
            half
        } else {
            let session = ready!(self.bound.poll_take(cx));
            if let Ok(permit) = Arc::clone(&server.semaphore).try_acquire_owned() {
                return Poll::Ready(Credit { session, _server: permit });
            }
            let wait = CountedWait::new(&server.waits);
            let server = PollSemaphore::new(Arc::clone(&server.semaphore));
            Box::new(Half { session, server, _wait: wait })
        };
        match half.server.poll_acquire(cx) {
            Poll::Ready(Some(permit)) => Poll::Ready(Credit { session: half.session, _server: permit }),
            // The semaphore is never closed.
            Poll::Ready(None) | Poll::Pending => {
                self.half = Some(half);
                Poll::Pending
            }
        }
    }

    /// Gives up waiting for a credit.
    pub fn give_up(&mut self) {
        self.half = None;
    }

    /// The sum of the most bytes that the answers to all commands in flight may have.
    pub fn asked_bytes(&self) -> usize {
        self.bound.asked_bytes.load(Ordering::Acquire) as usize
    }

    /// Wakes this task when the session's next credit is returned.
    pub fn wake_at_return(&self, cx: &Context<'_>) {
        self.bound.taker.register(cx.waker());
    }

    /// Ready when no command of the session is in flight any more.
    pub fn poll_all_back(&self, cx: &Context<'_>) -> Poll<()> {
        self.wake_at_return(cx);
        if self.bound.left.load(Ordering::Acquire) == self.own { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn take(credits: &mut SessionCredits, server: &ServerCredits) -> Option<Credit> {
        match credits.poll_take(server, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(credit) => Some(credit),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_session_has_its_own_bound_and_gets_credits_back_on_drop() {
        let server = ServerCredits::new(10);
        let mut session = SessionCredits::new(2);
        let (first, second) = (take(&mut session, &server), take(&mut session, &server));
        assert!(first.is_some() && second.is_some());
        assert!(take(&mut session, &server).is_none());
        assert_eq!(server.in_use(), 2);
        drop(first);
        assert!(take(&mut session, &server).is_some());
    }

    #[test]
    fn what_was_asked_for_counts_until_the_credit_is_back() {
        let server = ServerCredits::new(10);
        let mut session = SessionCredits::new(3);
        let (mut first, mut second) = (take(&mut session, &server).unwrap(), take(&mut session, &server).unwrap());
        first.expect_answer(100);
        second.expect_answer(5);
        second.expect_answer(7);
        assert_eq!(session.asked_bytes(), 107);
        drop(first);
        assert_eq!(session.asked_bytes(), 7);
        drop(second);
        assert_eq!(session.asked_bytes(), 0);
    }

    #[test]
    fn all_sessions_together_have_a_bound() {
        let server = ServerCredits::new(1);
        let (mut a, mut b) = (SessionCredits::new(5), SessionCredits::new(5));
        let held = take(&mut a, &server);
        assert!(held.is_some());
        assert!(take(&mut b, &server).is_none());
        drop(held);
        assert!(take(&mut a, &server).is_none(), "the one that waits comes first");
        assert!(take(&mut b, &server).is_some());
    }

    #[test]
    fn a_session_knows_when_nothing_of_it_is_on_its_way() {
        let server = ServerCredits::new(1);
        let mut session = SessionCredits::new(2);
        let cx = Context::from_waker(Waker::noop());
        let first = take(&mut session, &server);
        assert!(take(&mut session, &server).is_none());
        session.give_up();
        assert!(session.poll_all_back(&cx).is_pending());
        drop(first);
        assert!(session.poll_all_back(&cx).is_ready());
    }

    #[test]
    fn a_session_that_ends_gives_everything_back() {
        let server = ServerCredits::new(1);
        let [mut a, mut b] = [0, 1].map(|_| SessionCredits::new(3));
        let held = take(&mut a, &server);
        assert!(take(&mut b, &server).is_none());
        drop(b);
        drop(held);
        assert_eq!(server.in_use(), 0);
    }

    #[test]
    fn the_time_for_which_sessions_wait_is_summed_over_them() {
        let start = clock::now();
        let mut waits = Waits { sessions: 0, waited: Duration::ZERO, changed: start };
        for (second, sessions, waited) in [(5, 1, 0), (7, 3, 2), (8, 2, 5), (18, 0, 25), (100, 0, 25)] {
            let now = start + Duration::from_secs(second);
            assert_eq!(waits.until(now), Duration::from_secs(waited), "at {second}");
            waits.set(sessions, now);
        }
    }

    #[test]
    fn a_session_waits_until_it_gets_a_credit_or_ends() {
        let server = ServerCredits::new(1);
        let waiting = || server.waits.lock().unwrap().sessions;
        let [mut a, mut b, mut c] = [0, 1, 2].map(|_| SessionCredits::new(5));
        let held = take(&mut a, &server);
        for session in [&mut b, &mut c] {
            assert!(take(session, &server).is_none());
            assert!(take(session, &server).is_none());
        }
        assert_eq!(waiting(), 2);
        drop(c);
        assert_eq!(waiting(), 1);
        drop(held);
        assert!(take(&mut b, &server).is_some());
        assert_eq!(waiting(), 0);
        assert!(server.waited() > Duration::ZERO);
    }
}
