//! Runs every attack of docs/security.md against a release build of the server, each against a fresh server. Prints the
//! table of that page: the cost for the server, the effect on a bystander, and how the attack ends. Exits with 1 if a
//! limit is exceeded.
//!
//! `scripts/attack` builds and runs this program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a failed measurement stops with its error, and all numbers are whole and small"
)]

mod attack;
mod client;
mod crowds;
mod floods;
mod http;
mod invented;
mod measure;
mod unread;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use test_kit::namespace;

use self::attack::{ATTACKS, Attack, CUT_OFF, Target};
use self::measure::{Cores, Outcome, measure};

/// The HTTP statuses that the table shows.
const STATUSES: [&str; 5] = ["200", "408", "413", "429", "503"];

/// Runs every attack of docs/security.md against a release build of the server, each against a fresh server. Prints the
/// table of that page. Exits with 1 if a limit is exceeded.
///
/// The server uses core 0. The attackers and the bystander use core 1, where the bystander has priority. Requires Linux
/// and two cores for meaningful figures. The attack `cut-off` requires unshare, nsenter and ip.
#[derive(Debug, Parser)]
#[command(name = "scripts/attack")]
struct Arguments {
    /// The attacks to run [default: all].
    #[arg(value_name = "ATTACK", value_parser = clap::builder::PossibleValuesParser::new(ATTACKS.iter().map(|attack| attack.name)))]
    attacks: Vec<String>,
    /// The binary to attack [default: a release build of this tree].
    #[arg(long)]
    server: Option<PathBuf>,
    /// A factor for the duration of each attack.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Runs an attacker: the attack's name, the server's address, and seconds.
    #[arg(long, num_args = 3, hide = true)]
    attacker: Option<Vec<String>>,
    /// Measures one attack in this process's network namespace.
    #[arg(long, hide = true)]
    inside: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    let cores = Cores::allowed();
    if let Some(words) = &arguments.attacker {
        let server = arguments.server.expect("an attacker gets the server's path");
        let target = Target {
            address: words[1].parse::<SocketAddr>().unwrap(),
            time: Duration::from_secs_f64(words[2].parse().unwrap()),
            server,
        };
        rustix::process::nice(5).unwrap();
        let saw = (Attack::named(&words[0]).unwrap().act)(&target);
        println!("{}", serde_json::to_string(&saw).unwrap());
        return ExitCode::SUCCESS;
    }
    let server = arguments.server.clone().unwrap_or_else(release_build).canonicalize().expect("the binary exists");
    if let Some(name) = &arguments.inside {
        assert!(namespace::is_this(), "this process runs in its own network namespace");
        let outcome = measure(Attack::named(name).unwrap(), &server, arguments.scale, &cores);
        println!("{}", serde_json::to_string(&outcome).unwrap());
        return ExitCode::SUCCESS;
    }
    println!("{}\n", machine());
    println!("| attack | memory, MiB | CPU of one core | bystander's p99 before → during → after, ms | how it ends |");
    println!("|---|---|---|---|---|");
    let named: Vec<_> = arguments.attacks.iter().filter_map(|name| Attack::named(name)).collect();
    let mut broken = Vec::new();
    for attack in if named.is_empty() { ATTACKS.iter().collect() } else { named } {
        let outcome = if attack.name == CUT_OFF {
            measure_inside(attack, &server, arguments.scale)
        } else {
            measure(attack, &server, arguments.scale, &cores)
        };
        println!("{}", row(attack, &outcome));
        eprintln!("{}: {outcome:?}", attack.name);
        broken.extend(outcome.broken.into_iter().map(|problem| format!("{}: {problem}", attack.name)));
    }
    for problem in &broken {
        eprintln!("BROKEN {problem}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures an attack in its own network namespace.
fn measure_inside(attack: &Attack, server: &Path, scale: f64) -> Outcome {
    let server = server.to_str().expect("the path of the server is UTF-8");
    let output = namespace::again(&["--server", server, "--scale", &scale.to_string(), "--inside", attack.name]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let outcome = told.lines().last().and_then(|line| serde_json::from_str(line).ok());
    outcome.unwrap_or_else(|| {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        let needs = "cannot create a network namespace: this needs unshare, nsenter, ip, and the right to do it";
        Outcome { cost: None, broken: vec![needs.to_owned()] }
    })
}

/// Builds the server, and returns the path of its binary.
fn release_build() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = |arguments: &[&str]| Command::new("cargo").args(arguments).current_dir(&top).output().unwrap();
    let built = cargo(&["build", "--locked", "--release", "--quiet", "--bin", "starling"]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    Path::new(metadata["target_directory"].as_str().unwrap()).join("release/starling")
}

/// Describes the commit and the machine.
fn machine() -> String {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit =
        commit.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let system = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("commit {commit}, {}, Linux {}", model.map_or("?", |(_, model)| model), system.trim())
}

/// Formats an attack's row of the table.
fn row(attack: &Attack, outcome: &Outcome) -> String {
    let Some(cost) = &outcome.cost else {
        return format!("| {} | – | – | – | {} |", attack.title, outcome.broken.join("; "));
    };
    let mut ended: Vec<_> = cost.ended.iter().collect();
    ended.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let ended = ended.into_iter().map(|(reason, count)| format!("{count} `{reason}`"));
    let statuses =
        STATUSES.iter().filter_map(|status| Some(format!("{} × {status}", cost.saw.as_ref()?.get(*status)?)));
    let ends: Vec<String> = ended.chain(statuses).collect();
    let ends = if ends.is_empty() { "nobody is closed".to_owned() } else { ends.join(", ") };
    let [before, during, after] =
        [cost.before, cost.during, cost.after].map(|p99| p99.map_or("inf".to_owned(), |p99| format!("{p99:.1}")));
    format!(
        "| {} | {:.1} | {:.0} % | {before} → {during} → {after} | {ends} |",
        attack.title,
        cost.mib,
        cost.cores * 100.0
    )
}
