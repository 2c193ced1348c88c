//! Flow control: a command holds a credit from the read until every outbox has been offered its outcome.
//!
//! A session takes a credit before it decodes a frame. The credit travels with the command until the last hub has
//! offered its outcome, or until the command is dropped on the way, so no path can leak it. Without a credit the
//! session does not read its socket, so TCP slows the sender. So the credits in circulation bound every mailbox.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
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

/// A session waits for one of the server's credits until this is dropped.
#[derive(Debug)]
struct Waiting(Arc<Mutex<Waits>>);

impl Waiting {
    fn new(waits: &Arc<Mutex<Waits>>) -> Self {
        let waiting = Self(Arc::clone(waits));
        waiting.set(|sessions| sessions + 1);
        waiting
    }

    fn set(&self, sessions: impl FnOnce(u32) -> u32) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = sessions(waits.sessions);
        // Read while locked: the time never goes back.
        waits.set(sessions, clock::now());
    }
}

impl Drop for Waiting {
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

    fn poll_all_back(&self, all: u32, cx: &Context<'_>) -> Poll<()> {
        self.taker.register(cx.waker());
        if self.left.load(Ordering::Acquire) == all { Poll::Ready(()) } else { Poll::Pending }
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
    gate: RefCell<Gate>,
}

#[derive(Debug)]
struct Gate {
    session: Arc<OwnBound>,
    server: PollSemaphore,
    waits: Arc<Mutex<Waits>>,
    /// A credit of the session whose counterpart of the server is still to be acquired.
    half: Option<OwnCredit>,
    /// While no credit of the server is left for [`half`](Self::half).
    waiting: Option<Waiting>,
    ready: Option<Credit>,
}

impl SessionCredits {
    /// The credits of a session that may have `own` commands in flight.
    pub fn new(own: u32, server: &ServerCredits) -> Self {
        let gate = Gate {
            session: Arc::new(OwnBound {
                left: AtomicU32::new(own),
                asked_bytes: AtomicU32::new(0),
                taker: AtomicWaker::new(),
            }),
            server: PollSemaphore::new(Arc::clone(&server.semaphore)),
            waits: Arc::clone(&server.waits),
            half: None,
            waiting: None,
            ready: None,
        };
        Self { own, gate: RefCell::new(gate) }
    }

    /// Ready when both credits of the next command are acquired.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let gate = &mut *self.gate.borrow_mut();
        if gate.ready.is_some() {
            return Poll::Ready(());
        }
        if gate.half.is_none() {
            match gate.session.poll_take(cx) {
                Poll::Ready(credit) => gate.half = Some(credit),
                Poll::Pending => return Poll::Pending,
            }
        }
        match gate.server.poll_acquire(cx) {
            Poll::Ready(Some(server)) => {
                gate.ready = gate.half.take().map(|session| Credit { session, _server: server });
                gate.waiting = None;
                Poll::Ready(())
            }
            // The semaphores are never closed.
            Poll::Ready(None) | Poll::Pending => {
                gate.waiting.get_or_insert_with(|| Waiting::new(&gate.waits));
                Poll::Pending
            }
        }
    }

    /// The sum of the most bytes that the answers to all commands in flight may have.
    pub fn asked_bytes(&self) -> usize {
        self.gate.borrow().session.asked_bytes.load(Ordering::Acquire) as usize
    }

    /// Wakes this task when the session's next credit is returned.
    pub fn wake_at_return(&self, cx: &Context<'_>) {
        self.gate.borrow().session.taker.register(cx.waker());
    }

    /// The credit that [`poll_ready`](Self::poll_ready) obtained.
    pub fn take(&self) -> Option<Credit> {
        self.gate.borrow_mut().ready.take()
    }

    /// Completes when no command of the session is in flight any more. Call it only once no more credits are taken.
    pub fn all_back(&self) -> impl Future<Output = ()> + use<> {
        let mut gate = self.gate.borrow_mut();
        // These credits were acquired for a frame that will not arrive.
        (gate.half, gate.ready, gate.waiting) = (None, None, None);
        let (session, own) = (Arc::clone(&gate.session), self.own);
        poll_fn(move |cx| session.poll_all_back(own, cx))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn take(credits: &SessionCredits) -> Option<Credit> {
        match credits.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(()) => credits.take(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_session_has_its_own_bound_and_gets_credits_back_on_drop() {
        let server = ServerCredits::new(10);
        let session = SessionCredits::new(2, &server);
        let (first, second) = (take(&session), take(&session));
        assert!(first.is_some() && second.is_some());
        assert!(take(&session).is_none());
        assert_eq!(server.in_use(), 2);
        drop(first);
        assert!(take(&session).is_some());
    }

    #[test]
    fn what_was_asked_for_counts_until_the_credit_is_back() {
        let server = ServerCredits::new(10);
        let session = SessionCredits::new(3, &server);
        let (mut first, mut second) = (take(&session).unwrap(), take(&session).unwrap());
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
        let (a, b) = (SessionCredits::new(5, &server), SessionCredits::new(5, &server));
        let held = take(&a);
        assert!(held.is_some());
        assert!(take(&b).is_none());
        drop(held);
        assert!(take(&b).is_some());
    }

    #[test]
    fn a_session_knows_when_nothing_of_it_is_on_its_way() {
        let server = ServerCredits::new(10);
        let session = SessionCredits::new(2, &server);
        let first = take(&session);
        assert!(session.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        let mut all_back = std::pin::pin!(session.all_back());
        assert!(all_back.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(server.in_use(), 1, "what was not taken is given back");
        drop(first);
        assert!(all_back.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[test]
    fn a_session_that_ends_gives_everything_back() {
        let server = ServerCredits::new(3);
        let session = SessionCredits::new(3, &server);
        assert!(session.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(server.in_use(), 1);
        drop(session);
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
        let [a, b, c] = [0, 1, 2].map(|_| SessionCredits::new(5, &server));
        let held = take(&a);
        for session in [&b, &b, &c] {
            assert!(take(session).is_none());
        }
        assert_eq!(waiting(), 2);
        drop(c);
        assert_eq!(waiting(), 1);
        drop(held);
        assert!(take(&b).is_some());
        assert_eq!(waiting(), 0);
        assert!(server.waited() > Duration::ZERO);
    }
}
