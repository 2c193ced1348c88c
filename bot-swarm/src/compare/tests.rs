use super::*;
use crate::report::document::Remote;
use crate::report::example;

fn change_of(comparison: &Comparison, name: &str) -> Change {
    let row = comparison.rows.iter().find(|row| row.name == name);
    row.unwrap_or_else(|| panic!("{name} in {comparison}")).change
}

#[test]
fn a_report_is_the_same_as_itself() {
    let report = example::report();
    let comparison = compare(&report, &report);
    assert!(comparison.rows.iter().all(|row| row.change == Change::Same), "{comparison}");
    assert!(comparison.to_string().starts_with("SAME: 0 worse, 0 better, "));
    assert_eq!(comparison.exit_code(), 0);
    assert!(comparison.settings.is_empty());
}

#[test]
fn of_a_short_run_only_what_must_be_zero_is_judged() {
    let (before, mut now) = (example::report(), example::report());
    now.seconds = 9.9;
    now.latencies.get_mut("delivery").unwrap().percentiles.p99 *= 3.0;
    let comparison = compare(&before, &now);
    assert_eq!(change_of(&comparison, "delivery p99"), Change::NotJudged);
    let text = comparison.to_string();
    assert!(text.starts_with("SAME: 0 worse, 0 better, 17 the same; "), "{text}");
    assert!(text.lines().next().unwrap().ends_with(" not judged, because a run was shorter than 10 s"), "{text}");
    now.ledger.lost = 1;
    assert_eq!(compare(&before, &now).exit_code(), 1);
}

#[test]
fn what_got_worse_is_named_first_and_ends_with_1() {
    let (before, mut now) = (example::report(), example::report());
    now.ledger.lost = 1;
    now.latencies.get_mut("delivery").unwrap().percentiles.p99 *= 1.5;
    let comparison = compare(&before, &now);
    assert_eq!(change_of(&comparison, "lost"), Change::Worse);
    assert_eq!(change_of(&comparison, "delivery p99"), Change::Worse);
    assert_eq!(change_of(&comparison, "delivery p50"), Change::Same);
    assert!(comparison.to_string().starts_with("WORSE: 2 worse, 0 better"), "{comparison}");
    assert!(comparison.to_string().lines().nth(3).unwrap().starts_with("worse   lost"), "{comparison}");
    assert_eq!(comparison.exit_code(), 1);
    let back = compare(&now, &before);
    assert!(back.to_string().starts_with("BETTER: 0 worse, 2 better"), "{back}");
}

#[test]
fn what_two_runs_of_the_same_differ_by_is_no_change() {
    let (before, mut now) = (example::report(), example::report());
    let delivery = &mut now.latencies.get_mut("delivery").unwrap().percentiles;
    delivery.p50 *= 1.08;
    delivery.p99 *= 1.15;
    now.messages.sent = now.messages.sent * 102 / 100;
    assert_eq!(compare(&before, &now).exit_code(), 0);
}

#[test]
fn a_change_of_half_a_millisecond_is_none_however_large_its_share() {
    let (mut before, mut now) = (example::report(), example::report());
    before.latencies.get_mut("ack").unwrap().percentiles.p50 = 0.1;
    now.latencies.get_mut("ack").unwrap().percentiles.p50 = 0.5;
    assert_eq!(change_of(&compare(&before, &now), "ack p50"), Change::Same);
    now.latencies.get_mut("ack").unwrap().percentiles.p50 = 0.7;
    assert_eq!(change_of(&compare(&before, &now), "ack p50"), Change::Worse);
}

#[test]
fn a_change_that_the_clocks_of_two_hosts_may_have_made_is_none() {
    let report = |p50, clocks_off_max_ms| {
        let mut report = example::report();
        let mut remote = report.latencies["delivery"].clone();
        remote.percentiles.p50 = p50;
        report.latencies.insert("remote".into(), remote);
        report.remote = Some(Remote { deliveries: 10, clocks_off_max_ms, negative: 0 });
        report
    };
    assert_eq!(change_of(&compare(&report(1.0, 2.0), &report(7.4, 4.0)), "remote p50"), Change::Same);
    assert_eq!(change_of(&compare(&report(1.0, 2.0), &report(7.6, 4.0)), "remote p50"), Change::Worse);
}

#[test]
fn another_load_is_told() {
    let (before, mut now) = (example::report(), example::report());
    now.config.insert("BOT_COUNT".into(), "7".into());
    now.config.insert("BOT_NAME_PREFIX".into(), "other".into());
    let comparison = compare(&before, &now);
    assert_eq!(comparison.settings.len(), 1);
    assert!(comparison.to_string().contains("other load  BOT_COUNT: 500 before, 7 now\n"), "{comparison}");
}

#[test]
fn a_verdict_that_broke_is_worse_whatever_the_figures() {
    let (before, mut now) = (example::report(), example::report());
    now.verdict.judgement = Judgement::Broken;
    assert_eq!(compare(&before, &now).exit_code(), 1);
}

#[test]
fn with_a_run_that_is_not_valid_nothing_can_be_said() {
    let (valid, mut invalid) = (example::report(), example::report());
    invalid.verdict.judgement = Judgement::Invalid;
    for (before, now, line) in [
        (&valid, &invalid, "INVALID: the run now is not valid, "),
        (&invalid, &valid, "INVALID: the run before is not valid, "),
        (&invalid, &invalid, "INVALID: both runs are not valid, "),
    ] {
        let comparison = compare(before, now);
        assert!(comparison.to_string().starts_with(line), "{comparison}");
        assert_eq!(comparison.exit_code(), 2);
    }
}

#[test]
fn where_nothing_happened_there_is_nothing_to_compare_with() {
    let mut there = example::report();
    there.verdict.judgement = Judgement::Kept;
    let mut silent = there.clone();
    silent.messages.sent = 0;
    let mut broken = silent.clone();
    broken.verdict.judgement = Judgement::Broken;
    let mut dead = there.clone();
    dead.verdict.judgement = Judgement::Broken;
    (dead.bots.connected, dead.bots.never_connected) = (0, dead.bots.wanted);
    for (before, now, line, code) in [
        (&dead, &dead, "INVALID: no bot was connected in both runs, ", 2),
        (&dead, &there, "INVALID: no bot was connected in the run before, ", 2),
        (&there, &dead, "WORSE: ", 1),
        (&silent, &there, "INVALID: no message was sent in the run before, ", 2),
        (&there, &silent, "INVALID: no message was sent in the run now, ", 2),
        (&there, &broken, "WORSE: ", 1),
        (&silent, &silent, "SAME: ", 0),
    ] {
        let comparison = compare(before, now);
        assert!(comparison.to_string().starts_with(line), "{comparison}");
        assert_eq!(comparison.exit_code(), code);
    }
}
