//! Metrics that `scripts/bottlenecks --record process/src/diagnosis/tests/samples` has recorded of injected causes and of
//! healthy runs. Its first line names the verdict; then each second has the series that changed.

use std::path::{Path, PathBuf};
use std::{fs, iter};

use super::*;

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnosis/tests/samples");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The expected verdict, and the readings.
fn sample(text: &str) -> (String, Vec<Reading>) {
    let (expected, rest) = text.strip_prefix("# expected ").and_then(|text| text.split_once('\n')).unwrap();
    let (mut series, mut readings) = (BTreeMap::new(), Vec::new());
    let mut at = 0.0;
    let take = |at: f64, series: &BTreeMap<&str, &str>| {
        let mut page = String::new();
        for (name, value) in series {
            writeln!(page, "{name} {value}").unwrap();
        }
        Reading::parse(&page, Duration::from_secs_f64(at))
    };
    for line in rest.lines().chain(iter::once("# at 0")) {
        if let Some(next) = line.strip_prefix("# at ") {
            readings.extend(take(at, &series));
            at = next.parse().unwrap();
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            series.insert(name, value);
        }
    }
    (expected.to_owned(), readings)
}

#[test]
fn every_recorded_run_has_its_verdict() {
    let mut recorded = BTreeSet::new();
    for file in samples() {
        let (expected, readings) = sample(&fs::read_to_string(&file).unwrap());
        let verdict = observe(&readings);
        assert_eq!(verdict.what.as_str(), expected, "{}: {verdict:#?}", file.display());
        assert!(verdict.is_measured() && readings.len() > 4, "{}", file.display());
        recorded.insert(file.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    let wanted = [
        "hot-room",
        "chat-server",
        "slow-disk",
        "slow-readers",
        "connect-storm",
        "cpu-limit",
        "memory-limit",
        "other-program",
        "slow-broker",
        "lagging-node",
        "idle",
        "load-20",
        "load-50",
        "bursts",
        "rolling-restart",
    ];
    assert_eq!(recorded, wanted.map(str::to_owned).into());
}
