//! The thread of the log: executes the chat's commands, writes records, exchanges signs of life with other nodes, and
//! maintains the connection.

use std::sync::Arc;
use std::time::Duration;

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
use starling_actors::clock::{self, Instant};
use starling_actors::nodes::heard::Heard;
use starling_actors::nodes::known::SelfReport;
use starling_actors::nodes::record::{Incarnation, LogPosition};
use starling_process::VERSION;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::checkpoints::{self, Checkpoint};
use super::engine::log_subject;
use super::fatal::Fatal;
use super::link::Link;
use super::loss::{End, Loss};
use super::neighbours::{read_alive, read_typing, write_alive};
use super::obstacle::obstacle;
use super::question::{Kind, Question};
use super::reach::{Reach, Standing};
use super::reader;
use super::same_settings::{self, SameSettings};
use super::writer::{Acknowledged, Writer};

/// The interval at which the hub checks its timers.
const TICK: Duration = Duration::from_millis(50);

/// The interval at which NATS is asked for the state of the stream.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// An answer to a look that took longer does not show that the log is in reach: it may be from before a pause.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// The interval at which this node sends a sign of life: several times in the shortest timeout of a node.
const ALIVE_INTERVAL: Duration = Duration::from_millis(400);

/// The reader opens the log again if the log has more records and none arrives for this long. NATS sends each record to
/// a reader only once, and may have sent it over a connection that then ended.
const STILL_TIME: Duration = Duration::from_secs(1);

/// The longest time for writing the last records when the node stops.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The largest number of commands that are taken at once.
const BATCH: usize = 256;

/// A command of the chat.
#[derive(Debug)]
pub(super) enum Command {
    /// This node lives this life from now on.
    Begin(Incarnation),
    /// Appends a record, which was packed at this time.
    Write(Bytes, Instant),
    /// Stores a checkpoint.
    Store(Checkpoint),
    /// Tells all nodes that a client types.
    TellTyping(Bytes),
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
    /// The answers of NATS. The last part of a subject repeats the [`Question`].
    inbox: String,
    answers: Subscriber,
    alive: Subscriber,
    typing: Subscriber,
    settings: SameSettings,
    told_settings: Subscriber,
    /// The life of this node, and when it began.
    life: Option<(Incarnation, Instant)>,
    told_alive: Option<Instant>,
    began: Instant,
    /// The newest look at the stream, and its time.
    look: (u64, Instant),
    /// The newest look that was answered.
    seen: u64,
    loss: Loss,
    /// The time since which the log has more records, but none arrives.
    still_since: Option<Instant>,
    /// The first record of the log at the latest look.
    log_begins: u64,
    /// The reason that the stream would refuse records, according to the latest look.
    obstacle: Option<&'static str>,
    writer: Writer,
    reach: Reach,
    /// The reason for the failed reconnects that was logged last.
    told_no_entry: Option<String>,
}

impl Hub {
    pub(super) async fn new(
        link: Arc<Link>,
        (behind, newest): (LogPosition, LogPosition),
        settings: SameSettings,
        commands: UnboundedReceiver<Command>,
        events: UnboundedReceiver<Event>,
    ) -> Result<Self, Fatal> {
        let (checkpoints, to_store) = unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(reader::read(Arc::clone(&link), behind.0));
        tasks.spawn(checkpoints::store(Arc::clone(&link), to_store));
        let inbox = link.client.new_inbox();
        let answers = subscribe(&link, format!("{inbox}.*")).await?;
        let alive = subscribe(&link, format!("{}.alive", link.name)).await?;
        let typing = subscribe(&link, typing_subject(&link.name)).await?;
        let told_settings = subscribe(&link, same_settings::subject(&link.name)).await?;
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
            typing,
            settings,
            told_settings,
            life: None,
            told_alive: None,
            began: clock::now(),
            look: (0, clock::now()),
            seen: 0,
            loss: Loss::default(),
            still_since: None,
            log_begins: 0,
            obstacle: None,
            writer: Writer::new(clock::now()),
            reach: Reach::opened(clock::now(), newest.0),
            told_no_entry: None,
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
                        self.take(command).await?;
                    }
                }
                Some(answer) = self.answers.next() => {
                    self.answer(&answer)?;
                    while let Some(Some(answer)) = self.answers.next().now_or_never() {
                        self.answer(&answer)?;
                    }
                }
                Some(message) = self.alive.next() => self.hear(&message),
                Some(message) = self.typing.next() => self.hear_typing(&message),
                Some(message) = self.told_settings.next() => self.hear_settings(&message),
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

    async fn take(&mut self, command: Command) -> Result<(), Fatal> {
        match command {
            Command::Begin(life) => {
                self.life = Some((life, clock::now()));
                self.told_alive = None;
                self.settings.begin(life);
            }
            Command::Write(record, packed) => {
                self.link.metrics.packed(&record, packed);
                self.writer.write(record);
            }
            Command::Store(checkpoint) => self.checkpoints.send(checkpoint).unwrap_or_default(),
            // Nobody wants to know later who types now.
            Command::TellTyping(notice) if self.is_connected() => {
                let told = self.link.client.publish(typing_subject(&self.link.name), notice).await;
                told.map_err(|error| Fatal::Closed(error.to_string()))?;
            }
            Command::TellTyping(_) => {}
        }
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.link.client.connection_state() == State::Connected
    }

    fn hear(&mut self, message: &Message) {
        match read_alive(&message.payload) {
            Some((life, report)) => (self.link.sink)(Heard::Alive { life, report }),
            None => debug!("a message on {} is not one of a node of this version", message.subject),
        }
    }

    fn hear_typing(&mut self, message: &Message) {
        match read_typing(&message.payload) {
            Some(notice) => (self.link.sink)(Heard::Typing(notice)),
            None => debug!("a message on {} is not one of a node of this version", message.subject),
        }
    }

    fn hear_settings(&mut self, message: &Message) {
        if let Some(line) = self.settings.heard(&message.payload, clock::now()) {
            warn!("{line}");
        }
    }

    fn answer(&mut self, answer: &Message) -> Result<(), Fatal> {
        match Question::of(&answer.subject) {
            Some(question @ Question { kind: Kind::Write, .. }) => self.record_answered(question, answer),
            Some(question) if question.number > self.seen => {
                self.seen = question.number;
                self.saw(question, answer)
            }
            _ => Ok(()),
        }
    }

    fn record_answered(&mut self, question: Question, answer: &Message) -> Result<(), Fatal> {
        let now = clock::now();
        let refusal = if answer.status.is_some() {
            "no server leads the stream".to_owned()
        } else {
            match serde_json::from_slice::<Acknowledgement>(&answer.payload) {
                Ok(Acknowledgement { seq: Some(position), error: None }) => {
                    // The log had the record that was read, and gave its place or an earlier one to a later record.
                    if position <= question.read {
                        return Err(Fatal::Lost { last: position, read: question.read });
                    }
                    self.link.progress.saw_newest(position);
                    self.loss.has_all();
                    if self.writer.acknowledged(question.number, now) == Acknowledged::WrittenAgain {
                        info!("the log can be written again");
                        (self.link.sink)(Heard::Lost);
                    }
                    return Ok(());
                }
                Ok(Acknowledgement { error: Some(Refusal { description: Some(text) }), .. }) => text,
                Ok(_) | Err(_) => "the acknowledgement cannot be read".to_owned(),
            }
        };
        if self.writer.refused(question.number) {
            self.lost(&refusal);
        }
        Ok(())
    }

    fn lost(&mut self, reason: &str) {
        self.link.metrics.lost();
        warn!("records of this node may not have reached the log, and it writes them again: {reason}");
    }

    /// NATS has told the state of the stream.
    fn saw(&mut self, question: Question, answer: &Message) -> Result<(), Fatal> {
        if answer.status.is_some() {
            return Ok(());
        }
        let name = || self.link.name.clone();
        let (now, asked) = (clock::now(), self.began + question.asked);
        match serde_json::from_slice::<Response<Info>>(&answer.payload) {
            Ok(Response::Ok(info)) if id_of(&info) != self.link.log => Err(Fatal::Another(name())),
            Ok(Response::Ok(info)) => {
                let (last, read) = (info.state.last_sequence, question.read);
                self.link.progress.saw_newest(last);
                let takes = self.link.client.max_payload();
                self.obstacle = obstacle(&info, takes, self.link.record_bytes_max);
                let is_fresh = now.saturating_duration_since(asked) < LOOK_TIME;
                if is_fresh {
                    self.reach.answered(now);
                }
                self.see_whether_reading_stands_still(last, read);
                if last < read {
                    let last_end = End { position: last, nanos: reader::nanos(info.state.last_timestamp) };
                    let read_end = End { position: read, nanos: self.link.progress.read_nanos() };
                    let is_lost = self.loss.ends_before(read_end, last_end, asked, now);
                    return if is_lost { Err(Fatal::Lost { last, read }) } else { Ok(()) };
                }
                let first = info.state.first_sequence;
                if std::mem::replace(&mut self.log_begins, first) != first {
                    (self.link.sink)(Heard::Begins(LogPosition(first)));
                }
                self.loss.has_all();
                if is_fresh && self.writer.is_written(now) && self.obstacle.is_none() {
                    self.reach.proved(now, self.link.progress.newest());
                }
                Ok(())
            }
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                if self.loss.looks_lost(asked, now) { Err(Fatal::Gone(name())) } else { Ok(()) }
            }
            Ok(Response::Err { .. }) | Err(_) => Ok(()),
        }
    }

    /// Makes the reader open the log again if the log has more records, but none arrives.
    fn see_whether_reading_stands_still(&mut self, last: u64, read_when_asked: u64) {
        let (progress, now) = (&self.link.progress, clock::now());
        let read = progress.read();
        if read != read_when_asked || last <= read || progress.waits_for_chat() {
            self.still_since = None;
        } else if now.saturating_duration_since(*self.still_since.get_or_insert(now)) >= STILL_TIME {
            self.still_since = None;
            info!("the log has record {last}, but record {read} was the last that came: this node opens the log again");
            self.link.open_again.notify_one();
        }
    }

    fn happened(&mut self, event: &Event) -> Result<(), Fatal> {
        match event {
            Event::Disconnected => {
                warn!("the connection to NATS has ended, and this node tries to connect again");
                if self.writer.disconnected() {
                    self.lost("the connection has ended");
                }
            }
            Event::Connected => {
                self.link.metrics.reconnected();
                info!("connected to NATS again, at {}", self.link.client.server_info().server_name);
                self.told_no_entry = None;
            }
            Event::Closed => return Err(Fatal::Closed("NATS does not let this node in again".into())),
            Event::SlowConsumer(_) | Event::ServerError(_) => warn!("NATS reports: {event}"),
            Event::ClientError(error) => self.cannot_enter(error.to_string()),
            Event::LameDuckMode => info!("the server of NATS is about to stop, and this node connects to another one"),
            Event::Draining => {}
        }
        Ok(())
    }

    /// Logs why an attempt to reconnect has failed: each reason once, until there is a connection.
    fn cannot_enter(&mut self, error: String) {
        if self.told_no_entry.as_ref() != Some(&error) {
            warn!("cannot connect to NATS again: {error}");
            self.told_no_entry = Some(error);
        }
    }

    async fn tick(&mut self) -> Result<(), Fatal> {
        let now = clock::now();
        self.link.metrics.set_differing(self.settings.differing(now));
        if self.writer.tick(now) {
            self.lost("NATS does not acknowledge them");
        }
        if !self.is_connected() {
            return Ok(());
        }
        if let Some((life, began)) = self.life
            && self.told_alive.is_none_or(|at| now.saturating_duration_since(at) >= ALIVE_INTERVAL)
        {
            self.told_alive = Some(now);
            let report = SelfReport {
                version: VERSION.to_owned(),
                uptime_seconds: now.saturating_duration_since(began).as_secs(),
                connections: self.link.metrics.figures().connections,
                applied: self.link.progress.applied_upto(),
            };
            let alive = write_alive(life, &report);
            let told = self.link.client.publish(format!("{}.alive", self.link.name), alive).await;
            told.map_err(|error| Fatal::Closed(error.to_string()))?;
        }
        if let Some(settings) = self.settings.due(now) {
            let told = self.link.client.publish(same_settings::subject(&self.link.name), settings).await;
            told.map_err(|error| Fatal::Closed(error.to_string()))?;
        }
        let (number, asked) = self.look;
        if now.saturating_duration_since(asked) >= LOOK_INTERVAL {
            self.look = (number + 1, now);
            let subject = format!("$JS.API.STREAM.INFO.{}", self.link.name);
            let reply = self.reply(Kind::Look, number + 1, now);
            let asked = self.link.client.publish_with_reply(subject, reply, Bytes::new()).await;
            asked.map_err(|error| Fatal::Closed(error.to_string()))?;
        }
        Ok(())
    }

    /// The subject for the answer to a question that is asked now.
    fn reply(&self, kind: Kind, number: u64, now: Instant) -> String {
        let (read, asked) = (self.link.progress.read(), now.saturating_duration_since(self.began));
        format!("{}.{}", self.inbox, Question { kind, number, read, asked }.part())
    }

    /// Writes the records that may be written now.
    async fn write(&mut self) -> Result<(), Fatal> {
        if !self.is_connected() {
            return Ok(());
        }
        let mut began = clock::now();
        let subject = async_nats::Subject::from(log_subject(&self.link.name));
        while let Some((number, record)) = self.writer.next(began) {
            let bytes = record.len();
            let reply = self.reply(Kind::Write, number, began);
            let written = self.link.client.publish_with_reply(subject.clone(), reply, record).await;
            match written.map_err(|error| (error.kind(), error)) {
                Ok(()) => {}
                Err((PublishErrorKind::MaxPayloadExceeded, _)) => {
                    // NATS takes less than when this node started. The node must not end by what a client sends.
                    if self.writer.refused(number) {
                        self.lost(&format!(
                            "one has {bytes} bytes, and NATS takes at most {}",
                            self.link.client.max_payload()
                        ));
                    }
                    return Ok(());
                }
                Err((_, error)) => return Err(Fatal::Closed(error.to_string())),
            }
            self.link.metrics.wrote(bytes, began);
            began = clock::now();
        }
        Ok(())
    }

    fn tell_reach(&mut self) {
        let was_in_reach = self.reach.is_in_reach();
        let now = clock::now();
        let Some(standing) = self.reach.changed(now, self.link.progress.applied_upto()) else {
            self.link.metrics.reach().renew(now);
            return;
        };
        // The chat must know that the log is reachable before the first new client arrives.
        match standing.failure() {
            None => {
                info!("the log can be reached: this node accepts clients");
                (self.link.sink)(Heard::Reachable(true));
            }
            Some(_) if standing == Standing::CatchesUp => {
                info!("catching up with {} records of the log", self.link.progress.lag());
            }
            Some(failure) => match self.obstacle.filter(|_| standing == Standing::Refused) {
                Some(obstacle) => warn!("{failure}: {obstacle}; this node accepts no clients"),
                None => warn!("{failure}: this node accepts no clients"),
            },
        }
        self.link.metrics.reach().set(standing);
        self.link.metrics.reach().renew(now);
        if was_in_reach {
            (self.link.sink)(Heard::Reachable(false));
        }
    }
}

/// Identifies a log: the time at which its stream was created.
pub(super) fn id_of(info: &Info) -> u64 {
    reader::nanos(info.created)
}

/// The subject on which the nodes of a stream tell each other who types.
fn typing_subject(stream: &str) -> String {
    format!("{stream}.typing")
}

async fn subscribe(link: &Link, subject: String) -> Result<Subscriber, Fatal> {
    link.client.subscribe(subject).await.map_err(|error| Fatal::Closed(error.to_string()))
}
