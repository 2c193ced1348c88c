//! The thread of the log: takes what the chat wants done, writes records, tells and hears neighbours, and looks after
//! the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::connection::State;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::Info;
use async_nats::{Event, Message, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use log::{debug, info, warn};
use serde::Deserialize;
use starling_actors::clock;
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::record::{Incarnation, LogPosition};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::checkpoints::{self, Checkpoint};
use super::engine::log_subject;
use super::fatal::Fatal;
use super::link::Link;
use super::neighbours::{read_alive, write_alive};
use super::reach::Reach;
use super::reader;
use super::writer::{Acknowledged, Writer};

/// The interval at which the hub looks for work that is due by time.
const TICK: Duration = Duration::from_millis(50);

/// The interval at which NATS is asked for the state of the stream.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The interval at which this node says that it lives: several times in the shortest timeout of a node.
const ALIVE_INTERVAL: Duration = Duration::from_millis(400);

/// How often in a row the state of the stream must look as if the log was lost, before it counts as lost. A server of NATS
/// that has just become the leader tells what it has applied, which may be behind for seconds on a slow disk. A look at
/// which the log has grown does not count. If it grows because others write into what is left of it, the reader finds
/// another record where it was.
const LOOKS_LOST: u32 = 32;

/// Longest time that the last records may take at the end.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Commands that are taken at once.
const BATCH: usize = 256;

/// What the chat wants done.
#[derive(Debug)]
pub(super) enum Command {
    /// This node lives this life from now on.
    Begin(Incarnation),
    /// Appends a record, which was packed at this time.
    Write(Bytes, Instant),
    /// Stores a checkpoint.
    Store(Checkpoint),
}

/// JetStream's answer to a record.
#[derive(Debug, Deserialize)]
struct Acknowledgement {
    seq: Option<u64>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    description: Option<String>,
}

/// See the [module](self).
pub(super) struct Hub {
    link: Arc<Link>,
    commands: UnboundedReceiver<Command>,
    events: UnboundedReceiver<Event>,
    checkpoints: UnboundedSender<Checkpoint>,
    tasks: JoinSet<Result<std::convert::Infallible, Fatal>>,
    /// Answers of NATS, by the last part of their subjects: `w` and the number of a write, `l` for a look at the stream.
    inbox: String,
    answers: Subscriber,
    alive: Subscriber,
    life: Option<Incarnation>,
    told_alive: Option<Instant>,
    looked: Option<Instant>,
    /// The newest record that was read when NATS was asked, and how often in a row the log ended before.
    read_when_looked: u64,
    looks_lost: u32,
    /// Where the log ended at the latest look.
    last_when_looked: u64,
    writer: Writer,
    reach: Reach,
    /// The newest record of the log when this node started.
    catches_up_to: u64,
}

impl Hub {
    pub(super) async fn new(
        link: Arc<Link>,
        behind: LogPosition,
        catches_up_to: LogPosition,
        commands: UnboundedReceiver<Command>,
        events: UnboundedReceiver<Event>,
    ) -> Result<Self, Fatal> {
        let (checkpoints, to_store) = unbounded_channel();
        let mut tasks = JoinSet::new();
        link.progress.begin(behind.0);
        tasks.spawn(reader::read(Arc::clone(&link), behind.0));
        tasks.spawn(checkpoints::store(Arc::clone(&link), to_store));
        let inbox = link.client.new_inbox();
        let answers = subscribe(&link, format!("{inbox}.*")).await?;
        let alive = subscribe(&link, format!("{}.alive", link.name)).await?;
        (link.sink)(Heard::Reachable(false));
        Ok(Self {
            link,
            commands,
            events,
            checkpoints,
            tasks,
            inbox,
            answers,
            alive,
            life: None,
            told_alive: None,
            looked: None,
            read_when_looked: 0,
            looks_lost: 0,
            last_when_looked: 0,
            writer: Writer::new(clock::now()),
            reach: Reach::default(),
            catches_up_to: catches_up_to.0,
        })
    }

    /// Works until the chat has ended and its last records are written.
    pub(super) async fn run(mut self) -> Result<(), Fatal> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        let mut ends_by = None;
        loop {
            tokio::select! {
                taken = self.commands.recv_many(&mut batch, BATCH), if ends_by.is_none() => {
                    if taken == 0 {
                        ends_by = Some(clock::now() + LAST_WRITES);
                    }
                    for command in batch.drain(..) {
                        self.take(command);
                    }
                }
                Some(answer) = self.answers.next() => {
                    self.answer(&answer)?;
                    while let Some(Some(answer)) = self.answers.next().now_or_never() {
                        self.answer(&answer)?;
                    }
                }
                Some(message) = self.alive.next() => self.hear(&message),
                Some(event) = self.events.recv() => self.happened(&event)?,
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Ok(never)) => match never {},
                    Ok(Err(fatal)) => return Err(fatal),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                _ = ticks.tick() => self.tick().await?,
            }
            self.write().await?;
            self.tell_reach();
            if ends_by.is_some_and(|by| self.writer.is_idle() || clock::now() >= by) {
                return Ok(());
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Begin(life) => {
                self.life = Some(life);
                self.told_alive = None;
            }
            Command::Write(record, packed) => {
                self.link.metrics.packed(&record, packed);
                self.writer.write(record);
            }
            Command::Store(checkpoint) => self.checkpoints.send(checkpoint).unwrap_or_default(),
        }
    }

    fn is_connected(&self) -> bool {
        self.link.client.connection_state() == State::Connected
    }

    fn hear(&mut self, message: &Message) {
        match read_alive(&message.payload) {
            Some(life) => (self.link.sink)(Heard::Alive(life)),
            None => debug!("something came on {} that no node of this version tells", message.subject),
        }
    }

    fn answer(&mut self, answer: &Message) -> Result<(), Fatal> {
        let subject = answer.subject.as_str().rsplit('.').next().unwrap_or_default();
        let Some((kind, rest)) = subject.split_at_checked(1) else { return Ok(()) };
        match kind {
            "w" => {
                if let Ok(number) = rest.parse() {
                    self.record_answered(number, answer);
                }
            }
            "l" => self.saw(answer)?,
            _ => {}
        }
        Ok(())
    }

    fn record_answered(&mut self, number: u64, answer: &Message) {
        let now = clock::now();
        let refusal = if answer.status.is_some() {
            "no server leads the stream".to_owned()
        } else {
            match serde_json::from_slice::<Acknowledgement>(&answer.payload) {
                Ok(Acknowledgement { seq: Some(position), error: None }) => {
                    self.link.progress.saw_newest(position);
                    if position >= self.read_when_looked {
                        self.looks_lost = 0;
                    }
                    match self.writer.acknowledged(number, now) {
                        Acknowledged::Late => {}
                        Acknowledged::Written => self.reach.proved(now),
                        Acknowledged::WrittenAgain => {
                            self.reach.proved(now);
                            info!("the log can be written again");
                            (self.link.sink)(Heard::Lost);
                        }
                    }
                    return;
                }
                Ok(Acknowledgement { error: Some(Refusal { description: Some(text) }), .. }) => text,
                Ok(_) | Err(_) => "the acknowledgement cannot be read".to_owned(),
            }
        };
        if self.writer.refused(number) {
            self.lost(&refusal);
        }
    }

    fn lost(&mut self, reason: &str) {
        self.link.metrics.lost();
        warn!("records may not have reached the log, and are written again: {reason}");
    }

    /// NATS has told the state of the stream.
    fn saw(&mut self, answer: &Message) -> Result<(), Fatal> {
        if answer.status.is_some() {
            return Ok(());
        }
        let name = || self.link.name.clone();
        let looks_lost = match serde_json::from_slice::<Response<Info>>(&answer.payload) {
            Ok(Response::Ok(info)) if id_of(&info) != self.link.log => return Err(Fatal::Another(name())),
            Ok(Response::Ok(info)) => {
                let (last, read) = (info.state.last_sequence, self.read_when_looked);
                self.link.progress.saw_newest(last);
                if last > std::mem::replace(&mut self.last_when_looked, last) {
                    self.looks_lost = 0;
                }
                if last < read { Some(Fatal::Lost { last, read }) } else { None }
            }
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Some(Fatal::Gone(name()))
            }
            Ok(Response::Err { .. }) | Err(_) => return Ok(()),
        };
        let Some(fatal) = looks_lost else {
            self.looks_lost = 0;
            if self.writer.is_idle() {
                self.reach.proved(clock::now());
            }
            return Ok(());
        };
        self.looks_lost += 1;
        if self.looks_lost >= LOOKS_LOST { Err(fatal) } else { Ok(()) }
    }

    fn happened(&mut self, event: &Event) -> Result<(), Fatal> {
        match event {
            Event::Disconnected => {
                warn!("the connection to NATS has ended");
                if self.writer.disconnected() {
                    self.lost("the connection has ended");
                }
            }
            Event::Connected => {
                self.link.metrics.reconnected();
                info!("connected to NATS again, at {}", self.link.client.server_info().server_name);
            }
            Event::Closed => return Err(Fatal::Closed("NATS does not let this node in again".into())),
            Event::SlowConsumer(_) | Event::ServerError(_) => warn!("NATS: {event}"),
            // Of each attempt to connect; that there is no connection was said.
            Event::ClientError(_) => debug!("NATS: {event}"),
            Event::LameDuckMode => info!("NATS: the server is about to stop; another one is used"),
            Event::Draining => {}
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), Fatal> {
        let now = clock::now();
        let is_due = |at: Option<Instant>, every| at.is_none_or(|at| now.saturating_duration_since(at) >= every);
        if self.writer.tick(now) {
            self.lost("NATS does not acknowledge them");
        }
        if self.link.progress.read() >= self.catches_up_to {
            self.reach.caught_up();
        }
        if !self.is_connected() {
            return Ok(());
        }
        if let Some(life) = self.life
            && is_due(self.told_alive, ALIVE_INTERVAL)
        {
            self.told_alive = Some(now);
            let told = self.link.client.publish(format!("{}.alive", self.link.name), write_alive(life)).await;
            told.map_err(|error| Fatal::Closed(error.to_string()))?;
        }
        if is_due(self.looked, LOOK_INTERVAL) {
            self.looked = Some(now);
            self.read_when_looked = self.link.progress.read();
            let subject = format!("$JS.API.STREAM.INFO.{}", self.link.name);
            let asked = self.link.client.publish_with_reply(subject, format!("{}.l", self.inbox), Bytes::new()).await;
            asked.map_err(|error| Fatal::Closed(error.to_string()))?;
        }
        Ok(())
    }

    /// Writes what may be written.
    async fn write(&mut self) -> Result<(), Fatal> {
        if !self.is_connected() {
            return Ok(());
        }
        let mut began = clock::now();
        let subject = async_nats::Subject::from(log_subject(&self.link.name));
        while let Some((number, record)) = self.writer.next(began) {
            let bytes = record.len();
            let reply = format!("{}.w{number}", self.inbox);
            let written = self.link.client.publish_with_reply(subject.clone(), reply, record).await;
            match written.map_err(|error| (error.kind(), error)) {
                Ok(()) => {}
                Err((PublishErrorKind::MaxPayloadExceeded, _)) => {
                    return Err(Fatal::TooLarge { bytes, most: self.link.client.max_payload() });
                }
                Err((_, error)) => return Err(Fatal::Closed(error.to_string())),
            }
            self.link.metrics.wrote(bytes, began);
            began = clock::now();
        }
        Ok(())
    }

    fn tell_reach(&mut self) {
        let Some(is_reachable) = self.reach.changed(clock::now()) else { return };
        // Who is let in because the log is in reach comes to the chat after it has heard so.
        if is_reachable {
            info!("the log can be reached");
            (self.link.sink)(Heard::Reachable(true));
            self.link.metrics.reach().set(true);
        } else {
            warn!("the log cannot be reached");
            self.link.metrics.reach().set(false);
            (self.link.sink)(Heard::Reachable(false));
        }
    }
}

/// Tells a log from another one: the time at which its stream was made.
pub(super) fn id_of(info: &Info) -> u64 {
    reader::nanos(info.created)
}

async fn subscribe(link: &Link, subject: String) -> Result<Subscriber, Fatal> {
    link.client.subscribe(subject).await.map_err(|error| Fatal::Closed(error.to_string()))
}
