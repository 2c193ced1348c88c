//! One receiver: reads the entries of each room after the newest one that the receiver has accepted, and posts them until
//! they are accepted.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use awc::http::header;
use awc::{Client, Connector};
use log::{info, warn};
use serde::Serialize;
use starling_actors::chat_server::AskError;
use starling_actors::chat_server::command::HistoryQuery;
use starling_actors::followers::{NewEntries, RoomPosition};
use starling_actors::history::Page;
use starling_actors::identity::RoomGlobs;
use starling_actors::{ChatServerHandle, clock};
use starling_protocol::{Epoch, HistoryPage, RoomName, Seq, ServerEvent};
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

/// The pause after the first failed request; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The number of requests after which the positions of rooms that are gone are dropped.
const PRUNE: u32 = 1_000;

/// What is posted.
#[derive(Debug, Serialize)]
struct Body<'a> {
    room: &'a RoomName,
    epoch: Epoch,
    /// Entries before these that the history has dropped, and the receiver gets no more.
    missed: u64,
    /// In their order, as the members of the room get them.
    entries: Vec<ServerEvent<'a>>,
}

/// How far a room has come with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The receiver has accepted all entries.
    Done,
    /// There are more.
    More,
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
    /// The rooms with entries that were not accepted, each once; the first is served next.
    behind: VecDeque<RoomName>,
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
        Self { url, name, new, client, signer, wanted, chat, positions, metrics, behind: VecDeque::new() }
    }

    /// Serves the receiver for ever.
    pub(super) async fn serve(mut self) {
        let mut failures = 0;
        let own = loop {
            match self.begin().await {
                Ok(own) => break own,
                Err(reason) => self.pause(&reason, &mut failures).await,
            }
        };
        let mut requests = 0;
        loop {
            for room in self.new.take() {
                self.is_behind(room);
            }
            self.metrics.rooms_behind.set(i64::try_from(self.behind.len()).unwrap_or(i64::MAX));
            let Some(room) = self.behind.pop_front() else {
                self.new.wait().await;
                continue;
            };
            match self.advance(&own, &room).await {
                Ok(progress) => {
                    if failures > 0 {
                        info!("webhook {}: accepts again", self.name);
                    }
                    failures = 0;
                    if progress == Progress::More {
                        // Behind the others: a busy room holds nobody up.
                        self.behind.push_back(room);
                    }
                }
                Err(reason) => {
                    self.metrics.failed.inc();
                    self.behind.push_front(room);
                    self.pause(&reason, &mut failures).await;
                }
            }
            requests += 1;
            if requests % PRUNE == 0
                && let Err(reason) = self.prune(&own).await
            {
                warn!("webhook {}: {reason}", self.name);
            }
        }
    }

    fn is_behind(&mut self, room: RoomName) {
        if self.wanted.allow(&room) && !self.behind.contains(&room) {
            self.behind.push_back(room);
        }
    }

    /// Finds the rooms with entries that were not accepted before this start.
    async fn begin(&mut self) -> Result<OwnPositions, String> {
        let own = self.positions.of_receiver(self.url.clone(), clock::unix_ms()).await?;
        let all = self.prune(&own).await?;
        for RoomPosition { room, epoch, seq } in all {
            if own.get(&room).await? != Some((epoch, seq)) {
                self.is_behind(room);
            }
        }
        Ok(own)
    }

    /// Drops the positions of rooms that are gone, and returns those that are there.
    async fn prune(&self, own: &OwnPositions) -> Result<Vec<RoomPosition>, String> {
        let all = self.chat.positions().await.map_err(|error| error.to_string())?;
        own.retain(all.iter().map(|position| position.room.as_str().to_owned()).collect::<HashSet<_>>()).await?;
        Ok(all)
    }

    /// Waits before the next attempt. Warns of the first failure only, whatever the receiver does.
    async fn pause(&self, reason: &str, failures: &mut u32) {
        if *failures == 0 {
            warn!("webhook {}: {reason}; it gets its entries later", self.name);
        }
        tokio::time::sleep(FIRST_PAUSE.saturating_mul(1 << (*failures).min(6)).min(LONGEST_PAUSE)).await;
        *failures = failures.saturating_add(1);
    }

    /// Posts the next entries of a room.
    async fn advance(&self, own: &OwnPositions, room: &RoomName) -> Result<Progress, String> {
        let unanswered = |error: AskError| error.to_string();
        let Some(newest) = self.chat.position(room.clone()).await.map_err(unanswered)? else {
            return Ok(Progress::Done);
        };
        let after = match own.get(room).await? {
            Some((epoch, seq)) if epoch == newest.epoch => seq,
            // Another room had this name.
            Some(_) => Seq(0),
            None => self.start(room, newest.seq, own.since).await?,
        };
        if after >= newest.seq {
            return Ok(Progress::Done);
        }
        let page = self.read(room, HistoryPage::After(after)).await?;
        let is_same = self.chat.position(room.clone()).await.map_err(unanswered)?;
        if is_same.is_none_or(|position| position.epoch != newest.epoch) {
            // The room has ended meanwhile, and the page may be of another one.
            return Ok(Progress::More);
        }
        let upto = page.messages.last().map_or(newest.seq, |last| last.seq);
        let first = page.messages.first().map_or(Seq(newest.seq.0 + 1), |first| first.seq);
        let missed = first.0.saturating_sub(after.0 + 1);
        let entries: Vec<_> = page.messages.iter().map(|message| message.to_event()).collect();
        let number = entries.len();
        if number > 0 {
            self.post(&Body { room, epoch: newest.epoch, missed, entries }).await?;
        }
        own.set(room, newest.epoch, upto).await?;
        self.metrics.entries.inc_by(number as u64);
        self.metrics.missed.inc_by(missed);
        Ok(if upto < newest.seq { Progress::More } else { Progress::Done })
    }

    /// The entry after which a room begins of which nothing was accepted yet: the newest one that is older than the
    /// receiver.
    async fn start(&self, room: &RoomName, newest: Seq, since: u64) -> Result<Seq, String> {
        let (mut page, mut after) = (HistoryPage::Newest, newest);
        loop {
            let read = self.read(room, page).await?;
            let newer = read.messages.iter().find(|message| message.at >= since);
            after = newer.map_or(after, |message| Seq(message.seq.0 - 1));
            match read.messages.first() {
                Some(first) if first.at >= since && read.has_more => page = HistoryPage::Before(first.seq),
                _ => return Ok(after),
            }
        }
    }

    async fn read(&self, room: &RoomName, page: HistoryPage) -> Result<Page, String> {
        let query =
            HistoryQuery { room: room.clone(), page, search: None, with_changes: true, limit: ENTRIES, bytes: BYTES };
        match self.chat.history(query).await {
            Err(AskError::NotThere) => Ok(Page::default()),
            read => read.map_err(|error| error.to_string()),
        }
    }

    async fn post(&self, body: &Body<'_>) -> Result<(), String> {
        let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
        let signature = self.signer.sign(clock::unix_ms() / 1_000, &body);
        let request = self.client.post(&self.url).insert_header((header::CONTENT_TYPE, "application/json"));
        let answer = request.insert_header((signature::HEADER, signature)).send_body(body).await;
        let status = answer.map_err(|error| error.to_string())?.status();
        if !status.is_success() {
            return Err(format!("it answers with {status}"));
        }
        self.metrics.accepted.inc();
        Ok(())
    }
}
