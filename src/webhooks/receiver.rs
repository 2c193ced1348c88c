//! One receiver: reads the entries of each room after the newest one that the receiver has accepted, and posts them until
//! they are accepted.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use awc::http::header;
use awc::{Client, Connector};
use log::{info, warn};
use starling_actors::chat_server::{AskError, HistoryQuery};
use starling_actors::followers::{NewEntries, RoomPosition};
use starling_actors::history::{Page, StoredMessage};
use starling_actors::identity::{Caller, RoomGlobs};
use starling_actors::{ChatServerHandle, clock};
use starling_protocol::{Epoch, HistoryPage, RoomName, Seq};
use tokio_rustls::rustls::ClientConfig;

use super::metrics::OfReceiver as Metrics;
use super::positions::{OfReceiver as OwnPositions, Positions};
use super::signature::{self, Signer};
use crate::config::{Config, without_path};

/// Most entries in one request.
const ENTRIES: u16 = 100;

/// Most bytes of entries in one request; a single entry may have more.
const BYTES: usize = 256 * 1_024;

/// Longest time of a request until its answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// The pause after the first failed attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The number of attempts after which the positions of rooms that are gone are dropped.
const PRUNE: u32 = 1_000;

/// How far a room has come with one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There is nothing to post.
    Nothing,
    /// The receiver has accepted all entries.
    Done,
    /// There are more.
    More,
}

/// The reason that an attempt has failed.
#[derive(Debug)]
enum Failure {
    /// The receiver has not accepted a request.
    Receiver(String),
    /// The server cannot read the entries, or cannot note the position.
    Server(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receiver(reason) => write!(f, "{reason}; it gets its entries later"),
            Self::Server(reason) => write!(f, "this server cannot serve it: {reason}"),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        Self::Server(error.to_string())
    }
}

/// The rooms with entries that were not accepted, each once.
#[derive(Debug, Default)]
struct Behind {
    queue: VecDeque<RoomName>,
    rooms: HashSet<RoomName>,
}

impl Behind {
    fn push_back(&mut self, room: RoomName) {
        if self.rooms.insert(room.clone()) {
            self.queue.push_back(room);
        }
    }

    fn push_front(&mut self, room: RoomName) {
        if self.rooms.insert(room.clone()) {
            self.queue.push_front(room);
        }
    }

    fn pop_front(&mut self) -> Option<RoomName> {
        let room = self.queue.pop_front()?;
        self.rooms.remove(&room);
        Some(room)
    }
}

pub(super) struct Receiver {
    url: String,
    /// The URL without its path, which may be a secret.
    name: String,
    new: NewEntries,
    client: Client,
    signer: Signer,
    wanted: RoomGlobs,
    chat: ChatServerHandle,
    positions: Arc<Positions>,
    metrics: Metrics,
    behind: Behind,
    /// Consecutive failed attempts.
    failures: u32,
}

impl Receiver {
    pub(super) fn new(
        url: String,
        new: NewEntries,
        config: &Config,
        chat: ChatServerHandle,
        positions: Arc<Positions>,
        metrics: Metrics,
        tls: Arc<ClientConfig>,
    ) -> Self {
        let name = without_path(&url);
        let connector = Connector::new().rustls_0_23(tls);
        let client = Client::builder().connector(connector).timeout(DEADLINE).disable_redirects().finish();
        let signer = Signer::new(config.webhook_secret.as_bytes().unwrap_or_default());
        let wanted = config.webhook_rooms.globs();
        let behind = Behind::default();
        Self { url, name, new, client, signer, wanted, chat, positions, metrics, behind, failures: 0 }
    }

    /// Serves the receiver for ever.
    pub(super) async fn serve(mut self) {
        let own = loop {
            match self.begin().await {
                Ok(own) => break own,
                Err(failure) => self.pause(&failure, 0).await,
            }
        };
        let mut attempts = 0;
        loop {
            self.take_new(0);
            let Some(room) = self.behind.pop_front() else {
                self.new.wait().await;
                continue;
            };
            match self.advance(&own, &room).await {
                Ok(Progress::Nothing) => {}
                Ok(progress) => {
                    if self.failures > 0 {
                        info!("webhook {}: accepts again", self.name);
                    }
                    self.failures = 0;
                    if progress == Progress::More {
                        // Behind the others: a busy room holds nobody up.
                        self.behind.push_back(room);
                    }
                }
                Err(failure) => {
                    if matches!(failure, Failure::Receiver(_)) {
                        self.metrics.failed.inc();
                    }
                    self.pause(&failure, 1).await;
                    self.behind.push_front(room);
                }
            }
            attempts += 1;
            if attempts % PRUNE == 0
                && let Err(failure) = self.prune(&own).await
            {
                warn!("webhook {}: {failure}", self.name);
            }
        }
    }

    /// Takes the rooms with new entries. `held`: rooms behind that are not in the queue now.
    fn take_new(&mut self, held: usize) {
        for room in self.new.take() {
            self.is_behind(room);
        }
        self.metrics.rooms_behind.set(i64::try_from(self.behind.queue.len() + held).unwrap_or(i64::MAX));
    }

    fn is_behind(&mut self, room: RoomName) {
        if self.wanted.allow(&room) {
            self.behind.push_back(room);
        }
    }

    /// Finds the rooms with entries that were not accepted before this start. A new receiver begins with the entries
    /// after those that the rooms have now.
    async fn begin(&mut self) -> Result<OwnPositions, Failure> {
        let all = self.chat.positions().await?;
        let own = self.positions.of_receiver(&self.url, all).await.map_err(Failure::Server)?;
        for RoomPosition { room, epoch, seq } in self.prune(&own).await? {
            if own.get(&room).await.map_err(Failure::Server)? != Some((epoch, seq)) {
                self.is_behind(room);
            }
        }
        Ok(own)
    }

    /// Drops the positions of rooms that are gone, and returns those that are there.
    async fn prune(&self, own: &OwnPositions) -> Result<Vec<RoomPosition>, Failure> {
        let all = self.chat.positions().await?;
        let rooms = all.iter().map(|position| position.room.as_str().to_owned()).collect();
        own.retain(rooms).await.map_err(Failure::Server)?;
        Ok(all)
    }

    /// Waits before the next attempt. Warns of the first failure only, whatever the receiver does.
    async fn pause(&mut self, failure: &Failure, held: usize) {
        if self.failures == 0 {
            warn!("webhook {}: {failure}", self.name);
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        let mut over = std::pin::pin!(tokio::time::sleep(pause));
        let new = self.new.clone();
        loop {
            tokio::select! {
                () = &mut over => return,
                () = new.wait() => self.take_new(held),
            }
        }
    }

    /// Posts the next entries of a room.
    async fn advance(&self, own: &OwnPositions, room: &RoomName) -> Result<Progress, Failure> {
        let Some(newest) = self.chat.position(room.clone()).await? else { return Ok(Progress::Nothing) };
        let after = match own.get(room).await.map_err(Failure::Server)? {
            Some((epoch, seq)) if epoch == newest.epoch => seq,
            // The room is newer than the receiver, or another room had this name.
            Some(_) | None => Seq(0),
        };
        if after >= newest.seq {
            return Ok(Progress::Nothing);
        }
        let page = self.read(room, after).await?;
        let is_same = self.chat.position(room.clone()).await?;
        if is_same.is_none_or(|position| position.epoch != newest.epoch) {
            // The room has ended meanwhile, and the page may be of another one, which is noted as new.
            return Ok(Progress::Nothing);
        }
        let Some(batch) = Batch::of(room, newest.epoch, after, &page) else {
            // The history has dropped them all: the next entry says how many.
            return Ok(Progress::Nothing);
        };
        self.post(batch.body).await?;
        self.metrics.accepted.inc();
        own.set(room, newest.epoch, batch.upto).await.map_err(Failure::Server)?;
        self.metrics.entries.inc_by(batch.entries);
        self.metrics.missed.inc_by(batch.missed);
        Ok(if batch.upto < newest.seq { Progress::More } else { Progress::Done })
    }

    async fn read(&self, room: &RoomName, after: Seq) -> Result<Page, Failure> {
        let query = HistoryQuery {
            caller: Caller::Operator,
            room: room.clone(),
            page: HistoryPage::After(after),
            search: None,
            with_changes: true,
            limit: ENTRIES,
            bytes: BYTES,
        };
        match self.chat.history(query).await {
            Err(AskError::NotThere) => Ok(Page::default()),
            read => Ok(read?),
        }
    }

    async fn post(&self, body: String) -> Result<(), Failure> {
        let signature = self.signer.sign(clock::unix_ms() / 1_000, body.as_bytes());
        let request = self.client.post(&self.url).insert_header((header::CONTENT_TYPE, "application/json"));
        let answer = request.insert_header((signature::HEADER, signature)).send_body(body).await;
        let status = answer.map_err(|error| Failure::Receiver(error.to_string()))?.status();
        if status.is_success() { Ok(()) } else { Err(Failure::Receiver(format!("it answers with {status}"))) }
    }
}

/// What one request posts.
#[derive(Debug)]
struct Batch {
    body: String,
    entries: u64,
    /// Entries before these that the history has dropped.
    missed: u64,
    /// The last of the entries.
    upto: Seq,
}

impl Batch {
    /// The first entries of a page that fit into a request. `None`: the page is empty.
    fn of(room: &RoomName, epoch: Epoch, after: Seq, page: &Page) -> Option<Self> {
        let first = page.messages.first()?.seq;
        let missed = first.0.saturating_sub(after.0 + 1);
        // A name of a room needs no escapes.
        let mut body = format!(r#"{{"room":"{room}","epoch":"{epoch}","missed":{missed},"entries":["#);
        let (mut entries, mut upto) = (0, after);
        for message in &page.messages {
            let entry = as_json(message);
            // With a comma, and with the end of the body.
            if entries > 0 && body.len() + entry.len() + 3 > BYTES {
                break;
            }
            if entries > 0 {
                body.push(',');
            }
            body.push_str(&entry);
            (entries, upto) = (entries + 1, message.seq);
        }
        body.push_str("]}");
        Some(Self { body, entries, missed, upto })
    }
}

/// The frame that the members of the room get.
fn as_json(message: &StoredMessage) -> String {
    // Texts, numbers and lists of them: the encoding cannot fail.
    serde_json::to_string(&message.to_event()).unwrap_or_default()
}
