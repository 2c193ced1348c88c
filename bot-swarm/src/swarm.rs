//! The run of a swarm: ramp, load, quiet, drain, close, report.

mod error;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use actix::{Actor as _, Addr, Handler, Message};
use actix_rt::Arbiter;
use actix_rt::time::sleep;

use crate::census::BotState;
use crate::clock::{Host, Nanos};
use crate::config::Config;
use crate::credentials::Tokens;
use crate::crowds::Crowds;
use crate::doubt::Doubt;
use crate::endpoint::Endpoint;
use crate::footprint::Footprint;
use crate::ledger::Waters;
use crate::metrics::{Exposed, MetricsServer};
use crate::open_files;
use crate::outcome::Outcome;
use crate::outstanding::Outstanding;
use crate::panics::Panics;
use crate::plan::Habits;
use crate::presence::Presence;
use crate::profile::Profile;
use crate::progress::{Progress, Snapshot};
use crate::recorder::{Recorder, Records};
use crate::report::document::Report;
use crate::report::page;
use crate::roster::{Company, Roster};
use crate::server_stages;
use crate::stop::StopHandle;
use crate::tls;
use crate::worker::Worker;
use crate::worker::requests::{
    CloseBooks, CountAnswersDue, FallSilent, GiveUp, Interval, Leave, ReadOutstanding, TakeInterval,
};
use crate::worker_state::WorkerSetup;
pub use error::RunError;

/// The interval at which a draining swarm checks for outstanding work.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// The interval at which the swarm checks whether all bots have given up.
const GIVE_UP_POLL: Duration = Duration::from_millis(2);

/// The time that a server has to answer close frames before the connections are dropped.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// Runs a swarm until its time is over or a stop is requested, and returns the outcome.
///
/// Must be called within an actix system; the bots run on threads of their own.
///
/// # Errors
/// [`RunError`] if it could not run; problems of the server are in the report.
pub async fn run(config: &Config, stop: &StopHandle, progress: &mut dyn Progress) -> Result<Outcome, RunError> {
    run_on(Host::this(), config, stop, progress).await
}

/// Like [`run`], with bots that count as bots of this host.
///
/// # Errors
/// Like [`run`].
pub async fn run_on(
    host: Host,
    config: &Config,
    stop: &StopHandle,
    progress: &mut dyn Progress,
) -> Result<Outcome, RunError> {
    let stages = server_stages::Watch::of(config)?;
    // The state of a run is large, and the caller may have several.
    Box::pin(run_watching(host, config, stages, stop, progress)).await
}

/// Like [`run_on`], while the server's stages are read.
pub(crate) async fn run_watching(
    host: Host,
    config: &Config,
    stages: Option<server_stages::Watch>,
    stop: &StopHandle,
    progress: &mut dyn Progress,
) -> Result<Outcome, RunError> {
    let profile = config.profile();
    open_files::check(profile.bots_max(), config.workers, open_files::raise_limit())?;
    let metrics = match config.metrics_bind {
        Some(address) => Some(MetricsServer::start(address).map_err(|error| RunError::Metrics { address, error })?),
        None => None,
    };
    let swarm = Swarm::start(host, config, &profile)?;
    let warm_up = Duration::from_secs_f64(config.warm_up_seconds);
    let recorder = Recorder::new(&profile, warm_up, host, swarm.start);
    let bots = profile.bots_max();
    let watch = Watch { config, recorder, metrics: metrics.as_ref(), stages, progress, bots };
    let outcome = swarm.run_to_end(&profile, stop, watch).await;
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    Ok(outcome)
}

struct Swarm {
    host: Host,
    start: Nanos,
    started: SystemTime,
    footprint: Footprint,
    workers: Vec<(Arbiter, Addr<Worker>)>,
    panics: Arc<Panics>,
}

/// The observers of a running swarm, called once a second.
struct Watch<'a> {
    config: &'a Config,
    recorder: Recorder,
    metrics: Option<&'a MetricsServer>,
    stages: Option<server_stages::Watch>,
    progress: &'a mut dyn Progress,
    bots: u32,
}

impl Swarm {
    fn start(host: Host, config: &Config, profile: &Profile) -> Result<Self, RunError> {
        let (tokens, names) = Tokens::of(config.token_source(), profile.bots_max())?;
        let tls = tls::client(config)?;
        let name_tag = crate::tag::tag(&config.name_prefix);
        // Containers of one image have the same seed, but should behave differently.
        let seed = config.seed ^ (u64::from(name_tag) << 32);
        let roster = Arc::new(Roster::new(Company {
            prefix: &config.name_prefix,
            names,
            count: profile.bots_max(),
            mix: &config.behaviours,
            rooms: config.rooms,
            home: config.named_room(),
            skew: config.room_skew,
            seed,
        })?);
        let panics = Arc::new(Panics::default());
        let footprint = Footprint::now();
        let start = host.now();
        let crowds = Crowds::new(roster.homes());
        let habits = Habits {
            messages_per_second: config.messages_per_second,
            flood_per_second: config.flood_per_second,
            arrivals: config.arrivals,
            sizes: config.message_bytes.clone(),
            hop: Duration::from_secs_f64(config.hop_seconds),
            change: Duration::from_secs_f64(config.change_seconds),
            churn: Duration::from_secs_f64(config.churn_seconds),
            slow_bytes_per_second: config.slow_bytes_per_second,
        };
        let setup = WorkerSetup {
            index: 0,
            workers: config.workers,
            roster,
            endpoint: Endpoint::new(config.server_urls(), config.dialect),
            habits,
            start,
            profile: profile.clone(),
            seed,
            // Random, but not from the seed: two runs with one seed are still two runs.
            run: fastrand::u32(..),
            host,
            dialect: config.dialect,
            said: (0..profile.bots_max()).map(|_| AtomicU32::new(0)).collect(),
            unpromised: Arc::default(),
            crowds,
            presence: Presence::new(profile.bots_max()),
            tls,
            tokens,
            headers: config.headers.clone(),
            panics: Arc::clone(&panics),
        };
        let mut workers: Vec<(Arbiter, Addr<Worker>)> = Vec::new();
        for index in 0..config.workers {
            let setup = WorkerSetup { index, ..setup.clone() };
            // It panics if the system has no thread for it.
            let Ok(arbiter) = std::panic::catch_unwind(Arbiter::new) else {
                for (arbiter, _) in &workers {
                    arbiter.stop();
                }
                return Err(RunError::Threads { started: index, wanted: config.workers });
            };
            let worker = Worker::start_in_arbiter(&arbiter.handle(), move |_| Worker::new(setup));
            workers.push((arbiter, worker));
        }
        Ok(Self { host, start, started: SystemTime::now(), footprint, workers, panics })
    }

    fn now(&self) -> Nanos {
        self.host.now()
    }

    async fn sleep_until(&self, due: Nanos) {
        sleep(due.since(self.now())).await;
    }

    /// Runs the swarm to its end, and judges the outcome.
    async fn run_to_end(self, profile: &Profile, stop: &StopHandle, mut watch: Watch<'_>) -> Outcome {
        let outcome = self.run(profile, stop, &mut watch).await;
        watch.progress.finish();
        let panics = self.end().await;
        let panicked = panics.counted().map(|(times, first)| Doubt::Panicked { times, first });
        panicked.into_iter().fold(outcome.judge(), Outcome::doubted)
    }

    async fn run(&self, profile: &Profile, stop: &StopHandle, watch: &mut Watch<'_>) -> Outcome {
        let config = watch.config;
        self.load(profile, stop, watch).await;
        let elapsed = self.now().since(self.start);
        // Messages that are sent in the first half of the drain have the second half to reach their receivers.
        let says_until = self.now().after(Duration::from_secs_f64(config.drain_seconds / 2.0));
        self.ask_all(|| FallSilent { says_until }).await;
        self.record(watch).await;
        watch.recorder.begin_drain();
        let targets = self.drain(config, says_until, stop, watch).await;
        self.give_up().await;
        let footprint = Footprint::now().since(&self.footprint);

        let targets = Arc::new(targets);
        let mut books = self.ask_all(|| CloseBooks { targets: Arc::clone(&targets) }).await.into_iter();
        let mut sums = books.next().unwrap_or_default();
        books.for_each(|theirs| sums.merge(theirs));
        let mut tally = sums.tally;
        tally += sums.private.tally();
        self.say_goodbye(watch).await;
        let Records { points, forgotten, phases, total, last_receivers } = watch.recorder.so_far();
        Outcome {
            config: config.clone(),
            started: self.started,
            elapsed,
            bots: profile.bots_max(),
            stats: total,
            points,
            points_forgotten: forgotten,
            phases,
            last_receivers,
            tally,
            unanswered: sums.unanswered,
            deferred: sums.deferred,
            away: sums.away,
            footprint,
            server: watch.stages.take().and_then(server_stages::Watch::end),
            notes: config.bots_left_out().into_iter().collect(),
            ..Outcome::default()
        }
    }

    /// Runs the load, and records once a second. A panic ends it, because the run is not valid any more.
    ///
    /// Recording is never cancelled half-way: the intervals that the workers have handed over would be lost.
    async fn load(&self, profile: &Profile, stop: &StopHandle, watch: &mut Watch<'_>) {
        let end = profile.duration().map(|duration| self.start.after(duration));
        loop {
            tokio::select! {
                () = stop.stopped() => return,
                () = self.sleep_until(end.unwrap_or_default()), if end.is_some() => return,
                () = self.sleep_until(watch.recorder.next_due()) => {}
            }
            self.record(watch).await;
            if self.panics.any() {
                return;
            }
        }
    }

    /// Records the counts and latencies since the last point. Returns the number of open connections.
    async fn record(&self, watch: &mut Watch<'_>) -> u64 {
        let mut interval = Interval::default();
        for theirs in self.ask_all(|| TakeInterval).await {
            interval.merge(&theirs);
        }
        let point = watch.recorder.record(&interval).clone();
        let total = watch.recorder.total();
        if let Some(metrics) = watch.metrics {
            let Interval { census, unanswered, findings, .. } = interval;
            metrics.show(&Exposed { total, census, unanswered, findings });
            metrics.show_page(|| page::live(&Report::of(&self.so_far(watch, &interval))));
        }
        let elapsed = self.now().since(self.start);
        watch.progress.show(&Snapshot { elapsed, bots: watch.bots, total, point: &point });
        interval.open_links
    }

    /// The outcome of the run if it ended now: not judged, and work in progress counts as not done.
    fn so_far(&self, watch: &Watch<'_>, interval: &Interval) -> Outcome {
        let Records { points, forgotten, phases, total, last_receivers } = watch.recorder.so_far();
        Outcome {
            config: watch.config.clone(),
            started: self.started,
            elapsed: self.now().since(self.start),
            bots: watch.bots,
            stats: total,
            points,
            points_forgotten: forgotten,
            phases,
            last_receivers,
            tally: interval.findings,
            unanswered: interval.unanswered,
            deferred: interval.deferred,
            away: interval.census.in_state(BotState::Away).into(),
            footprint: Footprint::now().since(&self.footprint),
            server: watch.stages.as_ref().and_then(server_stages::Watch::so_far),
            ..Outcome::default()
        }
    }

    /// Waits until all due messages are sent, all acks and deliveries have arrived, the time is over, or a second stop
    /// is requested. If no bot was ever connected, it does not wait. Returns the bounds of the rooms' epochs.
    async fn drain(&self, config: &Config, says_until: Nanos, stop: &StopHandle, watch: &mut Watch<'_>) -> Waters {
        let deadline = self.now().after(Duration::from_secs_f64(config.drain_seconds));
        let mut targets = Arc::new(Waters::default());
        let mut is_final = false;
        let mut settled_since = None;
        let is_hopeless = watch.recorder.total().counters.ever_connected == 0;
        loop {
            let mut sum = Outstanding::default();
            for theirs in self.ask_all(|| ReadOutstanding { targets: Arc::clone(&targets) }).await {
                sum.merge(theirs);
            }
            if self.now() >= says_until {
                // The bots no longer send it.
                sum.left_to_say = 0;
            }
            let is_settled = is_final && sum.is_settled(self.now(), &mut settled_since);
            if !is_final {
                // Later messages of others are not awaited. Otherwise, a busy room would never be drained.
                is_final = sum.unanswered == 0 && sum.left_to_say == 0;
                targets = Arc::new(sum.waters);
            }
            if is_settled || is_hopeless || self.panics.any() || self.now() >= deadline {
                return Arc::unwrap_or_clone(targets);
            }
            if self.now() >= watch.recorder.next_due() {
                self.record(watch).await;
            }
            tokio::select! {
                () = sleep(DRAIN_POLL) => {}
                () = stop.hurried() => return Arc::unwrap_or_clone(targets),
            }
        }
    }

    /// Makes the bots count their unfinished work, and waits until all have.
    async fn give_up(&self) {
        self.ask_all(|| GiveUp).await;
        while self.ask_all(|| CountAnswersDue).await.into_iter().any(|due| due > 0) {
            if self.panics.any() {
                // Bots that are gone never answer.
                return;
            }
            sleep(GIVE_UP_POLL).await;
        }
    }

    async fn say_goodbye(&self, watch: &mut Watch<'_>) {
        self.ask_all(|| Leave).await;
        let deadline = self.now().after(GOODBYE_DEADLINE);
        while self.record(watch).await > 0 && self.now() < deadline {
            sleep(DRAIN_POLL).await;
        }
    }

    /// Asks all workers. A worker that is gone does not answer, and its run is not valid.
    async fn ask_all<M>(&self, message: impl Fn() -> M) -> Vec<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Worker: Handler<M>,
    {
        let answers = self.workers.iter().map(|(_, worker)| worker.send(message()));
        let answers = futures_util::future::join_all(answers).await;
        if answers.iter().any(Result::is_err) {
            self.panics.worker_is_gone();
        }
        answers.into_iter().flatten().collect()
    }

    async fn end(self) -> Arc<Panics> {
        for (arbiter, _) in self.workers {
            arbiter.stop();
            let joined = actix_rt::task::spawn_blocking(move || arbiter.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                self.panics.worker_is_gone();
            }
        }
        self.panics
    }
}

#[cfg(test)]
mod tests;
