//! The run of a swarm: ramp, load, silence, drain, goodbye, report.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use actix::{Actor as _, Addr, Handler, Message};
use actix_rt::Arbiter;
use actix_rt::time::sleep;

use crate::census::BotState;
use crate::clock::{Host, Nanos};
use crate::config::Config;
use crate::credentials::{TokenError, Tokens};
use crate::crowds::Crowds;
use crate::endpoint::Endpoint;
use crate::footprint::Footprint;
use crate::ledger::HighWaters;
use crate::metrics::{Exposed, MetricsServer};
use crate::open_files::{self, TooManyBots};
use crate::outcome::Outcome;
use crate::plan::Habits;
use crate::profile::Profile;
use crate::progress::{Progress, Snapshot};
use crate::recorder::{Recorder, Records};
use crate::report::document::Report;
use crate::report::page;
use crate::roster::{Company, Roster};
use crate::server_stages;
use crate::stop::StopHandle;
use crate::tls::{self, TlsError};
use crate::worker::{
    CloseBooks, CountAnswersDue, FallSilent, GiveUp, Interval, Leave, Outstanding, ReadOutstanding, TakeInterval,
    Worker,
};
use crate::worker_state::WorkerSetup;

/// How often a draining swarm looks whether everything is in.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How often the swarm looks whether all bots have given up.
const GIVE_UP_POLL: Duration = Duration::from_millis(2);

/// How long a server may take to answer goodbyes before the connections are dropped.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// How long private deliveries are awaited where some may never come, and everything else is in.
const PRIVATE_GRACE: Duration = Duration::from_secs(1);

/// Why a swarm did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The limit of open files is too low for so many bots.
    #[error(transparent)]
    TooManyBots(#[from] TooManyBots),
    /// The prefix of the bots' names makes no name.
    #[error("the bots cannot be named")]
    Names(#[from] starling_protocol::names::NameError),
    /// The bots have no tokens.
    #[error(transparent)]
    Tokens(#[from] TokenError),
    /// The bots cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The metrics cannot be served.
    #[error("BOT_METRICS_BIND={address} cannot be listened on")]
    Metrics {
        /// Where they were to be.
        address: SocketAddr,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// A worker ended before its time, which is a fault in the swarm.
    #[error("a worker thread has ended")]
    WorkerGone(#[from] actix::MailboxError),
}

/// Runs a swarm until its time is over or somebody asks it to stop, and tells what came of it.
///
/// To be called within an actix system; the bots live on threads of their own.
///
/// # Errors
/// [`RunError`] where it could not run; whatever the server does is in the report.
pub async fn run(config: &Config, stop: &StopHandle, progress: &mut dyn Progress) -> Result<Outcome, RunError> {
    run_on(Host::this(), config, stop, progress).await
}

/// Runs a swarm as [`run`] does, as if its bots were on this host.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    host: Host,
    config: &Config,
    stop: &StopHandle,
    progress: &mut dyn Progress,
) -> Result<Outcome, RunError> {
    let is_shown = config.report.is_some() || config.metrics_bind.is_some();
    let stages = if is_shown { server_stages::Watch::of(config)? } else { None };
    run_watching(host, config, stages, stop, progress).await
}

/// Runs a swarm as [`run_on`] does, while the stages of its server are watched.
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
    let outcome = swarm.run(&profile, stop, watch).await;
    progress.finish();
    swarm.end().await;
    if let Some(metrics) = metrics {
        metrics.stop().await;
    }
    outcome
}

struct Swarm {
    host: Host,
    start: Nanos,
    started: SystemTime,
    footprint: Footprint,
    workers: Vec<(Arbiter, Addr<Worker>)>,
}

/// What looks at a running swarm once a second.
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
        // Containers of one image have one seed, and should not all do the same at the same time.
        let seed = config.seed ^ (u64::from(name_tag) << 32);
        let roster = Arc::new(Roster::new(Company {
            prefix: &config.name_prefix,
            names,
            count: profile.bots_max(),
            mix: &config.behaviours,
            rooms: config.rooms,
            skew: config.room_skew,
            seed,
        })?);
        let footprint = Footprint::now();
        let start = host.now();
        let crowds = Crowds::new(roster.homes());
        let habits = Habits {
            messages_per_second: config.messages_per_second,
            flood_per_second: config.flood_per_second,
            arrivals: config.arrivals,
            sizes: config.message_bytes.clone(),
            hop: Duration::from_secs_f64(config.hop_seconds),
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
            // Chance, but not of the seed: two runs with one seed are still two runs.
            run: fastrand::u32(..),
            host,
            dialect: config.dialect,
            said: (0..profile.bots_max()).map(|_| AtomicU32::new(0)).collect(),
            unpromised: Arc::default(),
            crowds,
            tls,
            tokens,
            headers: config.headers.clone(),
        };
        let start_worker = |index| {
            let setup = WorkerSetup { index, ..setup.clone() };
            let arbiter = Arbiter::new();
            let worker = Worker::start_in_arbiter(&arbiter.handle(), move |_| Worker::new(setup));
            (arbiter, worker)
        };
        let workers = (0..config.workers).map(start_worker).collect();
        Ok(Self { host, start, started: SystemTime::now(), footprint, workers })
    }

    fn now(&self) -> Nanos {
        self.host.now()
    }

    async fn sleep_until(&self, due: Nanos) {
        sleep(due.since(self.now())).await;
    }

    async fn run(&self, profile: &Profile, stop: &StopHandle, mut watch: Watch<'_>) -> Result<Outcome, RunError> {
        let config = watch.config;
        self.load(profile, stop, &mut watch).await?;
        let elapsed = self.now().since(self.start);
        // What is sent in the first half of the drain has the second to come to its receivers.
        let says_until = self.now().after(Duration::from_secs_f64(config.drain_seconds / 2.0));
        self.ask_all(|| FallSilent { says_until }).await?;
        self.record(&mut watch).await?;
        watch.recorder.begin_drain();
        let targets = self.drain(config, says_until, stop, &mut watch).await?;
        self.give_up().await?;
        let footprint = Footprint::now().since(&self.footprint);

        let targets = Arc::new(targets);
        let mut books = self.ask_all(|| CloseBooks { targets: Arc::clone(&targets) }).await?.into_iter();
        let mut sums = books.next().unwrap_or_default();
        books.for_each(|theirs| sums.merge(theirs));
        let mut tally = sums.tally;
        tally += sums.private.tally();
        self.say_goodbye(&mut watch).await?;
        let Records { points, forgotten, phases, total } = watch.recorder.close();
        Ok(Outcome {
            config: config.clone(),
            started: self.started,
            elapsed,
            bots: profile.bots_max(),
            stats: total,
            points,
            points_forgotten: forgotten,
            phases,
            tally,
            unanswered: sums.unanswered,
            away: sums.away,
            footprint,
            server: watch.stages.and_then(server_stages::Watch::end),
            ..Outcome::default()
        }
        .judge())
    }

    /// Lets the bots do what they are for, and looks at them once a second.
    ///
    /// Nothing that is recorded is ever dropped half-way: what the workers have given away would be lost.
    async fn load(&self, profile: &Profile, stop: &StopHandle, watch: &mut Watch<'_>) -> Result<(), RunError> {
        let end = profile.duration().map(|duration| self.start.after(duration));
        loop {
            tokio::select! {
                () = stop.stopped() => return Ok(()),
                () = self.sleep_until(end.unwrap_or_default()), if end.is_some() => return Ok(()),
                () = self.sleep_until(watch.recorder.next_due()) => {}
            }
            self.record(watch).await?;
        }
    }

    /// Records what was counted and measured since the last time. Answers how many connections are open.
    async fn record(&self, watch: &mut Watch<'_>) -> Result<u64, RunError> {
        let mut interval = Interval::default();
        for theirs in self.ask_all(|| TakeInterval).await? {
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
        Ok(interval.open_links)
    }

    /// The outcome of the run if it ended now: not judged, and what is under way is not done.
    fn so_far(&self, watch: &Watch<'_>, interval: &Interval) -> Outcome {
        let Records { points, forgotten, phases, total } = watch.recorder.so_far();
        Outcome {
            config: watch.config.clone(),
            started: self.started,
            elapsed: self.now().since(self.start),
            bots: watch.bots,
            stats: total,
            points,
            points_forgotten: forgotten,
            phases,
            tally: interval.findings,
            unanswered: interval.unanswered,
            away: interval.census.in_state(BotState::Away).into(),
            footprint: Footprint::now().since(&self.footprint),
            server: watch.stages.as_ref().and_then(server_stages::Watch::so_far),
            ..Outcome::default()
        }
    }

    /// Waits until everything that was due is said, all acks and deliveries are in, the time for it is over, or somebody
    /// is in a hurry. Where no bot was ever connected, nothing is awaited. Answers how far the rooms have come.
    async fn drain(
        &self,
        config: &Config,
        says_until: Nanos,
        stop: &StopHandle,
        watch: &mut Watch<'_>,
    ) -> Result<HighWaters, RunError> {
        let deadline = self.now().after(Duration::from_secs_f64(config.drain_seconds));
        let mut targets = Arc::new(HighWaters::default());
        let mut is_final = false;
        let mut settled_since = None;
        let is_hopeless = watch.recorder.total().counters.ever_connected == 0;
        loop {
            let mut sum = Outstanding::default();
            for theirs in self.ask_all(|| ReadOutstanding { targets: Arc::clone(&targets) }).await? {
                sum.merge(theirs);
            }
            if self.now() >= says_until {
                // Nobody will say it any more.
                sum.left_to_say = 0;
            }
            let is_settled = is_final && sum.is_settled(self.now(), &mut settled_since);
            if !is_final {
                // What others say later is not waited for, or a busy room would never be drained.
                is_final = sum.unanswered == 0 && sum.left_to_say == 0;
                targets = Arc::new(sum.high_waters);
            }
            if is_settled || is_hopeless || self.now() >= deadline {
                return Ok(Arc::unwrap_or_clone(targets));
            }
            if self.now() >= watch.recorder.next_due() {
                self.record(watch).await?;
            }
            tokio::select! {
                () = sleep(DRAIN_POLL) => {}
                () = stop.hurried() => return Ok(Arc::unwrap_or_clone(targets)),
            }
        }
    }

    /// Makes the bots count what they have not done, and waits until all have.
    async fn give_up(&self) -> Result<(), RunError> {
        self.ask_all(|| GiveUp).await?;
        while self.ask_all(|| CountAnswersDue).await?.into_iter().any(|due| due > 0) {
            sleep(GIVE_UP_POLL).await;
        }
        Ok(())
    }

    async fn say_goodbye(&self, watch: &mut Watch<'_>) -> Result<(), RunError> {
        self.ask_all(|| Leave).await?;
        let deadline = self.now().after(GOODBYE_DEADLINE);
        while self.record(watch).await? > 0 && self.now() < deadline {
            sleep(DRAIN_POLL).await;
        }
        Ok(())
    }

    async fn ask_all<M>(&self, message: impl Fn() -> M) -> Result<Vec<M::Result>, RunError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        Worker: Handler<M>,
    {
        let answers = self.workers.iter().map(|(_, worker)| worker.send(message()));
        Ok(futures_util::future::try_join_all(answers).await?)
    }

    async fn end(self) {
        for (arbiter, _) in self.workers {
            arbiter.stop();
            let joined = actix_rt::task::spawn_blocking(move || arbiter.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                log::error!("a worker thread panicked");
            }
        }
    }
}

impl Outstanding {
    fn merge(&mut self, other: Self) {
        self.unanswered += other.unanswered;
        self.left_to_say += other.left_to_say;
        self.away += other.away;
        self.connecting += other.connecting;
        self.room_deliveries += other.room_deliveries;
        self.private_deliveries += other.private_deliveries;
        self.may_lack_private |= other.may_lack_private;
        for (life, seq) in other.high_waters {
            let known = self.high_waters.entry(life).or_default();
            *known = seq.max(*known);
        }
    }

    /// Whether nothing more is to come. `since` keeps when everything but private deliveries was in.
    fn is_settled(&self, now: Nanos, since: &mut Option<Nanos>) -> bool {
        let is_due = [self.unanswered, self.left_to_say, self.away, self.connecting, self.room_deliveries];
        if is_due.iter().any(|due| *due > 0) {
            *since = None;
            return false;
        }
        let since = *since.get_or_insert(now);
        self.private_deliveries <= 0 || (self.may_lack_private && now.since(since) > PRIVATE_GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Nanos = Nanos(10_000_000_000);

    #[test]
    fn a_swarm_is_settled_when_nothing_more_is_to_come() {
        let settled = |outstanding: Outstanding| outstanding.is_settled(NOW, &mut None);
        assert!(settled(Outstanding::default()));
        assert!(!settled(Outstanding { unanswered: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { left_to_say: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { away: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { connecting: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { room_deliveries: 1, ..Outstanding::default() }));
        assert!(!settled(Outstanding { private_deliveries: 1, ..Outstanding::default() }));
    }

    #[test]
    fn after_a_lost_connection_private_deliveries_are_not_awaited_for_long() {
        let outstanding = Outstanding { private_deliveries: 1, may_lack_private: true, ..Outstanding::default() };
        assert!(!outstanding.is_settled(NOW, &mut None));
        assert!(outstanding.is_settled(NOW, &mut Some(Nanos::default())));
    }
}
