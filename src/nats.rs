//! The log of several nodes in NATS JetStream: a stream whose messages are the records.
//!
//! [`NatsLog`] is the chat's side. Everything else is on a thread of its own, so that the chat never waits for NATS:
//!
//! - `hub`: executes the chat's commands; holds the `writer` (which records to write next) and `reach` (whether the node
//!   may accept clients). `obstacle` finds the reasons that the stream would refuse records.
//! - `reader`: reads the records; `place` is its position, `progress` the positions of all parts.
//! - `neighbours`: what nodes send each other outside the log: signs of life, and who types; `same_settings`: the settings.
//! - `checkpoints`: stores checkpoints, and trims the log behind them.
//! - `engine`: the first connection, and whether NATS can hold the log.

mod checkpoints;
mod engine;
mod fatal;
mod hub;
mod link;
mod loss;
mod metrics;
mod neighbours;
mod obstacle;
mod place;
mod progress;
mod question;
mod reach;
mod reader;
mod same_settings;
mod settings;
mod writer;

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use starling_actors::clock;
use starling_actors::nodes::log::{HeardSink, Log, LogState, NodeFigures};
use starling_actors::nodes::record::{Incarnation, LogPosition, RecordId};
use starling_actors::nodes::typing::TypingNotice;
use starling_actors::vitals::{Pulse, VitalPart, Vitals};
use tokio::runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot};

pub use self::engine::{CannotConnect, Syncs};
pub use self::reach::LogReach;
pub use self::settings::NatsSettings;

use self::checkpoints::Checkpoint;
use self::engine::Engine;
use self::fatal::Fatal;
use self::hub::{Command, Hub};
use self::link::Link;
pub use self::metrics::LogCollector;
use self::metrics::LogMetrics;
use self::progress::Progress;
use self::same_settings::SameSettings;

/// Takes an answer. An error is for a person.
type Answer<T> = mpsc::Sender<Result<T, String>>;

/// What the owner of the log asks for before the chat runs.
enum Ask {
    /// To find the record at a position.
    Find(LogPosition, Answer<Option<RecordId>>),
    /// To read a checkpoint.
    Load(RecordId, Answer<Bytes>),
    /// To read the log.
    Connect(Start),
}

/// The chat runs, and reads the log.
struct Start {
    behind: LogPosition,
    sink: HeardSink,
    pulse: Pulse,
}

/// The log of several nodes. When it is dropped, it writes what is queued for at most two seconds.
pub struct NatsLog {
    state: LogState,
    syncs: Syncs,
    progress: Arc<Progress>,
    metrics: Arc<LogMetrics>,
    asks: Option<UnboundedSender<Ask>>,
    commands: Option<UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLog").field("state", &self.state).finish_non_exhaustive()
    }
}

impl NatsLog {
    /// Connects to NATS, checks that it can hold the log, and opens the stream or makes it.
    ///
    /// # Errors
    /// [`CannotConnect`].
    pub async fn connect(settings: &NatsSettings) -> Result<Self, CannotConnect> {
        let progress = Arc::new(Progress::default());
        let metrics = Arc::new(LogMetrics::new(Arc::clone(&progress)));
        let (asks, asked) = unbounded_channel();
        let (commands, to_do) = unbounded_channel();
        let (tell, opened) = oneshot::channel();
        let owned = (settings.clone(), Arc::clone(&progress), Arc::clone(&metrics));
        let run = move || {
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
            let (settings, progress, metrics) = owned;
            runtime.block_on(live(settings, progress, metrics, tell, asked, to_do));
        };
        let thread = thread::Builder::new().name("nats".into()).spawn(run).map_err(|_| CannotConnect::Thread)?;
        let (state, syncs) = opened.await.map_err(|_| CannotConnect::Thread)??;
        progress.saw_newest(state.last.0);
        metrics.set_synced(syncs == Syncs::Always);
        Ok(Self { state, syncs, progress, metrics, asks: Some(asks), commands: Some(commands), thread: Some(thread) })
    }

    /// The log as it was when it was connected to.
    pub fn state(&self) -> &LogState {
        &self.state
    }

    /// Whether NATS syncs each record to disk, as it was when it was connected to.
    pub fn syncs(&self) -> Syncs {
        self.syncs
    }

    /// Whether the log can be written. The handle stays valid after the log has moved to another owner.
    pub fn reach(&self) -> LogReach {
        self.metrics.reach().clone()
    }

    /// The metrics of the log. Like [`reach`](Self::reach), they stay valid.
    pub fn metrics(&self) -> LogCollector {
        LogCollector(Arc::clone(&self.metrics))
    }

    /// Finds the record at a position, before the log is connected to. It blocks its thread until NATS has answered; the
    /// error is for a person.
    pub fn finder(&self) -> impl FnOnce(LogPosition) -> Result<Option<RecordId>, String> + use<> {
        self.asker(Ask::Find)
    }

    /// Reads a checkpoint, like [`finder`](Self::finder).
    pub fn loader(&self) -> impl FnOnce(RecordId) -> Result<Bytes, String> + use<> {
        self.asker(Ask::Load)
    }

    fn asker<Q, T>(&self, ask: fn(Q, Answer<T>) -> Ask) -> impl FnOnce(Q) -> Result<T, String> + use<Q, T> {
        // Weak: whoever keeps the asker does not keep the thread.
        let asks = self.asks.as_ref().map(UnboundedSender::downgrade);
        move |question| {
            let (tell, answer) = mpsc::channel();
            let asks = asks.and_then(|asks| asks.upgrade());
            asks.and_then(|asks| asks.send(ask(question, tell)).ok());
            answer.recv().unwrap_or_else(|_| Err("the thread of the log has ended".into()))
        }
    }

    fn command(&self, command: Command) {
        // Without a thread the process is about to end, which the vitals see to.
        if let Some(commands) = &self.commands {
            commands.send(command).unwrap_or_default();
        }
    }
}

impl Log for NatsLog {
    fn connect(&mut self, behind: LogPosition, sink: HeardSink, vitals: &Vitals) {
        self.progress.begin(behind.0);
        let start = Start { behind, sink, pulse: vitals.pulse(VitalPart::Log) };
        if let Some(asks) = self.asks.take() {
            // A start that nobody takes drops its pulse, and the process ends.
            drop(asks.send(Ask::Connect(start)));
        }
    }

    fn begin(&mut self, life: Incarnation) {
        self.command(Command::Begin(life));
    }

    fn write(&mut self, record: Bytes) {
        self.command(Command::Write(record, clock::now()));
    }

    fn tell_typing(&mut self, notice: &TypingNotice) {
        self.command(Command::TellTyping(neighbours::write_typing(notice)));
    }

    fn store_checkpoint(&mut self, at: RecordId, state: Bytes) {
        self.command(Command::Store(Checkpoint { at, state }));
    }

    fn applied(&mut self, position: LogPosition) {
        self.progress.applied(position.0);
    }

    fn show(&mut self, figures: NodeFigures) {
        self.metrics.show(figures);
    }
}

impl Drop for NatsLog {
    fn drop(&mut self) {
        drop((self.asks.take(), self.commands.take()));
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by its pulse.
            thread.join().unwrap_or_default();
        }
    }
}

/// The life of the thread.
async fn live(
    settings: NatsSettings,
    progress: Arc<Progress>,
    metrics: Arc<LogMetrics>,
    opened: oneshot::Sender<Result<(LogState, Syncs), CannotConnect>>,
    mut asked: UnboundedReceiver<Ask>,
    commands: UnboundedReceiver<Command>,
) {
    let open = async || {
        let engine = engine::open(&settings).await?;
        let state = state(&engine).await?;
        match same_settings::node_that_stores(&engine.client, &settings).await {
            Some(node) => Err(CannotConnect::OtherStores(node)),
            None => Ok((engine, state)),
        }
    };
    let (engine, state) = match Box::pin(engine::patiently(&settings, open)).await {
        Ok(opened) => opened,
        Err(error) => return opened.send(Err(error)).unwrap_or_default(),
    };
    let last = state.last;
    let log = state.id;
    if opened.send(Ok((state, engine.syncs))).is_err() {
        return;
    }
    let start = loop {
        match asked.recv().await {
            None => return,
            Some(Ask::Connect(start)) => break start,
            Some(Ask::Find(at, answer)) => {
                let find = async || {
                    let found = reader::find(&engine.stream, at).await;
                    found.map_err(|error| CannotConnect::Unready(format!("it does not show record {}: {error}", at.0)))
                };
                let found = engine::patiently(&settings, find).await;
                answer.send(found.map_err(|error| error.to_string())).unwrap_or_default();
            }
            Some(Ask::Load(at, answer)) => {
                let load = async || {
                    let loaded = checkpoints::load(&engine.checkpoints, log, at).await;
                    let at = at.position.0;
                    loaded.map_err(|error| CannotConnect::Unready(format!("no checkpoint at record {at}: {error}")))
                };
                let loaded = engine::patiently(&settings, load).await;
                answer.send(loaded.map_err(|error| error.to_string())).unwrap_or_default();
            }
        }
    };
    let Start { behind, sink, pulse } = start;
    let Engine { client, stream, checkpoints, events, .. } = engine;
    let own = SameSettings::new(settings.node, settings.same);
    let (name, record_bytes_max, open_again) = (settings.stream, settings.record_bytes_max, Notify::new());
    let link = Link { client, stream, name, log, record_bytes_max, checkpoints, progress, metrics, sink, open_again };
    if let Err(fatal) = follow(Arc::new(link), (behind, last), own, commands, events).await {
        pulse.unfit(&fatal);
    }
    pulse.rest();
}

async fn follow(
    link: Arc<Link>,
    (behind, last): (LogPosition, LogPosition),
    own: SameSettings,
    commands: UnboundedReceiver<Command>,
    mut events: UnboundedReceiver<async_nats::Event>,
) -> Result<(), Fatal> {
    // The first connection is not news.
    while events.try_recv().is_ok() {}
    Hub::new(link, (behind, last), own, commands, events).await?.run().await
}

async fn state(engine: &Engine) -> Result<LogState, CannotConnect> {
    let (info, id) = (&engine.info.state, hub::id_of(&engine.info));
    let first = if info.messages == 0 { info.last_sequence + 1 } else { info.first_sequence };
    let checkpoints = checkpoints::list(&engine.checkpoints, &engine.stream, id).await;
    let checkpoints =
        checkpoints.map_err(|error| CannotConnect::Unready(format!("it does not list the checkpoints: {error}")))?;
    Ok(LogState { id, first: LogPosition(first), last: LogPosition(info.last_sequence), checkpoints })
}
