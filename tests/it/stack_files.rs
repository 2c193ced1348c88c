//! The files of the stack agree with each other and with the programs that they run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use bot_swarm::config::KNOBS;
use serde_json::Value;
use starling::Config;
use starling::config::STACK_VARIABLES;

use crate::shown::{read, root, yaml};

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
    let (workspace, locked) = (read("Cargo.toml"), read("Cargo.lock"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = [")).unwrap().trim_end_matches(']');
    let members: Vec<&str> = members.split(", ").map(|member| member.trim_matches('"')).collect();
    for member in &members {
        assert!(dockerfile.contains(&format!("\nCOPY {member}/Cargo.toml {member}/\n")), "{member}");
        assert!(context.contains(&format!("\n!{member}/Cargo.toml\n")), "{member}");
        // The images need neither fuzzing, tests, measurements nor clients.
        if !["benches/fanout", "clients/rust", "fuzz", "test-kit"].contains(member) {
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
            // `cargo clean -p` removes whatever has the name of a target of the package. If that is a dependency too,
            // it and its dependents are built a second time, outside their layer.
            assert!(!locked.contains(&format!("\nname = \"{name}\"\n")), "the bench {name} has the name of a crate");
        }
    }
}

#[test]
fn nodes_share_neither_a_folder_nor_a_port_and_are_reached_through_haproxy() {
    let (one, many) = (yaml("compose.yaml"), yaml("compose.nodes.yaml"));
    let text = read("compose.nodes.yaml");
    let (chat, services) = (&many["services"]["chat"], many["services"].as_object().unwrap());
    assert!(text.contains("\n    ports: !reset []\n"), "the port is published by HAProxy");
    assert!(text.contains("\n    volumes: !override\n      - /data\n"), "each container has a volume of its own");
    assert_eq!(chat["depends_on"]["nats"]["condition"], "service_healthy");
    assert!(chat["environment"].get("CHAT_NODE_NAME").is_none(), "each node has the name of its container");
    assert_eq!(services["haproxy"]["ports"], one["services"]["chat"]["ports"]);
    assert_eq!(services["bots"]["environment"]["BOT_SERVER_URL"], "ws://haproxy:8080/ws");

    let added = services.iter().filter(|(name, _)| one["services"].get(name).is_none());
    let mut count = 0;
    for (name, service) in added {
        count += 1;
        for part in ["mem_limit", "memswap_limit", "cpus", "pids_limit", "healthcheck", "restart", "read_only"] {
            assert!(service.get(part).is_some(), "{name}: {part}");
        }
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert!(!service["image"].as_str().unwrap().ends_with(":latest"), "{name}");
    }
    assert_eq!(count, 2);
}

#[test]
fn haproxy_and_nats_accept_their_files_and_do_what_nodes_need() {
    let accepted = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root()).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run scripts/install-test-tools"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let path = std::env::var("PATH").unwrap();
    let haproxy = path.split(':').chain(["/usr/sbin"]).map(|folder| format!("{folder}/haproxy"));
    let haproxy = haproxy.into_iter().find(|file| Path::new(file).exists()).expect("run scripts/install-test-tools");
    accepted(&haproxy, &["-c", "-f", "haproxy/haproxy.cfg"]);
    accepted("target/test-tools/bin/nats-server", &["-t", "-c", "nats/nats.conf"]);

    let lines = read("haproxy/haproxy.cfg");
    let has = |line: &str| assert!(lines.lines().any(|found| found.trim().starts_with(line)), "haproxy.cfg: {line}");
    has("bind :8080");
    has("balance leastconn");
    has("option httpchk GET /readyz");
    has("server-template node 10 chat:8080 check");
    let tunnel = lines.lines().find_map(|line| line.trim().strip_prefix("timeout tunnel")).unwrap();
    let tunnel: u64 = tunnel.trim().trim_end_matches('s').parse().unwrap();
    assert!(tunnel > 2 * Config::default().heartbeat_seconds);

    let nats = read("nats/nats.conf");
    assert!(nats.contains("sync_interval: always") && nats.contains("\nlisten: 0.0.0.0:4222\n"));
    let url = &yaml("compose.nodes.yaml")["services"]["chat"]["environment"]["CHAT_NATS_URL"];
    assert_eq!(url, "${CHAT_NATS_URL:-nats://nats:4222}");
}

#[test]
fn prometheus_finds_one_server_or_every_node() {
    assert_eq!(yaml("prometheus/prometheus.yml")["scrape_config_files"][0], "chat.yml");
    let jobs = ["prometheus/chat.yml", "prometheus/chat.nodes.yml"].map(yaml);
    let [one, many] = jobs.each_ref().map(|file| &file["scrape_configs"][0]);
    assert_eq!((&one["job_name"], &many["job_name"]), (&"chat".into(), &"chat".into()), "the rules name the job");
    assert_eq!(one["static_configs"][0]["targets"][0], "chat:8080");
    let finding = &many["dns_sd_configs"][0];
    assert_eq!((&finding["names"][0], &finding["port"]), (&"chat".into(), &8080.into()));
    let mounts = &yaml("compose.nodes.yaml")["services"]["prometheus"]["volumes"];
    assert_eq!(mounts[0], "./prometheus/chat.nodes.yml:/etc/prometheus/chat.yml:ro");
}
