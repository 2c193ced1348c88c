//! Several nodes as a user starts them: by a script; and three of them, with three NATS servers, each on a machine of
//! its own, behind HAProxy, with a fault in each part in turn.
//!
//! The machines are network namespaces inside the namespace of the test. `JEPSEN_MINUTES` and `JEPSEN_SEED` make
//! another schedule of faults, `JEPSEN_NAMES` is `proven` or `open`, and `JEPSEN_FOLDER` keeps the programs' output;
//! see `scripts/jepsen`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends with what is wrong"
)]

mod cluster;
mod faults;
mod lan;
mod swarm;
mod tried_out;

use std::fmt::Debug;
use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use test_kit::namespace;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::faults::{Fault, Faults};
use crate::swarm::Swarm;

/// The log of the test for people: on standard output and in a file.
struct Diary {
    file: PathBuf,
    begun: Instant,
}

impl Diary {
    fn write(&self, line: impl Display) {
        let line = format!("{:7.1} s  {line}", self.begun.elapsed().as_secs_f64());
        println!("{line}");
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// Whether clients prove their names. If they do, private messages are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Proven,
    Open,
}

/// A number from the environment.
fn number<T: FromStr<Err: Debug>>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}: {error:?}")))
}

/// Causes faults until this time is over. Every fault ends before the next one begins.
fn fail_for(cluster: &mut Cluster, swarm: &mut Swarm, time: Duration, seed: u64, diary: &Diary) -> usize {
    let mut faults = Faults::new(seed);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        let (fault, hold) = faults.draw();
        diary.write(format_args!("{fault:?} for {:.1} s", hold.as_secs_f64()));
        cluster.suffer(fault, hold);
        let healed = Instant::now();
        cluster.recover();
        diary.write(format_args!("all nodes are ready {:.1} s after its end", healed.elapsed().as_secs_f64()));
        swarm.lives();
        count += 1;
    }
    count
}

fn run(folder: &Path, names: Names) {
    let time = Duration::from_secs_f64(number("JEPSEN_MINUTES").map_or(40.0, |minutes: f64| 60.0 * minutes));
    let seed = number("JEPSEN_SEED").unwrap_or(1);
    let diary = Diary { file: folder.join("faults.log"), begun: Instant::now() };
    diary.write(format_args!("seed {seed}, names {names:?}"));
    let mut cluster = Cluster::start(folder, names);
    diary.write("the nodes are ready");
    let mut swarm = Swarm::start(folder, cluster::URL, names);
    let count = fail_for(&mut cluster, &mut swarm, time, seed, &diary);
    let verdict = swarm.stop();
    diary.write(format_args!("{count} faults; the swarm says:\n{verdict}"));
    let messages = cluster.compare_histories();
    diary.write(format_args!("every node has the same {messages} messages"));
    assert!(verdict.contains("KEPT"), "the swarm's ledger after {count} faults of seed {seed}:\n{verdict}");
}

/// One run of `scripts/jepsen`, or a short one.
fn run_as_asked(names: Names) {
    let names = match std::env::var("JEPSEN_NAMES").as_deref() {
        Ok("proven") => Names::Proven,
        Ok("open") => Names::Open,
        Ok(other) => panic!("JEPSEN_NAMES = {other}: proven or open"),
        Err(_) => names,
    };
    if let Ok(folder) = std::env::var("JEPSEN_FOLDER") {
        run(Path::new(&folder), names);
    } else {
        run(tempfile::tempdir().unwrap().path(), names);
    }
}

#[test]
fn nothing_is_lost_twice_or_reordered_while_nodes_brokers_and_links_fail() {
    if namespace::is_inside("nothing_is_lost_twice_or_reordered_while_nodes_brokers_and_links_fail") {
        run_as_asked(Names::Proven);
    }
}

#[test]
fn private_messages_that_are_not_stored_come_once_and_in_order_while_everything_fails() {
    if namespace::is_inside("private_messages_that_are_not_stored_come_once_and_in_order_while_everything_fails") {
        run_as_asked(Names::Open);
    }
}

#[test]
fn a_seed_draws_every_kind_of_fault_and_always_the_same() {
    let drawn = |seed: u64| {
        let mut faults = Faults::new(seed);
        (0..100).map(|_| faults.draw()).collect::<Vec<_>>()
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let kinds = |faults: &[(Fault, Duration)]| {
        let name = |fault: &Fault| format!("{fault:?}").split(['(', ',']).next().unwrap().to_owned();
        faults.iter().map(|(fault, _)| name(fault)).collect::<std::collections::BTreeSet<_>>()
    };
    let all = drawn(1);
    assert_eq!(kinds(&all[..Faults::KINDS]), kinds(&all), "each kind once, before one comes again");
    assert_eq!(kinds(&all).len(), Faults::KINDS);
}
