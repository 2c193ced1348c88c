//! The bots, which keep the ledger.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use test_kit::process::{Program, Signal, signal};
use test_kit::token;

use crate::Names;

/// A server may be down for a while, so some messages cannot be sent. But every sent message has its position.
const EXPECTED: &str = "lost=0, twice=0, out_of_order=0, wrong_room=0, misdelivered=0, contradictions=0, altered=0, resurrected=0, \
                        unread=0, never_connected=0, away=0, unanswered=0, connected=100%, deliveries>=1000";

pub(crate) struct Swarm {
    child: Child,
    output: PathBuf,
}

impl Swarm {
    pub(crate) fn start(folder: &Path, url: &str, names: Names) -> Self {
        let output = folder.join("swarm.log");
        let program = Program::beside(env!("CARGO_BIN_EXE_starling"), "bot-swarm");
        let report = folder.join("report");
        let variables = [
            ("BOT_SERVER_URL", url),
            ("BOT_COUNT", "60"),
            ("BOT_ROOMS", "12"),
            ("BOT_RAMP_PER_SECOND", "60"),
            ("BOT_MESSAGES_PER_SECOND", "1"),
            ("BOT_BEHAVIOURS", "chatter=50,private=10"),
            ("BOT_DRAIN_SECONDS", "30"),
            // The machine may be busy.
            ("BOT_LATENESS_MAX_SECONDS", "60"),
            ("BOT_EXPECT", EXPECTED),
            ("BOT_REPORT", report.to_str().unwrap()),
        ];
        let secret = (names == Names::Proven).then_some(("BOT_TOKEN_SECRET", token::SECRET));
        let variables: Vec<_> = variables.into_iter().chain(secret).collect();
        let file = File::create(&output).unwrap();
        let mut command = program.command(folder, &[], &variables);
        command.stdout(file.try_clone().unwrap()).stderr(file).stdin(Stdio::null());
        Self { child: command.spawn().unwrap(), output }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap()
    }

    /// Panics if it has ended.
    pub(crate) fn lives(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "the swarm: {ended:?}: {}", self.said());
    }

    /// Ends it, and returns its report of the run.
    pub(crate) fn stop(&mut self) -> String {
        self.lives();
        signal(&self.child, Signal::TERM);
        self.child.wait().unwrap();
        let said = self.said();
        let summary = said.lines().skip_while(|line| line.starts_with(' '));
        summary.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}
