//! The hub of a worker thread: its actor, its turns, its ticker, and its interface for the sessions of the thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use actix::{Actor, Handler};
use bytes::{Bytes, BytesMut};
use rustc_hash::FxHashSet;
use starling_protocol::CloseCode;
use starling_protocol::console::CurrentRoom;
use tokio::task::yield_now;
use tokio::time::MissedTickBehavior;

use super::closing::Closing;
use super::core::{Blocked, Core};
use super::messages::{HubCommand, HubHandle, SentToHub};
use super::session_handle::SessionHandle;
use super::wheel;
use crate::chat_server::ChatServerHandle;
use crate::clock::{self, Instant};
use crate::config::ChatConfig;
use crate::connection::{Connection, Flushed};
use crate::frame::{self, Format};
use crate::ids::{HubId, SessionId};
use crate::metrics::{ActorKind, DisconnectReason, Mailbox, Metrics, WorkerMetrics};
use crate::socket::WriteHalf;
use crate::vitals::{Pulse, VitalPart};

/// The interval at which the worker's event loop is probed.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// Shortest time between the closes of two connections in a shutdown.
const CLOSING_TIME_EACH: Duration = Duration::from_millis(1);

/// One worker thread's hub: one actor for all connections of that thread.
#[derive(Debug)]
pub struct Hub {
    local: LocalHub,
    _pulse: Pulse,
}

impl Actor for Hub {
    type Context = actix::Context<Self>;
}

impl Handler<SentToHub> for Hub {
    type Result = ();

    fn handle(&mut self, message: SentToHub, _: &mut actix::Context<Self>) {
        let SentToHub { command, arrival, in_mailbox } = message;
        drop(in_mailbox);
        let work = arrival.begin();
        self.local.perform(command, work.started());
    }
}

/// The hub of this thread, shared with the sessions of this thread.
#[derive(Debug, Clone)]
pub struct LocalHub(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    core: RefCell<Core>,
    /// Whether the end of the current turn is scheduled.
    turn_ends: Cell<bool>,
    /// Wakes the task that ends the turns, while it waits for one.
    turn_ender: RefCell<Option<Waker>>,
    /// Sockets read and commands performed so far.
    activity: Cell<u64>,
    /// One buffer to read into for all connections of this thread.
    read_buffer: RefCell<BytesMut>,
    config: Arc<ChatConfig>,
    metrics: Arc<Metrics>,
    worker: Arc<WorkerMetrics>,
    chat: ChatServerHandle,
}

impl LocalHub {
    /// Starts the hub of the current thread and registers it with the `ChatServer`.
    ///
    /// Must run on an actix arbiter. No other thread may use the same `id`.
    pub fn start(id: HubId, config: Arc<ChatConfig>, chat: ChatServerHandle, metrics: Arc<Metrics>) -> Self {
        let core = Core::new(id, Arc::clone(&config), chat.clone(), Arc::clone(&metrics));
        let worker = Arc::clone(&core.worker);
        let local = Self(Rc::new(Shared {
            core: RefCell::new(core),
            turn_ends: Cell::new(false),
            turn_ender: RefCell::new(None),
            activity: Cell::new(0),
            read_buffer: RefCell::new(BytesMut::new()),
            config,
            metrics,
            worker: Arc::clone(&worker),
            chat,
        }));
        let address = Hub { local: local.clone(), _pulse: local.chat().vitals().pulse(VitalPart::Hub) }.start();
        let mailbox = Mailbox::new(local.metrics().mailboxes(ActorKind::Hub));
        local.chat().register_hub(HubHandle::new(id, address.recipient(), Arc::clone(&worker.hub), mailbox));
        actix_rt::spawn(local.clone().keep_time());
        actix_rt::spawn(local.clone().end_turns());
        actix_rt::spawn(probe_event_loop(worker));
        local
    }

    /// The chat's configuration.
    pub fn config(&self) -> &Arc<ChatConfig> {
        &self.0.config
    }

    /// The metrics of the chat.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The metrics of this thread.
    pub fn worker(&self) -> &Arc<WorkerMetrics> {
        &self.0.worker
    }

    /// The way into the `ChatServer`, the same for all hubs.
    pub fn chat(&self) -> &ChatServerHandle {
        &self.0.chat
    }

    /// Adds a connection. Its frames wait in its outbox until its [`Session`](crate::session::Session) starts.
    ///
    /// `head` is the handshake response, which is written first. `None`: the hub has no free slot.
    pub fn register(&self, socket: impl Into<WriteHalf>, head: Bytes, format: Format) -> Option<SessionId> {
        let now = clock::now();
        self.0.core.borrow_mut().register(Connection::new(socket, head, now), format)
    }

    /// Marks a connection as compressed. Called before its session starts, if compression was negotiated.
    pub fn deflate(&self, session: SessionId) {
        if let Some(entry) = self.0.core.borrow_mut().entry(session) {
            entry.is_deflated = true;
        }
    }

    /// Whether compression was negotiated with a connection's client.
    pub(crate) fn is_deflated(&self, session: SessionId) -> bool {
        self.0.core.borrow().is_deflated(session)
    }

    /// Allows writes to the connection, because its session has started.
    pub(crate) fn open(&self, session: SessionId, handle: SessionHandle) {
        self.0.core.borrow_mut().open(session, handle);
        self.end_turn_later();
    }

    /// Returns the socket of a connection whose session was not started. Nothing has been written to it.
    pub fn withdraw(&self, session: SessionId) -> Option<WriteHalf> {
        self.0.core.borrow_mut().unregister(session, DisconnectReason::Lost)
    }

    /// Forgets a connection, including its unsent frames.
    pub(crate) fn unregister(&self, session: SessionId, reason: DisconnectReason) {
        drop(self.0.core.borrow_mut().unregister(session, reason));
    }

    /// Closes a connection whose session has panicked. Writes the close frame at once, if the kernel accepts it.
    pub(crate) fn close_failed(&self, session: SessionId) {
        let mut core = self.0.core.borrow_mut();
        core.close(session, Closing::by_server(CloseCode::Fault, "a fault in the server"), clock::now());
        core.flush_connection(session, clock::now());
    }

    /// Notes that the client has ended its side. Returns whether all frames have been written. If not, the hub stops
    /// the session as soon as they are.
    pub(crate) fn client_ended(&self, session: SessionId) -> bool {
        self.0.core.borrow_mut().client_ended(session)
    }

    /// Notes that bytes came from the client.
    pub(crate) fn heard(&self, session: SessionId) {
        self.was_active();
        self.0.core.borrow_mut().heard(session);
    }

    /// Notes whether a message of the client waits for a credit or its time, so that its socket is not read.
    pub(crate) fn hold_back(&self, session: SessionId, held_back: bool) {
        self.0.core.borrow_mut().hold_back(session, held_back);
    }

    /// The unsent bytes that the client's next command has to wait for.
    pub(crate) fn bytes_before_command(&self, session: SessionId) -> usize {
        self.0.core.borrow_mut().entry(session).map_or(0, |entry| entry.connection.bytes_before_command())
    }

    /// Wakes a task when the connection's outbox shrinks or the connection closes.
    pub(crate) fn wake_when_less_waits(&self, session: SessionId, waker: &Waker) {
        if let Some(entry) = self.0.core.borrow_mut().entry(session) {
            entry.connection.wake_when_less_waits(waker);
        }
    }

    /// Sets the format of all further events for the connection.
    pub(crate) fn set_format(&self, session: SessionId, format: Format) {
        self.0.core.borrow_mut().set_format(session, format);
    }

    /// The format of the connection's events.
    pub(crate) fn format(&self, session: SessionId) -> Format {
        self.0.core.borrow().format(session)
    }

    /// The room for console lines that name no room.
    pub(crate) fn current_room(&self, session: SessionId) -> CurrentRoom {
        self.0.core.borrow().current_room(session)
    }

    /// Offers one frame that the session itself has made.
    pub(crate) fn offer_frame(&self, session: SessionId, bytes: Bytes) {
        self.0.core.borrow_mut().offer_frame(session, bytes, clock::now());
        self.end_turn_later();
    }

    /// Offers lines of text to a person.
    pub(crate) fn offer_lines(&self, session: SessionId, text: &str) {
        self.offer_frame(session, frame::lines(text));
    }

    /// Closes a connection, once.
    pub(crate) fn close(&self, session: SessionId, closing: Closing) {
        self.0.core.borrow_mut().close(session, closing, clock::now());
        self.end_turn_later();
    }

    fn perform(&self, command: HubCommand, now: Instant) {
        self.was_active();
        if let HubCommand::Drain { reason, spread } = command {
            actix_rt::spawn(self.clone().drain(reason, spread));
            return;
        }
        self.0.core.borrow_mut().perform(command, now);
        self.end_turn_later();
    }

    /// The buffer that all connections of this thread read into.
    pub(crate) fn with_read_buffer<T>(&self, read: impl FnOnce(&mut BytesMut) -> T) -> T {
        read(&mut self.0.read_buffer.borrow_mut())
    }

    fn was_active(&self) {
        self.0.activity.set(self.0.activity.get().wrapping_add(1));
    }

    /// Schedules the end of the turn, after all other ready tasks.
    fn end_turn_later(&self) {
        if self.0.turn_ends.get() || !self.0.core.borrow().has_work() {
            return;
        }
        self.0.turn_ends.set(true);
        if let Some(ender) = self.0.turn_ender.borrow_mut().take() {
            ender.wake();
        }
    }

    /// Ends the turns of this hub, one after the other. One task for all turns: a task for each would cost an
    /// allocation per turn.
    ///
    /// A turn of few connections ends without a yield if the last one is long ago
    /// (`docs/decisions/0003-one-write-per-turn.md`).
    async fn end_turns(self) {
        let _pulse = self.chat().vitals().pulse(VitalPart::Hub);
        loop {
            poll_fn(|cx| self.poll_turn_ends(cx)).await;
            let is_calm = self.0.core.borrow().is_calm(clock::now());
            if !is_calm {
                self.read_sockets().await;
            }
            self.end_turn();
            if self.chat().is_node() && std::mem::take(&mut self.0.core.borrow_mut().wrote_to_many) {
                self.read_sockets().await;
                self.chat().wrote_to_many();
            }
            if self.0.turn_ends.get() {
                // The next end was scheduled just now: the other ready tasks come first.
                yield_now().await;
            }
        }
    }

    /// Lets all other ready tasks run first.
    ///
    /// A second yield lets sockets that have become readable meanwhile be read, so that their messages join the same
    /// writes (`docs/decisions/0003-one-write-per-turn.md`). If there was no activity during the first yield, the second
    /// one is not worth its cost.
    async fn read_sockets(&self) {
        let before = self.0.activity.get();
        yield_now().await;
        if self.0.activity.get() != before {
            yield_now().await;
        }
    }

    /// Ready when the end of a turn is scheduled.
    fn poll_turn_ends(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.turn_ends.get() {
            return Poll::Ready(());
        }
        *self.0.turn_ender.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn end_turn(&self) {
        let _watch = self.chat().vitals().watch(VitalPart::Hub);
        self.0.turn_ends.set(false);
        let blocked = self.0.core.borrow_mut().flush(clock::now());
        for session in blocked {
            actix_rt::spawn(self.clone().write_when_possible(session));
        }
        // Closing a slow consumer has offered its close frame, so there may be new work.
        self.end_turn_later();
    }

    /// Tells every connection that the server shuts down, and closes it. The closes are spread over time, so that the
    /// clients do not all reconnect in the same moment: one per millisecond, or faster if that would take more than
    /// half of `spread`. Each client is asked to reconnect after its own share of `spread`. After three quarters of
    /// `spread` those are closed whose commands are not answered yet, so that the close frame can still arrive.
    async fn drain(self, reason: &'static str, spread: Duration) {
        let started = clock::now();
        let sessions = self.0.core.borrow().open_sessions();
        let told: FxHashSet<SessionId> = sessions.iter().copied().collect();
        let count = u32::try_from(sessions.len()).unwrap_or(u32::MAX).max(1);
        let closing_time = (spread / 2).min(CLOSING_TIME_EACH * count);
        for (index, session) in (0..).zip(sessions) {
            let due = started + closing_time * index / count;
            let ahead = due.saturating_duration_since(clock::now());
            if !ahead.is_zero() {
                tokio::time::sleep(ahead).await;
            }
            let after_ms = u64::try_from((spread * index / count).as_millis()).unwrap_or(u64::MAX);
            self.0.core.borrow_mut().say_goodbye(session, reason, after_ms, clock::now());
            self.end_turn_later();
        }
        // Connections that were opened meanwhile.
        let sessions = self.0.core.borrow().open_sessions();
        let sessions = sessions.into_iter().filter(|session| !told.contains(session));
        let after_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
        for session in sessions {
            self.0.core.borrow_mut().say_goodbye(session, reason, after_ms, clock::now());
        }
        self.end_turn_later();
        tokio::time::sleep((spread * 3 / 4).saturating_sub(started.elapsed())).await;
        let unanswered = self.0.core.borrow().open_sessions();
        for session in unanswered {
            let closing = Closing::by_server(CloseCode::GoingAway, reason);
            self.0.core.borrow_mut().close(session, closing, clock::now());
        }
        self.end_turn_later();
    }

    /// Waits until a full socket is writable and flushes the outbox, repeatedly, until it is empty.
    async fn write_when_possible(self, session: Blocked) {
        loop {
            poll_fn(|cx| self.0.core.borrow_mut().poll_writable(session, cx)).await;
            let watch = self.chat().vitals().watch(VitalPart::Hub);
            let outcome = self.0.core.borrow_mut().flush_connection(session, clock::now());
            drop(watch);
            if outcome != Flushed::Blocked {
                break;
            }
        }
        self.0.core.borrow_mut().waited_for(session);
        self.end_turn_later();
    }

    /// One ticker for all connections of this thread.
    async fn keep_time(self) {
        let _pulse = self.chat().vitals().pulse(VitalPart::Hub);
        let mut ticks = tokio::time::interval(wheel::period(self.config().heartbeat));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.core.borrow_mut().tick(clock::now());
            self.end_turn_later();
        }
    }
}

/// Measures the delay of the event loop, and copies the busy time that the runtime reports.
async fn probe_event_loop(worker: Arc<WorkerMetrics>) {
    let runtime = tokio::runtime::Handle::current().metrics();
    let stage = &worker.worker_loop;
    let mut planned = tokio::time::Instant::now();
    loop {
        planned += PROBE_INTERVAL;
        tokio::time::sleep_until(planned).await;
        let late = planned.elapsed();
        // Probes that fell into the delay count as late too, each by the rest of the delay.
        let missed = u32::try_from(late.as_nanos() / PROBE_INTERVAL.as_nanos()).unwrap_or(u32::MAX);
        stage.arrive_n(u64::from(missed) + 1);
        for passed in 0..=missed {
            stage.waited(late.saturating_sub(PROBE_INTERVAL * passed), 1);
        }
        stage.complete_n(u64::from(missed) + 1);
        planned += PROBE_INTERVAL * missed;
        stage.set_worked(runtime.worker_total_busy_duration(0));
    }
}
