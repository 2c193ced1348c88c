//! The queries of dashboards and rules have answers: from this Prometheus, about this stack, while bots chat.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::prometheus::{Series, label_values, lately, now, wait_until};
use crate::shown::{Dashboard, Rule, dashboards, rules};
use crate::{compose, start};

/// Expressions that may have no answer in a healthy stack: a part of the expression, and the reason.
const MAY_BE_EMPTY: [(&str, &str); 8] = [
    ("swarm_resume_seconds", "no bot has lost its connection"),
    ("swarm_connect_seconds", "all bots are connected"),
    ("chat_welcome_seconds", "all bots are connected"),
    ("swarm_completion_seconds", "a room's bots are in several containers, and none of them sees the last delivery"),
    ("ALERTS", "no alert fires"),
    ("chat_limit_refusals_total", "nothing is refused"),
    ("chat_webhook_", "no receiver of webhooks is set"),
    ("chat_nodes_checkpoint_bytes", "a checkpoint is stored every 20,000 records"),
];

/// Replaces Grafana's variables.
fn filled_in(expr: &str) -> String {
    let mut expr = expr.to_owned();
    for (variable, value) in
        [("$__rate_interval", "20s"), ("$__interval", "5s"), ("$__range", "15m"), ("$instance", ".*")]
    {
        expr = expr.replace(variable, value);
    }
    assert!(!expr.contains('$'), "{expr}");
    expr
}

fn is_a_figure(found: &[Series]) -> bool {
    found.iter().any(|series| series.values.iter().any(|value| value.is_finite()))
}

/// The labels in a legend: `{{label}}`.
fn labels_of(legend: &str) -> Vec<&str> {
    legend.split("{{").skip(1).map(|rest| rest.split_once("}}").unwrap().0.trim()).collect()
}

/// Waits until a window of one minute is full of scrapes, and every recording rule has been evaluated.
async fn warm() {
    start().await;
    wait_until(r#"count_over_time(up{job="chat"}[2m])"#, |scrapes| scrapes > 13.5).await;
    wait_until("max(stage:chat_stage_utilisation:max_rate1m)", f64::is_finite).await;
    wait_until(r#"container:cpu_throttled_periods:ratio_rate1m{service="chat"}"#, f64::is_finite).await;
    wait_until("instance:chat_delivery_seconds:p99_1m", f64::is_finite).await;
}

/// Checks that every query of these dashboards has an answer with the labels of its legend.
pub(crate) async fn expect_answers(dashboards: &[Dashboard]) {
    let mut unanswered = BTreeMap::new();
    for target in dashboards.iter().flat_map(Dashboard::targets) {
        let expr = filled_in(&target.expr);
        let may_be_empty = MAY_BE_EMPTY.iter().any(|(part, _)| expr.contains(part));
        let (at_once, in_time) = (now(&expr).await, lately(&expr).await);
        if !may_be_empty && !(is_a_figure(&at_once) && (target.instant || is_a_figure(&in_time))) {
            unanswered.insert(target.of.clone(), expr.clone());
        }
        for label in labels_of(&target.legend) {
            let everywhere = at_once.iter().all(|series| series.labels.contains_key(label));
            assert!(everywhere, "{}: the legend names {label}: {expr}", target.of);
        }
    }
    assert!(unanswered.is_empty(), "{unanswered:#?}");
}

/// Checks that every variable of these dashboards has at least this number of values.
pub(crate) async fn expect_values_of_variables(dashboards: &[Dashboard], count: usize) {
    for dashboard in dashboards {
        for variable in dashboard.json["templating"]["list"].as_array().unwrap() {
            let query = variable["query"]["query"].as_str().unwrap();
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (metric, label) = inner.and_then(|inner| inner.rsplit_once(", ")).unwrap_or_else(|| panic!("{query}"));
            let values = label_values(label, metric).await;
            assert!(values.len() >= count, "{}: {query}: {values:?}", dashboard.file);
        }
    }
}

/// Whether a rule is about several nodes: without them its metrics do not exist.
pub(crate) fn is_of_nodes(rule: &Rule) -> bool {
    rule.expr().contains("chat_nodes")
}

/// Checks that each of these rules records something, or compares a metric that exists; otherwise the alert would never
/// fire.
pub(crate) async fn expect_rules(rules: &[Rule]) {
    for rule in rules {
        match rule.record() {
            Some(name) => assert!(is_a_figure(&now(name).await), "{name} has a figure"),
            None => {
                // The comparison is that of the whole expression, or of each side of `and`. A side without one is a
                // condition that only has to exist.
                for side in rule.expr().split(" and ") {
                    let compared = side.split_whitespace().collect::<Vec<_>>();
                    let end = compared.iter().rposition(|word| ["==", ">", ">=", "<"].contains(word));
                    let left = compared[..end.unwrap_or(compared.len())].join(" ");
                    let left = left.strip_prefix("on (job, instance) ").unwrap_or(&left);
                    assert!(is_a_figure(&now(left).await), "{}: {left}", rule.name());
                }
            }
        }
    }
}

#[actix::test]
async fn every_panel_is_answered() {
    warm().await;
    let mut dashboards = dashboards();
    // The dashboard of several nodes is tested with several nodes.
    dashboards.retain(|dashboard| dashboard.file != "nodes.json");
    expect_answers(&dashboards).await;
}

#[actix::test]
async fn every_variable_of_a_dashboard_has_values() {
    warm().await;
    expect_values_of_variables(&dashboards(), 1).await;
}

#[actix::test]
async fn every_rule_records_something_or_gives_no_alarm() {
    warm().await;
    let mut rules = rules();
    // Rules about several nodes are tested with several nodes.
    rules.retain(|rule| !is_of_nodes(rule));
    expect_rules(&rules).await;
    let health: Value = serde_json::from_str(&compose::docker(&[
        "compose",
        "exec",
        "-T",
        "prometheus",
        "/bin/promtool",
        "query",
        "instant",
        "--format=json",
        "http://127.0.0.1:9090",
        "prometheus_rule_evaluation_failures_total > 0",
    ]))
    .unwrap();
    assert_eq!(health, serde_json::json!([]), "a rule cannot be evaluated");
}

#[test]
fn prometheus_takes_its_configuration_and_the_alerts_do_what_their_tests_say() {
    let promtool = |arguments: &[&str]| {
        // Its file system is read-only, except for the volume.
        let run = [
            "run",
            "--rm",
            "--no-deps",
            "-T",
            "--env=TMPDIR=/prometheus",
            "--workdir",
            "/etc/prometheus/tests",
            "--entrypoint",
        ];
        compose::compose(&[&run[..], &["/bin/promtool", "prometheus"], arguments].concat())
    };
    promtool(&["check", "config", "/etc/prometheus/prometheus.yml"]);
    let files = crate::shown::files("prometheus/tests", ".test.yml");
    let files: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    promtool(&[&["test", "rules"], &files[..]].concat());
}
