//! The rules and dashboards of the stack, and their queries, read from its files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A YAML file as JSON.
pub(crate) fn yaml(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder with this ending, in order.
pub(crate) fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has a file *{end}");
    paths
}

/// A dashboard.
#[derive(Debug)]
pub(crate) struct Dashboard {
    pub(crate) file: String,
    pub(crate) json: Value,
}

/// Every provisioned dashboard.
pub(crate) fn dashboards() -> Vec<Dashboard> {
    let dashboard = |path: PathBuf| Dashboard {
        file: path.file_name().unwrap().to_string_lossy().into_owned(),
        json: serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    };
    files("grafana-provisioning/dashboards", ".json").into_iter().map(dashboard).collect()
}

/// One query of a panel.
#[derive(Debug)]
pub(crate) struct Target {
    /// Dashboard and panel.
    pub(crate) of: String,
    pub(crate) expr: String,
    pub(crate) legend: String,
    /// Whether the panel queries only the current value.
    pub(crate) instant: bool,
}

impl Dashboard {
    /// Its panels, without the rows.
    pub(crate) fn panels(&self) -> Vec<&Value> {
        let panels = self.json["panels"].as_array().unwrap();
        panels.iter().filter(|panel| panel["type"] != "row").collect()
    }

    /// All its queries, including those of annotations; variables are not replaced.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut targets = Vec::new();
        for panel in self.panels() {
            for target in panel["targets"].as_array().unwrap() {
                targets.push(Target {
                    of: format!("{}: {}", self.file, panel["title"].as_str().unwrap()),
                    expr: text(&target["expr"]),
                    legend: text(&target["legendFormat"]),
                    instant: target["instant"] == true,
                });
            }
        }
        targets
    }
}

/// A recording rule or an alert of Prometheus.
#[derive(Debug)]
pub(crate) struct Rule(pub(crate) Value);

impl Rule {
    /// The name of the recorded series; `None` for an alert.
    pub(crate) fn record(&self) -> Option<&str> {
        self.0["record"].as_str()
    }

    /// The name of the recorded series, or of the alert.
    pub(crate) fn name(&self) -> &str {
        self.record().or(self.0["alert"].as_str()).unwrap_or_else(|| panic!("no name: {self:?}"))
    }

    pub(crate) fn expr(&self) -> &str {
        self.0["expr"].as_str().unwrap_or_else(|| panic!("no expression: {self:?}"))
    }
}

/// All rules of Prometheus.
pub(crate) fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for path in files("prometheus", ".rules.yml") {
        for group in yaml(&path)["groups"].as_array().unwrap() {
            rules.extend(group["rules"].as_array().unwrap().iter().cloned().map(Rule));
        }
    }
    rules
}
