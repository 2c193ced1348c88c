use super::*;

/// A page in the server's format, with one `chat_server` and two workers.
fn page(busy: [f64; 3], waits: [f64; 3]) -> String {
    let [server, first, second] = busy;
    let [fast, slow, all] = waits;
    format!(
        "# HELP chat_stage_busy_seconds_total Time the stage has worked.\n\
         # TYPE chat_stage_busy_seconds_total counter\n\
         chat_stage_busy_seconds_total{{stage=\"chat_server\",worker=\"-\"}} {server}\n\
         chat_stage_busy_seconds_total{{stage=\"worker_loop\",worker=\"0\"}} {first}\n\
         chat_stage_busy_seconds_total{{stage=\"worker_loop\",worker=\"1\"}} {second}\n\
         chat_stage_busy_seconds_total{{stage=\"socket_write\",worker=\"1\"}} {}\n\
         chat_stage_completions_total{{stage=\"chat_server\",worker=\"-\"}} {all}\n\
         chat_stage_backlog{{stage=\"chat_server\",worker=\"-\"}} 7\n\
         chat_stage_wait_seconds_bucket{{stage=\"chat_server\",worker=\"-\",le=\"0.001\"}} {fast}\n\
         chat_stage_wait_seconds_bucket{{stage=\"chat_server\",worker=\"-\",le=\"0.01\"}} {slow}\n\
         chat_stage_wait_seconds_bucket{{stage=\"chat_server\",worker=\"-\",le=\"+Inf\"}} {all}\n\
         chat_stage_wait_seconds_sum{{stage=\"chat_server\",worker=\"-\"}} 1\n\
         process_cpu_seconds_total {}\n\
         process_resident_memory_bytes 1048576\n\
         chat_connections 500\n",
        second / 2.0,
        server + first + second,
    )
}

fn figures(before: ([f64; 3], [f64; 3]), now: ([f64; 3], [f64; 3])) -> ServerFigures {
    let before = Reading::parse(&page(before.0, before.1), Nanos(0)).unwrap();
    Reading::parse(&page(now.0, now.1), Nanos(2_000_000_000)).unwrap().since(&before)
}

fn stage<'a>(figures: &'a ServerFigures, name: &str) -> &'a StageFigures {
    figures.stages.iter().find(|stage| stage.stage == name).unwrap()
}

fn about(is: f64, should: f64) {
    assert!((is - should).abs() < 1e-9, "{is} instead of {should}");
}

#[test]
fn two_readings_make_rates_and_the_busiest_worker_counts() {
    let figures = figures(([1.0, 1.0, 1.0], [0.0, 0.0, 0.0]), ([1.5, 1.2, 2.6], [50.0, 90.0, 100.0]));
    about(stage(&figures, "chat_server").utilisation, 0.25);
    about(stage(&figures, "worker_loop").utilisation, 0.8);
    about(stage(&figures, "chat_server").per_second, 50.0);
    about(stage(&figures, "chat_server").backlog, 7.0);
    about(figures.cores.unwrap(), 1.15);
    assert_eq!((figures.resident_bytes, figures.connections), (Some(1_048_576), Some(500)));
    let order: Vec<&str> = figures.stages.iter().map(|stage| stage.stage.as_str()).collect();
    assert_eq!(order, ["chat_server", "socket_write", "worker_loop"]);
}

#[test]
fn waits_are_those_between_the_readings() {
    let figures = figures(([0.0; 3], [1_000.0, 1_000.0, 1_000.0]), ([0.0; 3], [1_050.0, 1_100.0, 1_100.0]));
    let waits = stage(&figures, "chat_server");
    about(waits.wait_p50_ms.unwrap(), 1.0);
    about(waits.wait_p99_ms.unwrap(), 1.0 + 9.0 * 0.98);
    assert_eq!(stage(&figures, "worker_loop").wait_p99_ms, None, "nothing came");
}

#[test]
fn past_the_last_bound_a_wait_is_told_as_that_bound() {
    let figures = figures(([0.0; 3], [0.0; 3]), ([0.0; 3], [0.0, 0.0, 10.0]));
    about(stage(&figures, "chat_server").wait_p99_ms.unwrap(), 10.0);
}

#[test]
fn a_server_that_was_restarted_counts_from_zero_again() {
    let figures = figures(([5.0; 3], [100.0, 100.0, 100.0]), ([1.0; 3], [10.0, 10.0, 10.0]));
    about(stage(&figures, "chat_server").utilisation, 0.5);
    about(stage(&figures, "chat_server").wait_p50_ms.unwrap(), 0.5);
}

#[test]
fn the_stage_that_gives_way_is_named() {
    let judged = |busy| figures(([0.0; 3], [0.0; 3]), (busy, [0.0; 3])).judgement();
    assert_eq!(judged([1.9, 0.5, 0.5]), "chat_server is saturated: its thread worked 95 % of the time");
    assert_eq!(
        judged([0.5, 0.5, 2.0]),
        "a worker's thread is saturated: it worked 100 % of the time, 50 % of it in socket_write"
    );
    assert_eq!(judged([0.5, 0.2, 0.6]), "no stage is saturated; the busiest is worker_loop, 30 %");
}

#[test]
fn a_page_without_stages_is_no_reading() {
    assert!(Reading::parse("process_cpu_seconds_total 5\n", Nanos(0)).is_none());
    assert!(Reading::parse("<html></html>", Nanos(0)).is_none());
}
