//! The metrics of the chat's environment: its threads, its container and the machine. Read at a scrape, and at most
//! once a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procfs::{CurrentSI, KernelStats, ticks_per_second};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use starling_actors::clock::{self, Instant};
use starling_process::exposition::Family;

use crate::control_group::{ControlGroups, allowed_cores, cores};
use crate::threads::Threads;

/// The shortest time between two readings.
const INTERVAL: Duration = Duration::from_millis(900);

/// Reads the threads, the container and the machine.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desc: Desc,
    cores: usize,
    /// The cores in the affinity mask.
    allowed: Vec<usize>,
    groups: ControlGroups,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    threads: Threads,
    families: Vec<MetricFamily>,
}

impl Surroundings {
    pub(crate) fn new() -> Self {
        let labels = std::collections::HashMap::new();
        #[expect(clippy::expect_used, reason = "the name is a constant and a valid one")]
        let desc = Desc::new("chat_surroundings".into(), "The surroundings.".into(), Vec::new(), labels)
            .expect("the description is valid");
        let groups = ControlGroups::own();
        Self(Arc::new(Inner { desc, cores: cores(), allowed: allowed_cores(), groups, last: Mutex::default() }))
    }
}

impl Collector for Surroundings {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (now, inner) = (clock::now(), &self.0);
        let mut last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL) {
            last.at = Some(now);
            last.threads.read();
            let mut families = last.threads.families().to_vec();
            families.extend(container(&inner.groups));
            families.push(machine(&inner.allowed));
            families.push(Family::single_gauge("chat_cores", "Cores that the server may use.", inner.cores as f64));
            last.families = families;
        }
        last.families.clone()
    }
}

fn container(groups: &ControlGroups) -> Vec<MetricFamily> {
    let throttling = groups.throttling();
    let mut pressure = Family::counter(
        "chat_pressure_seconds_total",
        "Time for which some or all tasks of the container or the machine waited for a resource.",
    );
    for resource in ["cpu", "memory", "io"] {
        let (of, [some, full]) = groups.pressure(resource);
        for (kind, seconds) in [("some", some), ("full", full)] {
            pressure.add(&[("of", of), ("resource", resource), ("kind", kind)], seconds);
        }
    }
    let limit = groups.memory().map_or(0, |memory| memory.limit);
    vec![
        Family::single_counter(
            "chat_container_cpu_periods_total",
            "Periods of the container's CPU limit.",
            throttling.periods as f64,
        ),
        Family::single_counter(
            "chat_container_cpu_throttled_periods_total",
            "Periods in which the container was stopped at its CPU limit.",
            throttling.throttled as f64,
        ),
        Family::single_counter(
            "chat_container_cpu_throttled_seconds_total",
            "Time for which the container was stopped at its CPU limit.",
            throttling.seconds,
        ),
        Family::single_gauge(
            "chat_container_cpu_limit_cores",
            "The container's CPU limit in cores; 0 without one.",
            groups.cpu_share().unwrap_or(0.0),
        ),
        Family::single_gauge(
            "chat_container_memory_bytes",
            "Memory of the container without what the kernel can drop.",
            groups.memory_used().unwrap_or(0) as f64,
        ),
        Family::single_gauge(
            "chat_container_memory_limit_bytes",
            "The container's memory limit; 0 without one.",
            limit as f64,
        ),
        pressure.finish(),
    ]
}

/// The time of the cores that the server may use, whichever program uses them.
fn machine(allowed: &[usize]) -> MetricFamily {
    let help = "CPU time of the machine's cores that the server may use, by state.";
    let mut seconds = Family::counter("chat_machine_cpu_seconds_total", help);
    let (mut busy, mut interrupts, mut idle, mut steal) = (0, 0, 0, 0);
    if let Ok(stats) = KernelStats::current() {
        let own: Vec<_> = allowed.iter().filter_map(|core| stats.cpu_time.get(*core)).collect();
        for cpu in if own.is_empty() { vec![&stats.total] } else { own } {
            busy += cpu.user + cpu.nice + cpu.system;
            // Mostly the network's work, the server's own too. It belongs to no program.
            interrupts += cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0);
            idle += cpu.idle + cpu.iowait.unwrap_or(0);
            steal += cpu.steal.unwrap_or(0);
        }
    }
    for (state, ticks) in [("busy", busy), ("interrupts", interrupts), ("idle", idle), ("steal", steal)] {
        seconds.add(&[("state", state)], ticks as f64 / ticks_per_second() as f64);
    }
    seconds.finish()
}
