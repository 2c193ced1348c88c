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

/// The judgement on a run of such seconds, with the busy time of the three threads in each second.
fn judgement(seconds: impl IntoIterator<Item = [f64; 3]>) -> String {
    let (mut verdicts, mut busy) = (Verdicts::default(), [0.0; 3]);
    for (second, grown) in (0_u64..).zip(seconds) {
        busy = std::array::from_fn(|thread| busy[thread] + grown[thread]);
        verdicts.take(&page(busy, [0.0; 3]), Duration::from_secs(second));
    }
    verdicts.longest().words
}

#[test]
fn what_limits_the_server_is_named_by_the_servers_own_rules() {
    let (calm, server, worker) = ([0.5, 0.2, 0.3], [0.95, 0.5, 0.5], [0.5, 0.5, 1.0]);
    assert_eq!(
        judgement([server; 15]),
        "The ChatServer is full: its stage is busy 95 % of the time (so in 10 of 10 judged seconds)"
    );
    assert_eq!(
        judgement([worker; 15]),
        "The thread of worker 1 is full (100 % busy): writing to sockets takes 50 %; the other workers are busy only \
         50 % (so in 10 of 10 judged seconds)"
    );
    assert_eq!(
        judgement([calm; 15]),
        "Nothing is saturated; the nearest to its limit is the ChatServer's thread, at 50 %"
    );
    let late = [calm; 40].into_iter().chain([server; 15]);
    assert!(judgement(late).starts_with("The ChatServer is full"), "what starts late is not averaged away");
    let moment = [calm; 40].into_iter().chain([server; 6]).chain([calm; 40]);
    assert!(judgement(moment).starts_with("Nothing"), "a moment is not the run");
    assert_eq!(judgement([calm; 3]), "the run was too short for a diagnosis");
}

#[test]
fn a_page_without_stages_is_no_reading() {
    assert!(Reading::parse("process_cpu_seconds_total 5\n", Nanos(0)).is_none());
    assert!(Reading::parse("<html></html>", Nanos(0)).is_none());
}

#[test]
fn a_swarm_that_was_late_is_named_before_the_server() {
    let (whole, series) = (figures(([0.0; 3], [0.0; 3]), ([1.0; 3], [0.0; 3])), Vec::new());
    let report = ServerReport {
        url: String::new(),
        what: Some(What::Nothing),
        judgement: "Nothing is saturated".to_owned(),
        whole,
        series,
    };
    assert_eq!(report.clone().doubted(None), report);
    let late = report.doubted(Some(&Doubt::Busy { seconds: 3, of: 5 }));
    assert_eq!(late.what, Some(What::Generator));
    assert_eq!(
        late.judgement,
        "The load generator is the limit: a worker of the swarm had no time left in 3 of 5 s (more BOT_WORKERS, or lower load)"
    );
}
