//! Panics on threads of a swarm. No external input causes them, so the test injects them.

use super::*;
use crate::outcome::Verdict;
use crate::progress::Silent;

/// Makes a worker panic.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for Worker {
    type Result = ();

    fn handle(&mut self, Panic: Panic, _: &mut Self::Context) {
        panic!("the worker");
    }
}

#[actix_rt::test]
async fn a_panic_on_a_workers_thread_ends_the_run_and_is_said_in_its_verdict() {
    type Spoil = fn(&(Arbiter, Addr<Worker>));
    let cases: [(&str, Spoil); 2] = [
        ("the worker", |(_, worker)| worker.try_send(Panic).unwrap()),
        // Like an actor, a bot is a task of its thread.
        ("a bot", |(thread, _)| assert!(thread.spawn(async { panic!("a bot") }))),
    ];
    // No server listens there; without a panic, the run would take an hour.
    let config = Config { server_url: "ws://127.0.0.1:1/ws".into(), workers: 2, seconds: 3_600.0, ..Config::default() };
    for (who, spoil) in cases {
        let profile = config.profile();
        let swarm = Swarm::start(Host::this(), &config, &profile).unwrap();
        spoil(&swarm.workers[1]);
        let recorder = Recorder::new(&profile, Duration::ZERO, swarm.host, swarm.start);
        let mut silent = Silent;
        let watch = Watch { config: &config, recorder, metrics: None, stages: None, progress: &mut silent, bots: 1 };
        let outcome = Box::pin(swarm.run_to_end(&profile, &StopHandle::new(), watch)).await;
        let line = outcome.verdict_line();
        assert!(line.contains(&format!("a worker of the swarm panicked 1 times, first: {who} (")), "{line}");
        assert_eq!((&outcome.verdict, outcome.verdict.exit_code()), (&Verdict::Invalid, 2), "{line}");
    }
}
