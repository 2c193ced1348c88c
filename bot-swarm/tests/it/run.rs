//! A run of the program against a server that fails in a known way, with its report.

use std::process::Output;

use bot_swarm::report::document::Report;
use bot_swarm::report::folder;
use tempfile::TempDir;

use crate::process::{program, stderr, stdout};
use crate::reports::ended;
use crate::server::{Options, TestServer};

/// The number of bots of each run; each sends 20 messages a second for [`SECONDS`].
const BOTS: u32 = 10;
const SECONDS: &str = "1.5";

/// A run of the program against a server, with its report.
pub(crate) struct Run {
    pub(crate) output: Output,
    pub(crate) report: Report,
    pub(crate) server: TestServer,
    _folder: TempDir,
}

impl Run {
    pub(crate) async fn with(options: Options, expect: &str) -> Self {
        Self::of(options, expect, SECONDS, &["--drain-seconds", "0.5"]).await
    }

    /// With more arguments, and for this many seconds.
    pub(crate) async fn of(options: Options, expect: &str, seconds: &str, arguments: &[&str]) -> Self {
        let server = TestServer::with(options).await;
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command
            .args(["--server-url", &server.url(), "--count", &BOTS.to_string(), "--ramp-per-second", "1000"])
            .args(["--messages-per-second", "20", "--seconds", seconds])
            .args(["--lateness-max-seconds", "60", "--expect", expect, "--server-metrics", "off"])
            .args(arguments)
            .arg("--report")
            .arg(folder.path());
        let output = ended(command).await;
        let report = folder::read(folder.path()).unwrap();
        Self { output, report, server, _folder: folder }
    }

    pub(crate) fn first_line(&self) -> &str {
        stdout(&self.output).lines().next().unwrap_or_default()
    }

    /// Checks the beginning of the verdict, its parts, and the exit code.
    pub(crate) fn must_say(&self, code: i32, start: &str, parts: &[&str]) {
        let told = format!("{}{}", stdout(&self.output), stderr(&self.output));
        assert!(self.first_line().starts_with(start), "{told}");
        for part in parts {
            assert!(self.first_line().contains(part), "{part}: {told}");
        }
        assert_eq!(self.output.status.code(), Some(code), "{told}");
    }

    /// The 99th percentile of a latency, in milliseconds.
    pub(crate) fn p99(&self, kind: &str) -> f64 {
        self.report.latencies[kind].percentiles.p99
    }

    /// Checks that every planned message has one outcome.
    pub(crate) fn must_add_up(&self) {
        let messages = &self.report.messages;
        assert_eq!(messages.planned, messages.done + messages.refused + messages.not_done, "{messages:?}");
        // 10 bots, 20 messages a second, 1.5 s; the first message of each comes within a twentieth of a second.
        assert!((280..=320).contains(&messages.planned), "{messages:?}");
    }
}
