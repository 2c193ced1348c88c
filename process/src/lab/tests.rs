use std::fmt::Write;

use super::*;

/// The counters of a stage of one worker after this many seconds.
struct Load<'a> {
    stage: &'a str,
    worker: &'a str,
    /// Seconds of work in a second.
    busy: f64,
    /// Pieces of work in a second.
    per_second: f64,
    /// The wait of each.
    wait: f64,
    backlog: f64,
}

const LOADS: [Load<'_>; 7] = [
    Load { stage: "session", worker: "0", busy: 0.02, per_second: 100.0, wait: 0.001, backlog: 1.0 },
    Load { stage: "session", worker: "1", busy: 0.01, per_second: 100.0, wait: 0.003, backlog: 2.0 },
    Load { stage: "chat_server", worker: "-", busy: 0.04, per_second: 200.0, wait: 0.0005, backlog: 3.0 },
    Load { stage: "hub", worker: "0", busy: 0.01, per_second: 200.0, wait: 0.0, backlog: 0.0 },
    Load { stage: "socket_write", worker: "0", busy: 0.05, per_second: 1_000.0, wait: 0.002, backlog: 9.0 },
    Load { stage: "worker_loop", worker: "0", busy: 0.08, per_second: 10.0, wait: 0.001, backlog: 0.0 },
    Load { stage: "worker_loop", worker: "1", busy: 0.09, per_second: 10.0, wait: 0.001, backlog: 0.0 },
];

/// A server's page after this many seconds of this load.
fn page(loads: &[Load<'_>], seconds: f64) -> String {
    let mut page = String::new();
    for Load { stage, worker, busy, per_second, wait, backlog } in loads {
        let labels = format!("stage=\"{stage}\",worker=\"{worker}\"");
        let done = per_second * seconds;
        writeln!(page, "chat_stage_busy_seconds_total{{{labels}}} {}", busy * seconds).unwrap();
        writeln!(page, "chat_stage_completions_total{{{labels}}} {done}").unwrap();
        writeln!(page, "chat_stage_backlog{{{labels}}} {backlog}\nchat_stage_backlog_peak{{{labels}}} 50").unwrap();
        for bound in ["0.002", "0.01", "+Inf"] {
            let is_within = bound.parse::<f64>().unwrap() >= *wait;
            let count = if is_within { done } else { 0.0 };
            writeln!(page, "chat_stage_wait_seconds_bucket{{{labels},le=\"{bound}\"}} {count}").unwrap();
        }
    }
    page
}

/// The mean seconds of each part of a delivery.
const PARTS: [(&str, f64); 6] = [
    ("session", 0.000_2),
    ("chat_server_wait", 0.000_5),
    ("commit", 0.0),
    ("chat_server", 0.000_3),
    ("hub_wait", 0.001),
    ("socket_write", 0.002),
];

/// The parts of this number of deliveries.
fn parts(deliveries: f64) -> String {
    let mut page = String::new();
    for (part, mean) in PARTS {
        let labels = format!("part=\"{part}\"");
        writeln!(page, "chat_delivery_part_seconds_sum{{{labels}}} {}", mean * deliveries).unwrap();
        writeln!(page, "chat_delivery_part_seconds_bucket{{{labels},le=\"+Inf\"}} {deliveries}").unwrap();
    }
    page
}

/// The page with messages and gauges.
fn whole_page(loads: &[Load<'_>], seconds: f64) -> String {
    let deliveries = 1_000.0 * seconds;
    page(loads, seconds)
        + &parts(deliveries)
        + &format!(
            "chat_connections 40\nchat_connection_places 40\nchat_connections_limit 100\nchat_rooms 3\nchat_rooms_limit 0\n\
             chat_outbox_bytes_highest 512\nchat_outbox_limit_bytes 1024\nchat_cores 2\n\
             process_resident_memory_bytes 50000000\nprocess_cpu_seconds_total {}\n\
             chat_messages_total{{kind=\"global\"}} {}\nchat_messages_total{{kind=\"room\"}} {}\n\
             chat_deliveries_total {deliveries}\nchat_delivery_seconds_sum {}\nchat_delivery_seconds_count {deliveries}\n\
             chat_delivery_seconds_bucket{{le=\"0.001\"}} {}\nchat_delivery_seconds_bucket{{le=\"0.01\"}} {deliveries}\n\
             chat_delivery_seconds_bucket{{le=\"+Inf\"}} {deliveries}\n",
            0.25 * seconds,
            60.0 * seconds,
            40.0 * seconds,
            0.004 * deliveries,
            0.5 * deliveries,
        )
}

fn reading(page: &str, second: f64) -> Reading {
    Reading::parse(page, Duration::from_secs_f64(second)).unwrap()
}

/// The snapshot after this many seconds of these loads. Each reading is judged with the five before it.
fn past(loads: &[Load<'_>], seconds: u32) -> Past {
    let readings: Vec<Reading> =
        (0..=seconds).map(|second| reading(&whole_page(loads, second.into()), second.into())).collect();
    let mut past = Past::default();
    for end in 1..=readings.len() {
        past.take(&readings[end.saturating_sub(6)..end]);
    }
    past
}

#[test]
fn a_second_becomes_a_point() {
    let point = past(&LOADS, 2).newest().points.pop().unwrap();
    let expected = Point {
        second: 2.0,
        connections: 40.0,
        messages_per_second: 100.0,
        deliveries_per_second: 1_000.0,
        cpu_cores: 0.25,
        memory_bytes: Some(50e6),
        utilisation: 0.09,
        delivery_p50_seconds: Some(0.001),
        delivery_p99_seconds: Some(0.00982),
    };
    assert_eq!(point, expected);
}

#[test]
fn the_stages_come_in_the_order_of_a_message_and_each_names_its_busiest_worker() {
    let stages = past(&LOADS, 10).whole().stages;
    let told: Vec<_> = stages
        .iter()
        .map(|it| (&*it.stage, it.worker.as_deref(), it.utilisation, it.backlog, it.per_second, it.is_on_the_way))
        .collect();
    let expected = [
        ("session", Some("0"), 0.02, 3.0, 200.0, true),
        ("chat_server", None, 0.04, 3.0, 200.0, true),
        ("hub", Some("0"), 0.01, 0.0, 200.0, true),
        ("socket_write", Some("0"), 0.05, 9.0, 1_000.0, true),
        ("worker_loop", Some("1"), 0.09, 0.0, 20.0, false),
    ];
    assert_eq!(told, expected);
    assert!(stages.iter().all(|it| it.wait_p99_seconds.is_some() && it.backlog_peak > 49.0));
}

#[test]
fn the_parts_of_the_latency_add_up_to_it_beside_those_without_load() {
    let calm = past(&LOADS, 10).whole().latency;
    let told: Vec<_> = calm.parts.iter().map(|it| (&*it.part, it.seconds)).collect();
    assert_eq!(told, PARTS);
    let sum: f64 = calm.parts.iter().map(|it| it.seconds).sum();
    assert!((sum - calm.mean_seconds.unwrap()).abs() < 1e-9, "{calm:?}");
    assert!(calm.parts.iter().all(|it| it.no_load_seconds == Some(it.seconds)), "{calm:?}");

    let mut busy = LOADS;
    busy[2] = Load { busy: 0.9, wait: 0.2, ..busy[2] };
    let full = past(&busy, 10).whole().latency;
    assert!(
        full.parts.iter().all(|it| it.no_load_seconds.is_none()),
        "a full server tells nothing of one without load"
    );
}

#[test]
fn what_was_measured_without_load_stays_while_nothing_comes() {
    let mut past = past(&LOADS, 10);
    let quiet = whole_page(&LOADS, 10.0);
    past.take(&[reading(&quiet, 10.0), reading(&quiet, 15.0)]);
    let latency = past.whole().latency;
    assert_eq!(latency.mean_seconds, None);
    let told: Vec<_> = latency.parts.iter().map(|it| (&*it.part, it.seconds, it.no_load_seconds)).collect();
    assert_eq!(told, PARTS.map(|(part, mean)| (part, 0.0, Some(mean))));
    let point = past.newest().points.pop().unwrap();
    assert_eq!((point.delivery_p99_seconds, point.messages_per_second), (None, 0.0));
}

#[test]
fn limits_come_with_the_nearest_first_and_without_those_that_are_none() {
    let limits = past(&LOADS, 10).whole().limits;
    let told: Vec<_> = limits.iter().map(|it| (&*it.name, it.value, it.limit)).collect();
    let expected = [
        ("the fullest outbox of the last minute", 512.0, 1024.0),
        ("the connections", 40.0, 100.0),
        ("the server's cores", 0.25, 2.0),
        ("worker 1", 0.09, 1.0),
        ("the ChatServer's thread", 0.04, 1.0),
        ("the history's thread", 0.0, 1.0),
    ];
    assert_eq!(told, expected);
}

#[test]
fn five_minutes_of_points_are_kept_and_the_newest_alone_is_told_later() {
    let past = past(&LOADS, 320);
    let whole = past.whole();
    assert_eq!((whole.points.len(), whole.points[0].second), (POINTS_MAX, 21.0));
    assert_eq!(past.newest().points, [whole.points.last().unwrap().clone()]);
    assert_eq!(past.newest().stages, whole.stages);
}

#[test]
fn without_figures_there_are_none_and_a_restart_is_no_negative_rate() {
    let mut past = Past::default();
    assert_eq!(past.whole(), Snapshot::default());
    past.take(&[]);
    let late = reading(&whole_page(&LOADS, 100.0), 1.0);
    past.take(std::slice::from_ref(&late));
    past.take(&[late.clone(), late.clone()]);
    assert_eq!(past.whole(), Snapshot::default(), "no time has passed");
    past.take(&[late, reading(&whole_page(&LOADS, 1.0), 2.0)]);
    let point = past.newest().points.pop().unwrap();
    assert_eq!((point.messages_per_second, point.deliveries_per_second), (100.0, 1_000.0));
}

#[test]
fn numbers_have_four_digits() {
    for (value, shown) in
        [(0.0, 0.0), (0.123_456, 0.1235), (1.0 / 3.0, 0.3333), (12_345.678, 12_350.0), (1e-6, 1e-6), (-2.0, -2.0)]
    {
        assert!((rounded(value) - shown).abs() < 1e-12, "{value}: {}", rounded(value));
    }
}
