//! The files of the stack agree with each other and with the programs that they run.

use std::collections::{BTreeMap, BTreeSet};

use bot_swarm::config::KNOBS;
use serde_json::Value;
use starling::Config;
use starling::config::STACK_VARIABLES;

use crate::shown::{read, yaml};

/// Variables that the containers determine; users of the stack cannot set them.
const OF_CONTAINERS: [&str; 7] = [
    "CHAT_BIND",
    "CHAT_HISTORY_PATH",
    "CHAT_WEB_DIR",
    "BOT_SERVER_URL",
    "BOT_NAME_PREFIX",
    "BOT_METRICS_BIND",
    "BOT_REPORT",
];

/// The variables that `compose.yaml` interpolates, with their defaults.
fn interpolated() -> BTreeMap<String, String> {
    let compose = read("compose.yaml");
    let code = compose.lines().map(|line| line.split(" #").next().unwrap());
    let mut variables = BTreeMap::new();
    for line in code {
        for part in line.split("${").skip(1) {
            let (name, default) =
                part.split_once('}').unwrap().0.split_once(":-").expect("every variable has a default");
            let before = variables.insert(name.to_owned(), default.to_owned());
            assert!(before.is_none_or(|before| before == default), "{name} has two defaults");
        }
    }
    variables
}

/// A service's variables, with their values if they have one.
fn environment(service: &str) -> BTreeMap<String, Value> {
    let compose = yaml("compose.yaml");
    let variables = compose["services"][service]["environment"].as_object().unwrap();
    variables.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[test]
fn compose_passes_on_every_knob_that_its_containers_do_not_decide() {
    let server = Config::knobs().into_iter().map(|knob| knob.variable).collect::<Vec<_>>();
    let bots = KNOBS.iter().map(|knob| knob.variable).collect();
    for (service, knobs) in [("chat", server), ("bots", bots)] {
        let passed = environment(service);
        for (name, value) in &passed {
            assert!(knobs.contains(&name.as_str()), "{service} knows no {name}");
            let from_outside = value.is_null() || value.as_str().is_some_and(|value| value.starts_with("${"));
            assert_ne!(from_outside, OF_CONTAINERS.contains(&name.as_str()), "{name}: {value}");
        }
        for knob in knobs {
            let there = passed.contains_key(knob) || OF_CONTAINERS.contains(&knob);
            assert!(there, "compose.yaml, services.{service}.environment: there must be a line `{knob}:`");
        }
    }
}

#[test]
fn the_example_of_a_dotenv_file_has_every_variable_of_the_stack() {
    let example = read(".env.example");
    let page = read("docs/configuration.md");
    let defaults = interpolated();
    let server: BTreeSet<&str> = Config::knobs().iter().map(|knob| knob.variable).collect();
    let mut rows = Vec::new();
    for (name, default) in &defaults {
        assert!(example.contains(&format!("\n# {name}={default}\n")), ".env.example: # {name}={default}");
        if !name.starts_with("BOT_") && !server.contains(name.as_str()) {
            let about = example.lines().zip(example.lines().skip(1));
            let about = about.filter(|(_, line)| line.starts_with(&format!("# {name}="))).map(|(about, _)| about);
            let about = about.last().unwrap().trim_start_matches("# ");
            rows.push(format!("| `{name}` | `{default}` | {about} |"));
        }
    }
    for row in &rows {
        assert!(page.contains(row), "docs/configuration.md: {row}");
    }
    for knob in KNOBS.iter().filter(|knob| !OF_CONTAINERS.contains(&knob.variable)) {
        let default = defaults.get(knob.variable).map_or(knob.default, String::as_str);
        let block = format!("\n# {}.\n# ({})\n# {}={default}\n", knob.help, knob.range, knob.variable);
        assert!(example.contains(&block), ".env.example: {block}");
    }
    // The example lists no unused variables.
    let names = example.lines().filter_map(|line| line.strip_prefix("# ")?.split_once('=')).map(|(name, _)| name);
    for name in names.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_')) {
        let is_read =
            defaults.contains_key(name) || server.contains(name) || KNOBS.iter().any(|knob| knob.variable == name);
        assert!(is_read, ".env.example: {name}");
    }
}

#[test]
fn what_is_for_the_stack_alone_is_no_error_of_the_server() {
    let of_stack: BTreeSet<&str> = STACK_VARIABLES.into();
    let told = interpolated();
    let told: BTreeSet<&str> = told.keys().map(String::as_str).filter(|name| name.starts_with("CHAT_")).collect();
    assert_eq!(told, of_stack);
    let variables = STACK_VARIABLES.map(|name| (name.to_owned(), "1".to_owned()));
    assert_eq!(Config::from_variables(variables), Ok(Config::default()));
}

#[test]
fn a_container_is_given_longer_to_stop_than_its_drain_takes() {
    let seconds = |value: &Value| {
        let text = value.as_str().unwrap().rsplit(":-").next().unwrap();
        text.trim_end_matches(['s', '}']).parse::<f64>().unwrap()
    };
    let compose = yaml("compose.yaml");
    let grace = |service: &str| seconds(&compose["services"][service]["stop_grace_period"]);
    assert!(grace("chat") > 2.0 * Config::default().drain_seconds as f64);
    assert!(grace("bots") > bot_swarm::Config::default().drain_seconds);
}

#[test]
fn everything_starts_unless_some_are_named_and_the_chat_can_be_named_alone() {
    let compose = yaml("compose.yaml");
    for (name, service) in compose["services"].as_object().unwrap() {
        assert!(service.get("profiles").is_none(), "{name} would not start with the rest");
    }
    assert!(compose["services"]["chat"].get("depends_on").is_none(), "it would bring others along");
    let needs = |service: &str| compose["services"][service]["depends_on"].as_object().unwrap().clone();
    assert_eq!(needs("bots")["chat"]["condition"], "service_healthy");
    assert!(!needs("grafana").contains_key("bots"), "the figures can be looked at without them");
    assert_eq!(needs("merge")["bots"]["condition"], "service_started");
}

#[test]
fn bots_can_be_many_and_no_image_is_the_newest_whatever_that_is() {
    let compose = yaml("compose.yaml");
    let bots = compose["services"]["bots"].as_object().unwrap();
    assert!(!bots.contains_key("container_name") && !bots.contains_key("ports"));
    let services = compose["services"].as_object().unwrap();
    let built = services.values().filter(|service| service.get("build").is_some());
    let built: BTreeSet<&str> = built.map(|service| service["image"].as_str().unwrap()).collect();
    for (name, service) in services {
        let image = service["image"].as_str().unwrap();
        assert_eq!(built.contains(image), image.ends_with(":latest"), "{name}: {image}");
        assert!(
            service.get("build").is_some() || !built.contains(image) || service["pull_policy"] == "never",
            "{name}"
        );
        assert!(service.get("mem_limit").is_some() && service.get("cpus").is_some(), "{name} has limits");
        for port in service.get("ports").and_then(Value::as_array).into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port} is for this machine alone");
        }
    }
}

#[test]
fn both_images_are_built_by_the_same_stages() {
    let stages = |file: &str| {
        let text = read(file);
        assert!(!text.contains("# syntax="), "{file}: a frontend would have to be fetched");
        let (_, rest) = text.split_once("\nFROM rust:").unwrap();
        let (stages, image) = rest.split_once("\nFROM gcr.io/distroless/").unwrap();
        assert!(image.contains("\nUSER 65532:65532\n") && image.contains("\nSTOPSIGNAL SIGTERM\n"), "{file}");
        (stages.to_owned(), image.to_owned())
    };
    let (server, server_image) = stages("Dockerfile");
    let (bots, _) = stages("Dockerfile.bots");
    assert_eq!(server, bots, "the second build takes what the first made only where both say the same");
    assert!(server_image.contains(r#"CMD ["starling", "healthcheck"]"#));
}

#[test]
fn every_crate_and_bench_of_the_workspace_is_where_the_images_are_built() {
    let (dockerfile, context) = (read("Dockerfile"), read(".dockerignore"));
    let workspace = read("Cargo.toml");
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = [")).unwrap().trim_end_matches(']');
    let members: Vec<&str> = members.split(", ").map(|member| member.trim_matches('"')).collect();
    for member in &members {
        assert!(dockerfile.contains(&format!("\nCOPY {member}/Cargo.toml {member}/\n")), "{member}");
        assert!(context.contains(&format!("\n!{member}/Cargo.toml\n")), "{member}");
        // The images need neither fuzzing, tests nor clients.
        if !["clients/rust", "fuzz", "test-kit"].contains(member) {
            assert!(dockerfile.contains(&format!("\nCOPY {member}/src {member}/src\n")), "{member}");
            assert!(context.contains(&format!("\n!{member}/src\n")), "{member}");
        }
    }
    // Cargo refuses a manifest whose benches are missing.
    for folder in members.iter().map(|member| format!("{member}/")).chain([String::new()]) {
        let manifest = read(format!("{folder}Cargo.toml"));
        for bench in manifest.split("[[bench]]\nname = \"").skip(1) {
            let name = bench.split('"').next().unwrap();
            let file = format!(" {folder}benches/{name}.rs ");
            assert!(dockerfile.contains(&file), "{file}");
        }
    }
}
