//! A load generator for WebSocket chats that knows no server.
//!
//! What is sent and how a connection begins are [templates](template); a message is recognised by its
//! [`marker`]. See `README.md` for the meaning of the figures.

#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "numbers of connections and messages come from the generator itself; a wrong one ends the measurement"
)]

mod clock;
mod connection;
mod frame;
mod load;
mod marker;
mod options;
mod process;
mod report;
mod schedule;
mod tally;
mod template;
mod transport;

use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use self::load::Load;
use self::options::Options;

fn main() -> ExitCode {
    match measure(Options::parse()) {
        Ok(is_clean) => ExitCode::from(u8::from(!is_clean)),
        Err(error) => {
            eprintln!("fanout-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures and prints the report. Returns whether all messages arrived as they should.
#[expect(clippy::print_stdout, reason = "the report")]
fn measure(options: Options) -> anyhow::Result<bool> {
    options.check()?;
    // Timers are exact to a nanosecond instead of 50 µs.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let json = options.json.clone();
    let report = Load::new(options)?.run()?;
    println!("{report}");
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("{}", path.display()))?;
    }
    Ok(report.is_clean())
}
