//! The process as the operating system sees it (`process_*`), and the number of dropped log lines.
//!
//! The `prometheus` crate has a collector for the process, but it counts CPU time in whole seconds. That is too coarse
//! for the CPU time per delivery in a short measurement.

use procfs::process::Process;
use procfs::{WithCurrentSystemInfo, ticks_per_second};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntCounter, Opts};

use crate::logging;

/// Reads the metrics of this process on every scrape.
#[derive(Debug)]
pub(crate) struct ProcessMetrics {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_files: Gauge,
    open_files_max: Gauge,
    threads: Gauge,
    start_time: Gauge,
    log_lines_dropped: IntCounter,
}

#[expect(clippy::expect_used, reason = "names and texts are constants and valid")]
fn gauge(name: &str, help: &str) -> Gauge {
    Gauge::with_opts(Opts::new(name, help)).expect("the gauge is valid")
}

impl ProcessMetrics {
    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "name and text are constants and valid")]
        let cpu_seconds = Counter::new("process_cpu_seconds_total", "User and system CPU time spent, in seconds.")
            .expect("the counter is valid");
        #[expect(clippy::expect_used, reason = "name and text are constants and valid")]
        let log_lines_dropped = IntCounter::new(
            "chat_log_lines_dropped_total",
            "Log lines that were dropped because standard error took none.",
        )
        .expect("the counter is valid");
        Self {
            log_lines_dropped,
            cpu_seconds,
            resident_bytes: gauge("process_resident_memory_bytes", "Resident memory, in bytes."),
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory, in bytes."),
            open_files: gauge("process_open_fds", "Open file descriptors."),
            open_files_max: gauge("process_max_fds", "Most file descriptors that may be open."),
            threads: gauge("process_threads", "Threads of the process."),
            start_time: gauge("process_start_time_seconds", "Start of the process, in seconds since the Unix epoch."),
        }
    }

    fn read(&self) -> procfs::ProcResult<()> {
        self.log_lines_dropped.inc_by(logging::dropped().saturating_sub(self.log_lines_dropped.get()));
        let process = Process::myself()?;
        let stat = process.stat()?;
        let cpu_seconds = (stat.utime + stat.stime) as f64 / ticks_per_second() as f64;
        self.cpu_seconds.inc_by((cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.resident_bytes.set(stat.rss_bytes().get() as f64);
        self.virtual_bytes.set(stat.vsize as f64);
        self.threads.set(stat.num_threads as f64);
        self.open_files.set(process.fd_count()? as f64);
        if let procfs::process::LimitValue::Value(files) = process.limits()?.max_open_files.soft_limit {
            self.open_files_max.set(files as f64);
        }
        let started = procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks_per_second() as f64;
        self.start_time.set(started);
        Ok(())
    }

    fn parts(&self) -> [&dyn Collector; 8] {
        [
            &self.cpu_seconds,
            &self.resident_bytes,
            &self.virtual_bytes,
            &self.open_files,
            &self.open_files_max,
            &self.threads,
            &self.start_time,
            &self.log_lines_dropped,
        ]
    }
}

/// The resident memory alone. It costs little to read, so the diagnosis reads it once a second.
#[derive(Debug)]
pub(crate) struct ResidentMemory(Gauge);

impl ResidentMemory {
    pub(crate) fn new() -> Self {
        Self(gauge("process_resident_memory_bytes", "Resident memory, in bytes."))
    }
}

impl Collector for ResidentMemory {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // If the system cannot be read, the last value remains.
        if let Ok(memory) = Process::myself().and_then(|process| process.statm()) {
            self.0.set(memory.resident as f64 * procfs::page_size() as f64);
        }
        self.0.collect()
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // If the system cannot be read, the last values remain.
        drop(self.read());
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}
