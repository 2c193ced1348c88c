//! Queries the stack's Prometheus as Grafana does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::compose::address;

/// The polling interval for conditions without a notification; metrics are scraped every 5 s.
const LOOK: Duration = Duration::from_millis(500);

/// The deadline for metrics: a window of one minute, the waiting time of an alert, and a slow machine.
const DEADLINE: Duration = Duration::from_mins(4);

/// A series of an answer: its labels, and its values in time.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) values: Vec<f64>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
    #[serde(default)]
    data: Value,
}

/// Its address. It is never restarted, so the address is looked up once: each look-up takes the engine a while.
static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(|| address("prometheus", 9090));

/// Queries the API; panics if the answer contains warnings.
async fn ask(path: &str, form: &[(&str, &str)]) -> Value {
    let url = format!("http://{}/api/v1/{path}", *ADDRESS);
    let request = awc::Client::builder().timeout(Duration::from_secs(20)).finish().post(&url);
    let mut answer = request.send_form(&form).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    let body = answer.body().limit(64 * 1_024 * 1_024).await.unwrap();
    let answer: Answer = serde_json::from_slice(&body).unwrap();
    assert_eq!((answer.status.as_str(), &answer.error), ("success", &None), "{form:?}");
    assert!(answer.warnings.is_empty() && answer.infos.is_empty(), "{form:?}: {answer:?}");
    answer.data
}

fn series(data: &Value) -> Vec<Series> {
    let value = |pair: &Value| pair[1].as_str().unwrap().parse().unwrap();
    let one = |result: &Value| Series {
        labels: serde_json::from_value(result["metric"].clone()).unwrap(),
        values: match result.get("values") {
            Some(values) => values.as_array().unwrap().iter().map(value).collect(),
            None => vec![value(&result["value"])],
        },
    };
    match data["resultType"].as_str().unwrap() {
        "scalar" => vec![Series { labels: BTreeMap::new(), values: vec![value(&data["result"])] }],
        _ => data["result"].as_array().unwrap().iter().map(one).collect(),
    }
}

/// The current value of an expression.
pub(crate) async fn now(expr: &str) -> Vec<Series> {
    series(&ask("query", &[("query", expr)]).await)
}

/// The values of an expression over the last two minutes.
pub(crate) async fn lately(expr: &str) -> Vec<Series> {
    let time = ask("query", &[("query", "time()")]).await["result"][1].as_str().unwrap().parse::<f64>().unwrap();
    let (start, end) = ((time - 120.0).to_string(), time.to_string());
    series(&ask("query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", "5")]).await)
}

/// The values of a label in the matching series.
pub(crate) async fn label_values(label: &str, matching: &str) -> Vec<String> {
    let found = series(&ask("query", &[("query", &format!("count by ({label}) ({matching})"))]).await);
    found.into_iter().filter_map(|series| series.labels.get(label).cloned()).collect()
}

/// The sum of the current values of an expression; `None` if there are no series.
pub(crate) async fn sum(expr: &str) -> Option<f64> {
    let found = now(expr).await;
    (!found.is_empty()).then(|| found.iter().flat_map(|series| &series.values).sum())
}

/// Waits until an expression has a wanted value; fails with its last value.
pub(crate) async fn wait_until(expr: &str, wanted: impl Fn(f64) -> bool) -> f64 {
    let begun = tokio::time::Instant::now();
    loop {
        let value = sum(expr).await;
        if let Some(value) = value.filter(|value| wanted(*value)) {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "{expr} was {value:?} after {} s", DEADLINE.as_secs());
        tokio::time::sleep(LOOK).await;
    }
}

/// Waits until this alert fires with these labels.
pub(crate) async fn wait_for_alert(name: &str, labels: &str) {
    let expr = format!(r#"count(ALERTS{{alertstate="firing", alertname="{name}", {labels}}})"#);
    wait_until(&expr, |alerts| alerts > 0.5).await;
}
