//! An invented report for tests: 500 bots in one room, 40 seconds, with one stall of the server.

use std::collections::BTreeMap;

use starling_process::diagnosis::What;

use super::document::{
    Bots, Expectation, Judgement, Latency, Ledger, Messages, Percentiles, Phase, Quantile, Report, SCHEMA_VERSION,
    Second, SwarmHealth, Verdict,
};
use crate::server_stages::{ServerFigures, ServerReport, ServerSecond, StageFigures};

/// The duration of the example, in seconds.
const SECONDS: u32 = 40;

/// The example.
pub(crate) fn report() -> Report {
    let rng = &mut fastrand::Rng::with_seed(3);
    Report {
        schema_version: SCHEMA_VERSION,
        program: "bot-swarm 0.1.0".into(),
        started_at: 1_795_342_200_123,
        seconds: f64::from(SECONDS),
        verdict: Verdict {
            judgement: Judgement::Kept,
            line: "KEPT: p99<250ms, lost=0".into(),
            expectations: vec![
                Expectation { expected: "p99<250ms".into(), measured: None, kept: true },
                Expectation { expected: "lost=0".into(), measured: None, kept: true },
            ],
            doubts: vec![],
            notes: vec![],
        },
        config: [("BOT_COUNT", "500"), ("BOT_ROOMS", "1"), ("BOT_NAME_PREFIX", "example")]
            .map(|(variable, value)| (variable.to_owned(), value.to_owned()))
            .into(),
        bots: Bots { asked: 500, wanted: 500, connected: 500, reconnects: 0, away: 0, never_connected: 0 },
        messages: Messages {
            planned: 3_900,
            done: 3_900,
            not_done: 0,
            sent: 3_900,
            acknowledged: 3_900,
            refused: 0,
            refused_unprovoked: 0,
            unanswered: 0,
            deferred: 0,
            overdue: 0,
            sent_again: 0,
        },
        ledger: Ledger {
            deliveries: 1_950_000,
            expected: 1_950_000,
            received: 1_950_000,
            lost: 0,
            lost_and_told: 0,
            twice: 0,
            out_of_order: 0,
            wrong_room: 0,
            misdelivered: 0,
            contradictions: 0,
            altered: 0,
            resurrected: 0,
            unread: 0,
            private_unknown: 0,
            untimed: 0,
        },
        latencies: latencies(),
        histograms: BTreeMap::new(),
        last_receivers: None,
        counters: BTreeMap::new(),
        remote: None,
        phases: vec![phase("ramp 5s to 500", 0.0, 5.0), phase("hold 35s", 5.0, 35.0)],
        series: (0..SECONDS).map(|second| one_second(second, rng)).collect(),
        swarm: SwarmHealth { user_seconds: 1.2, system_seconds: 2.9, resident_bytes: 4 << 20, open_files: 500 },
        server: Some(server(rng)),
        errors: BTreeMap::new(),
    }
}

fn percentiles(p50: f64) -> Percentiles {
    Percentiles { count: 1_000, p50, p90: p50 * 2.0, p99: p50 * 5.0, p999: p50 * 9.0, max: p50 * 14.0 }
}

fn latencies() -> BTreeMap<String, Latency> {
    let nines = |k: u32| 1.0 - 10_f64.powf(-f64::from(k) / 8.0);
    let latency = |(kind, p50): (&str, f64)| {
        let curve =
            (0..=40).map(|k| Quantile { share: nines(k), ms: p50 * (0.4 + 0.5 * 1.25_f64.powi(k.cast_signed())) });
        let latency = Latency { percentiles: percentiles(p50), mean: p50 * 1.3, curve: curve.collect() };
        (kind.to_owned(), latency)
    };
    [("delivery", 4.8), ("ack", 1.9), ("connect", 2.4), ("completion", 7.0), ("lateness", 0.2)].map(latency).into()
}

fn phase(name: &str, start: f64, seconds: f64) -> Phase {
    Phase {
        name: name.into(),
        start,
        seconds,
        sent: 1_000,
        deliveries: 500_000,
        latencies: latencies(),
        histograms: BTreeMap::new(),
    }
}

fn one_second(second: u32, rng: &mut fastrand::Rng) -> Second {
    let stalls = second == 22;
    let connected = (u64::from(second) + 1).min(5) * 100;
    let p50 = (4.0 + rng.f64() * 2.0) * if stalls { 80.0 } else { 1.0 };
    let sent = connected / 5 + rng.u64(0..10);
    let latencies = [("delivery".to_owned(), percentiles(p50)), ("lateness".to_owned(), percentiles(0.2))];
    Second {
        start: f64::from(second),
        seconds: 1.0,
        phase: u64::from(second >= 5),
        bots: [("connected".to_owned(), connected), ("waiting".to_owned(), 500 - connected)].into(),
        sent,
        acknowledged: if stalls { sent / 3 } else { sent },
        unanswered: if stalls { 60 } else { 2 },
        deliveries: sent * connected / if stalls { 3 } else { 1 },
        reconnects: 0,
        latencies: latencies.into(),
        histograms: BTreeMap::new(),
        cpu_seconds: 0.1,
        resident_bytes: 20 << 20,
        open_files: 520,
    }
}

fn server(rng: &mut fastrand::Rng) -> ServerReport {
    let mut figures = || {
        let stage = |(stage, utilisation, wait): (&str, f64, f64)| StageFigures {
            stage: stage.into(),
            utilisation: utilisation * (0.9 + 0.2 * rng.f64()),
            per_second: 100.0,
            wait_p50_ms: Some(wait / 4.0),
            wait_p99_ms: Some(wait * (0.5 + rng.f64())),
            backlog: 3.0,
        };
        let stages = [
            ("session", 0.02, 0.3),
            ("chat_server", 0.04, 0.8),
            ("hub", 0.05, 0.6),
            ("socket_write", 0.41, 4.0),
            ("worker_loop", 0.55, 2.5),
        ];
        ServerFigures {
            stages: stages.map(stage).into(),
            cores: Some(0.7),
            resident_bytes: Some(14 << 20),
            connections: Some(500),
        }
    };
    let series = (1..SECONDS).map(|second| ServerSecond { at: f64::from(second), figures: figures() }).collect();
    let whole = figures();
    let url = "http://127.0.0.1:8080/metrics".to_owned();
    ServerReport { url, what: Some(What::Nothing), judgement: "Nothing is saturated".to_owned(), whole, series }
}
