//! Twenty containers of bots write their reports into one volume, and one verdict is made of them.

use std::time::Duration;

use crate::compose::{compose, compose_with, containers, docker, inspect, log};
use crate::{disturb, start};

/// A run of twenty containers that ends by itself, and the container that merges its reports.
struct Run {
    merge: String,
}

impl Run {
    /// Begins the run and the merge; `name` is the folder of the reports in the volume.
    async fn begin(name: &str) -> Self {
        start().await;
        disturb();
        compose(&["rm", "--force", "--stop", "bots", "merge"]);
        let variables = [("BOT_SECONDS", "15"), ("BOTS_CONTAINERS", "20"), ("BOTS_RUN", name)];
        compose_with(&variables, &["up", "--detach", "--no-build", "bots", "merge"]);
        assert_eq!(containers("bots").len(), 20);
        Self { merge: containers("merge").remove(0) }
    }

    /// Waits for the merge, and returns its exit code and its output.
    fn verdict(&self) -> (String, String) {
        let code = docker(&["wait", &self.merge]).trim().to_owned();
        (code, docker(&["logs", &self.merge]))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Other tests need bots that do not end.
        compose(&["rm", "--force", "--stop", "bots", "merge"]);
    }
}

#[actix::test]
async fn twenty_containers_of_bots_end_with_one_verdict() {
    let run = Run::begin("whole").await;
    let (code, said) = run.verdict();
    assert!(code == "0" && said.starts_with("KEPT: clean\n"), "{code} {said}");
    assert!(said.contains("bots        200 of 200 were connected"), "{said}");
    assert!(!inspect("merge")["State"]["OOMKilled"].as_bool().unwrap());
}

#[actix::test]
async fn a_container_of_bots_that_was_killed_makes_the_verdict_of_all_invalid() {
    let run = Run::begin("killed").await;
    let victim = &containers("bots")[7];
    // Once it serves metrics, it has begun its report.
    while !log(victim).contains("metrics: ") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    docker(&["kill", victim]);
    let (code, said) = run.verdict();
    let first = said.lines().next().unwrap_or_default();
    assert!(code == "2" && first.starts_with("INVALID: ") && first.contains("has not ended"), "{code} {said}");
    assert!(said.contains("bots        190 of 200 were connected"), "{said}");
}
