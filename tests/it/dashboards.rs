//! Dashboards and rules: Grafana can load them, their metrics exist, and every metric is visible somewhere.
//!
//! `tests/stack` checks with a real Prometheus that each query has an answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::metrics;
use crate::shown::{Dashboard, dashboards, files, read, rules, yaml};

/// Metrics that are on no dashboard, and why.
const NOT_SHOWN: [(&str, &str); 11] = [
    ("chat_connection_places", "chat_connections_open shows them, with those beyond"),
    ("chat_memory_limit_bytes", "it is the operator's own setting, and /lab shows it"),
    ("chat_outboxes_limit_bytes", "it follows from the operator's own settings, and /lab shows it"),
    ("chat_limit_set_elsewhere", "the diagnosis names the limit that it is about"),
    ("chat_not_ready", "chat_limit_reached shows what it leads to"),
    ("chat_log_lines_dropped_total", "the log itself reports it as soon as it has a reader"),
    ("process_virtual_memory_bytes", "mapped memory says nothing about used memory"),
    ("swarm_clocks_off_seconds", ONE_HOST),
    ("swarm_deliveries_untimed_total", ONE_HOST),
    ("swarm_remote_delivery_seconds", ONE_HOST),
    ("swarm_remote_negative_total", ONE_HOST),
];

const ONE_HOST: &str = "all containers of the stack are on one host, and have one clock";

/// The metrics of cAdvisor about containers; they are not the project's own.
const OF_CADVISOR: [&str; 7] = [
    "container_cpu_usage_seconds_total",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_spec_cpu_quota",
    "container_spec_cpu_period",
    "container_memory_working_set_bytes",
    "container_spec_memory_limit_bytes",
];

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// The name of a series without the suffixes of a histogram.
fn family<'a>(known: &BTreeSet<String>, name: &'a str) -> &'a str {
    let bare = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    bare.filter(|bare| known.contains(*bare)).unwrap_or(name)
}

/// The metrics in an expression. Words in strings, labels and functions do not count: a metric has one of the prefixes,
/// or a colon.
fn metrics_in(expr: &str) -> BTreeSet<String> {
    let parts = ["chat_", "process_", "swarm_", "container_"];
    let unquoted: String = expr.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = unquoted.split(|c| !is_name(c));
    words
        .filter(|word| parts.iter().any(|part| word.starts_with(part)) || word.trim_matches(':').contains(':'))
        .map(str::to_owned)
        .collect()
}

/// Every expression of a panel or a rule, with its location.
fn expressions() -> Vec<(String, String)> {
    let targets = dashboards().into_iter().flat_map(|dashboard| dashboard.targets());
    let rules = rules().into_iter().map(|rule| (rule.name().to_owned(), rule.expr().to_owned()));
    targets.map(|target| (target.of, target.expr)).chain(rules).collect()
}

#[test]
fn grafana_finds_prometheus_and_the_dashboards() {
    let compose = yaml("compose.yaml");
    let mut uids = BTreeSet::new();
    let mut default = 0;
    for path in files("grafana-provisioning/datasources", ".yaml") {
        let file = yaml(&path);
        assert_eq!((keys(&file), number(&file["apiVersion"])), (["apiVersion", "datasources"].into(), 1));
        for source in file["datasources"].as_array().unwrap() {
            let known = ["access", "editable", "isDefault", "jsonData", "name", "type", "uid", "url"];
            assert_eq!(keys(source), known.into());
            assert!(uids.insert(source["uid"].as_str().unwrap().to_owned()));
            default += u8::from(source["isDefault"] == true);
            let (service, port) =
                source["url"].as_str().unwrap().strip_prefix("http://").unwrap().split_once(':').unwrap();
            let ports = compose["services"][service]["ports"].as_array().unwrap();
            assert!(ports.iter().any(|published| published.as_str().unwrap().ends_with(&format!(":{port}"))));
        }
    }
    assert_eq!(default, 1);

    let mounts = compose["services"]["grafana"]["volumes"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount == "./grafana-provisioning:/etc/grafana/provisioning:ro"));
    let providers = yaml("grafana-provisioning/dashboards/dashboards.yaml");
    assert_eq!((keys(&providers), number(&providers["apiVersion"])), (["apiVersion", "providers"].into(), 1));
    for provider in providers["providers"].as_array().unwrap() {
        let known = ["allowUiUpdates", "disableDeletion", "folder", "name", "options", "type", "updateIntervalSeconds"];
        assert_eq!(keys(provider), known.into());
        assert_eq!(provider["options"]["path"], "/etc/grafana/provisioning/dashboards");
    }
    let home = &compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"];
    let home = home.as_str().unwrap().strip_prefix("/etc/grafana/provisioning/").unwrap();
    assert!(read(format!("grafana-provisioning/{home}")).contains("\"uid\": \"starling-overview\""));

    for dashboard in dashboards() {
        let mut sources = Vec::new();
        collect(&dashboard.json, "datasource", &mut sources);
        assert!(!sources.is_empty());
        for source in sources {
            assert!(uids.contains(source["uid"].as_str().unwrap()), "{}: {source}", dashboard.file);
        }
    }
}

/// All values of this key, at any depth.
fn collect<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == key {
                    found.push(field);
                }
                collect(field, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_dashboard_is_one_that_grafana_can_provision() {
    let mut seen = BTreeSet::new();
    for dashboard in dashboards() {
        let (file, json) = (&dashboard.file, &dashboard.json);
        for unique in ["uid", "title"] {
            assert!(seen.insert(json[unique].as_str().unwrap().to_owned()), "{file}: {unique}");
        }
        let text = json.to_string();
        assert!(json.get("__inputs").is_none() && !text.contains("${DS_"), "{file}: provisioning fills in nothing");
        assert!(json.get("id").is_none_or(Value::is_null), "{file}: the id is Grafana's");
        assert!(number(&json["schemaVersion"]) >= 39, "{file}");
        assert!(json["tags"].as_array().unwrap().contains(&"starling".into()), "{file}: the links find it by its tag");
        every_variable_is_there(&dashboard.json, file);
        no_panel_lies_on_another(&dashboard.json, file);
        for panel in dashboard.panels() {
            let title = panel["title"].as_str().unwrap();
            assert!(panel["description"].as_str().unwrap().len() > 30, "{file}: {title} says what a bad value means");
            assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{file}: {title}: unit");
            assert!(!panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array().unwrap().is_empty());
            let refs: Vec<_> = panel["targets"].as_array().unwrap().iter().map(|t| t["refId"].as_str()).collect();
            assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "{file}: {title}: {refs:?}");
        }
        for target in dashboard.targets() {
            assert_eq!(target.legend.is_empty(), target.instant, "{}: a line has a name, a table columns", target.of);
        }
    }
}

fn every_variable_is_there(json: &Value, file: &str) {
    let list = json["templating"]["list"].as_array().unwrap();
    let known: BTreeSet<&str> = list.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    let text = json.to_string();
    for (at, _) in text.match_indices('$') {
        let rest = text[at + 1..].trim_start_matches('{');
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        assert!(
            known.contains(name.as_str()) || ["__rate_interval", "__interval", "__range", "__all"].contains(&&*name),
            "{file}: ${name}"
        );
    }
}

fn no_panel_lies_on_another(json: &Value, file: &str) {
    let mut ids = BTreeSet::new();
    let mut cells: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for panel in json["panels"].as_array().unwrap() {
        let id = number(&panel["id"]);
        assert!(ids.insert(id), "{file}: two panels {id}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| number(&panel["gridPos"][side]));
        assert!(w > 0 && h > 0 && x + w <= 24, "{file}: panel {id} is outside");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert_eq!(cells.insert(cell, id), None, "{file}: panel {id} lies on another");
        }
    }
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let documented: BTreeSet<String> = metrics::documented_names();
    let recorded: BTreeSet<String> = rules().iter().filter_map(|rule| rule.record().map(str::to_owned)).collect();
    for (of, expr) in expressions() {
        for name in metrics_in(&expr) {
            let exists = documented.contains(family(&documented, &name))
                || recorded.contains(&name)
                || OF_CADVISOR.contains(&name.as_str());
            assert!(exists, "{of}: {name}");
        }
    }
    let asked: BTreeSet<String> = expressions().iter().flat_map(|(_, expr)| metrics_in(expr)).collect();
    for name in recorded.iter().map(String::as_str).chain(OF_CADVISOR) {
        assert!(asked.contains(name), "nobody asks for {name}");
    }
}

#[test]
fn every_figure_of_ours_is_on_a_dashboard_or_there_is_a_reason() {
    let documented = metrics::documented_names();
    let rules = rules();
    let sources: BTreeMap<&str, &str> =
        rules.iter().filter_map(|rule| rule.record().map(|name| (name, rule.expr()))).collect();
    let mut shown = BTreeSet::new();
    for target in dashboards().iter().flat_map(Dashboard::targets) {
        let direct = metrics_in(&target.expr);
        let indirect = direct.iter().filter_map(|name| sources.get(name.as_str())).flat_map(|expr| metrics_in(expr));
        shown.extend(indirect.chain(direct.clone()).map(|name| family(&documented, &name).to_owned()));
    }
    let reasons: BTreeMap<&str, &str> = NOT_SHOWN.into_iter().collect();
    for name in &documented {
        let reason = reasons.get(name.as_str());
        assert!(shown.contains(name) != reason.is_some(), "{name} is shown, or has a reason why not: {reason:?}");
    }
    assert!(reasons.keys().all(|name| documented.contains(*name)));
}

#[test]
fn every_alert_says_what_to_do_and_has_a_test() {
    let operations = read("docs/operations.md");
    let anchors = super::tidy::anchors(&operations);
    let tests: String = files("prometheus/tests", ".test.yml").into_iter().map(read).collect();
    for rule in rules().iter().filter(|rule| rule.record().is_none()) {
        let name = rule.name();
        let runbook = rule.0["annotations"]["runbook"].as_str().unwrap_or_else(|| panic!("{name} has a runbook"));
        assert_eq!(runbook.lines().count(), 1, "{name}");
        let section = runbook.strip_prefix("docs/operations.md#").and_then(|rest| rest.split(':').next());
        assert!(section.is_some_and(|section| anchors.contains(section)), "{name}: {runbook}");
        assert!(rule.0["annotations"]["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name}");
        assert!(["warning", "critical"].contains(&rule.0["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(tests.contains(&format!("alertname: {name}\n")), "{name} has a test in prometheus/tests");
    }
}
