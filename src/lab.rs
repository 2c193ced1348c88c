//! The figures of the page `/lab`: one snapshot of the server per second, which all viewers share.
//!
//! Invariants:
//! - A snapshot is made at most once a second, and only while there are viewers. It is encoded once for all viewers
//!   with the same rights.
//! - A viewer that reads more slowly than once a second misses snapshots. No snapshot waits for it.
//! - There are at most [`VIEWERS_MAX`] viewers, and [`OPERATORS_MAX`] more who are operators. Their streams end when
//!   the server begins to stop.

mod names;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};
use schemars::JsonSchema;
use serde::Serialize;
use starling_actors::clock::Instant;
use starling_actors::metrics::Metrics;
use starling_actors::{ChatServerHandle, clock};
use starling_process::diagnosis::Reading;
use starling_process::lab::{Past, Snapshot};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub(crate) use self::names::Names;
use crate::diagnosis::{Diagnosed, Diagnosis};
use crate::refusal::{HttpCode, HttpRefusal};

/// Most viewers at a time.
const VIEWERS_MAX: usize = 32;

/// Places for viewers who are operators, when all others are taken.
const OPERATORS_MAX: usize = 8;

/// The figures as they are served.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Lab")]
pub(crate) struct LabFigures {
    /// The name and the version of the server's program.
    server: String,
    /// Seconds since the start of the server.
    uptime_seconds: u64,
    /// What limits the server.
    diagnosis: Diagnosed,
    #[serde(flatten)]
    snapshot: Snapshot,
    /// Slow clients and busy rooms; `null` for a caller who may not see names.
    names: Option<Names>,
}

/// The figures of one second, encoded when they are first asked for.
#[derive(Debug)]
struct Picture {
    second: u64,
    figures: LabFigures,
    /// With all points: without names, with names.
    whole: [OnceLock<Bytes>; 2],
    /// With the newest point, as an event: without names, with names.
    newest: [OnceLock<Bytes>; 2],
}

impl Picture {
    fn new(second: u64, figures: LabFigures) -> Self {
        Self { second, figures, whole: Default::default(), newest: Default::default() }
    }

    /// The figures with all points, as JSON.
    fn whole(&self, sees_names: bool) -> Bytes {
        let [without, with] = &self.whole;
        let cell = if sees_names { with } else { without };
        cell.get_or_init(|| self.encode(sees_names, false).into()).clone()
    }

    /// The event with the newest point.
    fn newest(&self, sees_names: bool) -> Bytes {
        let [without, with] = &self.newest;
        let cell = if sees_names { with } else { without };
        cell.get_or_init(|| event(&self.encode(sees_names, true))).clone()
    }

    fn encode(&self, sees_names: bool, is_newest: bool) -> Vec<u8> {
        let mut figures = self.figures.clone();
        if !sees_names {
            figures.names = None;
        }
        if is_newest {
            let points = &mut figures.snapshot.points;
            points.drain(..points.len().saturating_sub(1));
        }
        // Numbers, texts and maps with text keys: the encoding cannot fail.
        serde_json::to_vec(&figures).unwrap_or_default()
    }
}

/// A server-sent event. JSON has no line break outside of its texts, and none within them.
fn event(json: &[u8]) -> Bytes {
    [b"data: ", json, b"\n\n"].concat().into()
}

/// The newest state for the viewers.
#[derive(Debug)]
enum Shown {
    Nothing,
    Picture(Arc<Picture>),
    /// The server is stopping.
    End,
}

/// A caller that watches the figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watcher {
    pub(crate) is_operator: bool,
    /// Whether it may see the names of clients and rooms: operators for all rooms may. If names are not authenticated,
    /// anyone may, because anyone may then list the rooms and enter them.
    pub(crate) sees_names: bool,
    /// The expiry of its token, in milliseconds since the Unix epoch.
    pub(crate) expires_at: Option<u64>,
}

/// The parts of a server that a snapshot shows.
#[derive(Debug)]
pub(crate) struct Subject {
    /// The name and the version of the server's program.
    pub(crate) server: String,
    pub(crate) started: Instant,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) chat: ChatServerHandle,
}

/// The figures of a server and their viewers.
#[derive(Debug, Clone)]
pub(crate) struct Lab(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    subject: Subject,
    past: Mutex<Past>,
    /// The number of the newest second.
    second: watch::Sender<u64>,
    shown: watch::Sender<Shown>,
    /// The newest snapshot. Locked while the next one is made, so that it is made once.
    picture: tokio::sync::Mutex<Option<Arc<Picture>>>,
    places: Arc<Semaphore>,
    operators_places: Arc<Semaphore>,
}

impl Lab {
    pub(crate) fn new(subject: Subject) -> Self {
        Self(Arc::new(Inner {
            subject,
            past: Mutex::default(),
            second: watch::Sender::new(0),
            shown: watch::Sender::new(Shown::Nothing),
            picture: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(VIEWERS_MAX)),
            operators_places: Arc::new(Semaphore::new(OPERATORS_MAX)),
        }))
    }

    /// Receives the readings of the last seconds, once a second.
    pub(crate) fn take(&self, readings: &[Reading]) {
        self.0.past.lock().unwrap_or_else(PoisonError::into_inner).take(readings);
        self.0.second.send_modify(|second| *second += 1);
    }

    /// Sends each second's snapshot to the viewers while the server runs.
    pub(crate) async fn show(self) {
        let mut seconds = self.0.second.subscribe();
        while seconds.changed().await.is_ok() {
            if self.has_viewers() {
                let picture = self.picture().await;
                self.0.shown.send_if_modified(|shown| {
                    let goes_on = !matches!(shown, Shown::End);
                    if goes_on {
                        *shown = Shown::Picture(picture);
                    }
                    goes_on
                });
            }
        }
    }

    fn has_viewers(&self) -> bool {
        let free = self.0.places.available_permits() + self.0.operators_places.available_permits();
        free < VIEWERS_MAX + OPERATORS_MAX
    }

    /// Ends the streams of all viewers.
    pub(crate) fn end(&self) {
        self.0.shown.send_replace(Shown::End);
    }

    /// The snapshot of the newest second.
    async fn picture(&self) -> Arc<Picture> {
        let Subject { server, started, diagnosis, metrics, chat } = &self.0.subject;
        let mut newest = self.0.picture.lock().await;
        let second = *self.0.second.borrow();
        if let Some(picture) = newest.as_ref().filter(|picture| picture.second == second) {
            return Arc::clone(picture);
        }
        let names = Names::of(metrics, chat).await;
        let snapshot = self.0.past.lock().unwrap_or_else(PoisonError::into_inner).whole();
        let picture = Arc::new(Picture::new(
            second,
            LabFigures {
                server: server.clone(),
                uptime_seconds: started.elapsed().as_secs(),
                diagnosis: diagnosis.told(),
                snapshot,
                names: Some(names),
            },
        ));
        *newest = Some(Arc::clone(&picture));
        picture
    }

    /// The figures with the points of the last five minutes, as JSON.
    pub(crate) async fn whole(&self, watcher: Watcher) -> Bytes {
        self.picture().await.whole(watcher.sees_names)
    }

    /// Starts a stream of events: the figures with the points of the last five minutes, and then those of each second.
    /// It ends when the caller's token expires or the server stops.
    ///
    /// # Errors
    /// 503: there are too many viewers, or the server is stopping.
    pub(crate) fn watch(
        &self,
        watcher: Watcher,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + use<>, HttpRefusal> {
        let shown = self.0.shown.subscribe();
        if matches!(*shown.borrow(), Shown::End) {
            return Err(HttpRefusal::new(HttpCode::Unavailable, "the server is stopping"));
        }
        let place = self.place(watcher.is_operator).ok_or_else(|| {
            let text = format!("the limit of {VIEWERS_MAX} viewers is reached");
            HttpRefusal::new(HttpCode::Unavailable, text)
        })?;
        let viewer = Viewer { lab: self.clone(), watcher, shown, has_begun: false, _place: place };
        Ok(stream::unfold(viewer, async |mut viewer| Some((Ok(viewer.next().await?), viewer))))
    }

    fn place(&self, is_operator: bool) -> Option<OwnedSemaphorePermit> {
        let of = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        of(&self.0.places).or_else(|| if is_operator { of(&self.0.operators_places) } else { None })
    }
}

/// The stream of one viewer.
#[derive(Debug)]
struct Viewer {
    lab: Lab,
    watcher: Watcher,
    shown: watch::Receiver<Shown>,
    has_begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        // Checked before each event, which is once a second.
        if self.watcher.expires_at.is_some_and(|at| at <= clock::unix_ms()) {
            return None;
        }
        if !self.has_begun {
            self.has_begun = true;
            let picture = self.lab.picture().await;
            return Some(event(&picture.whole(self.watcher.sees_names)));
        }
        self.next_shown().await
    }

    async fn next_shown(&mut self) -> Option<Bytes> {
        loop {
            self.shown.changed().await.ok()?;
            match &*self.shown.borrow_and_update() {
                Shown::Nothing => {}
                Shown::Picture(picture) => return Some(picture.newest(self.watcher.sees_names)),
                Shown::End => return None,
            }
        }
    }
}
