//! The manifests in `deploy/kubernetes/`: valid for Kubernetes, and in agreement with the server, its image and the
//! stack. No cluster is needed: `kubectl kustomize` renders them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use starling::Config;
use test_kit::raw;

use crate::documents::page::{Page, words};
use crate::harness::TestServer;
use crate::shown::{read, root, yaml};

/// Every folder that `kubectl apply -k` takes.
const FOLDERS: [&str; 3] = ["server", "nodes", "example"];

/// The oldest version of Kubernetes with everything that the manifests use, and the newest whose schemas the tool has.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// The manifests of a folder as text.
fn rendered(folder: &str) -> String {
    let folder = root().join("deploy/kubernetes").join(folder);
    let output = Command::new("kubectl").arg("kustomize").arg(&folder).output();
    let output = output.unwrap_or_else(|error| panic!("kubectl: {error}; run scripts/install-test-tools"));
    // A warning is about a field that a later version refuses.
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", folder.display());
    String::from_utf8(output.stdout).unwrap()
}

/// The manifests of a folder by their kind and name.
fn manifests(folder: &str) -> BTreeMap<(String, String), Value> {
    let parse = |text: &str| {
        let manifest: Value = serde_saphyr::from_str(text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        ((text(&manifest["kind"]), text(&manifest["metadata"]["name"])), manifest)
    };
    rendered(folder).split("\n---\n").map(parse).collect()
}

fn manifest(folder: &str, kind: &str) -> Value {
    let found = manifests(folder).into_iter().find(|((of, _), _)| of == kind);
    found.unwrap_or_else(|| panic!("{folder} has no {kind}")).1
}

fn pod(folder: &str) -> Value {
    manifest(folder, "StatefulSet")["spec"]["template"]["spec"].clone()
}

/// Checks manifests against the schemas of Kubernetes; a field that they do not have is an error.
fn validate(manifests: &Path, version: &str) -> Output {
    let mut command = Command::new("python3");
    command.args(["-m", "kubernetes_validate", "--strict", "-k", version]).arg(manifests);
    command.env("PYTHONPATH", root().join("target/test-tools/kubernetes-validate"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").output().unwrap()
}

#[test]
fn every_manifest_is_valid_in_the_oldest_and_the_newest_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifests.yaml");
    for of in FOLDERS {
        let text = rendered(of);
        fs::write(&file, &text).unwrap();
        for version in VERSIONS {
            let output = validate(&file, version);
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(output.status.success(), "{of}, Kubernetes {version}: {said}");
            assert_eq!(said.matches(" passed for resource ").count(), text.split("\n---\n").count(), "{said}");
        }
        // The tool detects a field that does not exist.
        fs::write(&file, text.replace("failureThreshold", "failureTreshold")).unwrap();
        assert!(!validate(&file, VERSIONS[0]).status.success(), "{of}: a misspelt field is found");
    }
}

/// The variables of the server's container that the manifests set, with placeholders for the values from Kubernetes.
fn variables(folder: &str) -> Vec<(String, String)> {
    let settings = manifest(folder, "ConfigMap")["data"].as_object().unwrap().clone();
    let settings = settings.into_iter().map(|(name, value)| (name, value.as_str().unwrap().to_owned()));
    let container = pod(folder)["containers"][0].clone();
    let more = container["env"].as_array().cloned().unwrap_or_default().into_iter().map(|variable| {
        let value = match (variable.get("value"), &variable["valueFrom"]["fieldRef"]["fieldPath"]) {
            (Some(value), _) => value.as_str().unwrap().replace("$(NATS_PASSWORD)", "password"),
            (None, Value::String(field)) if field == "metadata.name" => "starling-0".to_owned(),
            (None, _) => "password".to_owned(),
        };
        (variable["name"].as_str().unwrap().to_owned(), value)
    });
    settings.chain(more).collect()
}

#[test]
fn the_server_accepts_the_settings_and_stops_within_the_grace() {
    for folder in FOLDERS {
        let config = Config::from_variables(variables(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert_eq!(config.nats().is_some(), folder != "server", "{folder}");
        let pod = pod(folder);
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        let before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
        assert!(grace > before + 2 * config.drain_seconds, "{folder}: {grace} s");
    }
    let several = Config::from_variables(variables("nodes")).unwrap();
    let nodes = &manifest("nodes", "StatefulSet")["spec"]["replicas"];
    assert_eq!((several.nats_replicas.value, nodes), (3, &3.into()));
    assert_eq!(several.node_name, "starling-0", "each node has the name of its pod");
}

#[test]
fn a_pod_has_the_user_the_folder_and_the_port_of_the_image_and_no_more_rights() {
    let image = read("Dockerfile");
    let (_, image) = image.rsplit_once("\nFROM ").unwrap();
    for folder in FOLDERS {
        let pod = pod(folder);
        let (user, container) = (&pod["securityContext"], &pod["containers"][0]);
        let id = &user["runAsUser"];
        assert!(image.contains(&format!("\nUSER {id}:{}\n", user["runAsGroup"])), "{folder}: {user}");
        assert_eq!((&user["runAsNonRoot"], &user["fsGroup"]), (&true.into(), id), "{folder}");
        assert_eq!(user["seccompProfile"]["type"], "RuntimeDefault", "{folder}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{folder}");
        let rights = &container["securityContext"];
        assert_eq!(
            (&rights["readOnlyRootFilesystem"], &rights["allowPrivilegeEscalation"]),
            (&true.into(), &false.into())
        );
        assert_eq!(rights["capabilities"]["drop"][0], "ALL", "{folder}");

        let claim = &manifest(folder, "StatefulSet")["spec"]["volumeClaimTemplates"][0]["metadata"]["name"];
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| &mount["name"] == claim).expect("the volume is mounted");
        let path = mount["mountPath"].as_str().unwrap();
        assert!(image.contains(&format!(" CHAT_HISTORY_PATH={path}/")), "{folder}: {path}");
        assert!(image.contains(&format!("\nEXPOSE {}\n", container["ports"][0]["containerPort"])), "{folder}");
        assert!(container["resources"]["limits"]["memory"].is_string(), "{folder}: the server keeps below it");
    }
}

#[test]
fn secrets_are_named_and_never_written_down() {
    let secrets: Vec<_> = Config::knobs().into_iter().filter(|knob| knob.is_secret).map(|knob| knob.variable).collect();
    for folder in FOLDERS {
        assert!(!manifests(folder).keys().any(|(kind, _)| kind == "Secret"), "{folder}");
        let set = variables(folder);
        assert!(!set.iter().any(|(name, _)| secrets.contains(&name.as_str())), "{folder}");
        let from = pod(folder)["containers"][0]["envFrom"][1]["secretRef"].clone();
        assert_eq!((&from["name"], &from["optional"]), (&"starling".into(), &true.into()), "{folder}");
    }
    let variables = pod("nodes")["containers"][0]["env"].clone();
    let password = variables.as_array().unwrap().iter().find(|variable| variable["name"] == "NATS_PASSWORD").unwrap();
    let of_nats = &yaml("deploy/kubernetes/nats-values.yaml")["container"]["env"]["CHAT_PASSWORD"]["valueFrom"];
    assert_eq!(&password["valueFrom"], of_nats, "the nodes and NATS have one password");
}

#[actix::test]
async fn every_probe_and_every_path_of_the_ingress_is_a_route_and_figures_are_not_among_them() {
    let server = TestServer::start(&[]);
    for folder in FOLDERS {
        let container = pod(folder)["containers"][0].clone();
        for (probe, path) in [("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")] {
            let asked = &container[format!("{probe}Probe")]["httpGet"];
            assert_eq!((&asked["path"], &asked["port"]), (&path.into(), &container["ports"][0]["name"]), "{folder}");
            assert_eq!(raw::get(&server, path).await.status, 200, "{path}");
        }
    }
    let ingress = manifest("example", "Ingress");
    let paths = ingress["spec"]["rules"][0]["http"]["paths"].as_array().unwrap();
    let public: BTreeSet<&str> = paths.iter().map(|path| path["path"].as_str().unwrap()).collect();
    assert_eq!(public, BTreeSet::from(["/", "/api", "/healthz", "/lab", "/web", "/ws"]));
    assert_eq!(paths[0]["pathType"], "Exact", "a prefix / would be everything");
    let prometheus = manifest("server", "StatefulSet")["spec"]["template"]["metadata"]["annotations"].clone();
    let figures = prometheus["prometheus.io/path"].as_str().unwrap();
    assert_eq!(raw::get(&server, figures).await.status, 200);
}

#[test]
fn every_selector_finds_the_pods_and_the_pods_find_nats() {
    for folder in FOLDERS {
        let all = manifests(folder);
        let set = manifest(folder, "StatefulSet");
        let labels = &set["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&set["spec"]["selector"]["matchLabels"], labels, "{folder}");
        let service = &all[&("Service".to_owned(), set["spec"]["serviceName"].as_str().unwrap().to_owned())];
        assert_eq!(service["spec"]["clusterIP"], "None", "{folder}: a name for each pod");
        for ((kind, name), manifest) in &all {
            let selector = match kind.as_str() {
                "Service" => &manifest["spec"]["selector"],
                "PodDisruptionBudget" => &manifest["spec"]["selector"]["matchLabels"],
                "NetworkPolicy" => &manifest["spec"]["podSelector"]["matchLabels"],
                _ => continue,
            };
            assert_eq!(selector, labels, "{folder}: {kind} {name}");
        }
        let has_budget = all.keys().any(|(kind, _)| kind == "PodDisruptionBudget");
        assert_eq!(has_budget, folder != "server", "{folder}: one server alone can only forbid maintenance");
    }
    let egress = manifest("nodes", "NetworkPolicy")["spec"]["egress"].clone();
    assert_eq!(egress[0]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "nats");
    assert_eq!(egress[0]["ports"][0]["port"], 4222);
    assert_eq!(manifest("server", "NetworkPolicy")["spec"]["egress"], Value::Array(vec![]));
}

#[test]
fn nats_stores_three_copies_and_syncs_each_record() {
    let nats = yaml("deploy/kubernetes/nats-values.yaml")["config"].clone();
    let replicas = nats["cluster"]["replicas"].as_u64().unwrap();
    assert_eq!((&nats["cluster"]["enabled"], replicas), (&true.into(), 3));
    assert_eq!(nats["jetstream"]["merge"]["sync_interval"], "always");
    let (stack, accounts) = (read("nats/nats.conf"), &nats["merge"]["accounts"]);
    let seen = accounts["SYS"]["exports"][0]["service"].as_str().unwrap();
    assert!(stack.contains(&format!("exports: [{{ service: \"{seen}\" }}]")), "{seen}");
    assert_eq!(accounts["CHAT"]["imports"][0]["service"]["subject"], seen);
    let user = accounts["CHAT"]["users"][0]["user"].as_str().unwrap();
    let (_, url) = variables("nodes").into_iter().find(|(name, _)| name == "CHAT_NATS_URL").unwrap();
    assert_eq!(url, format!("nats://{user}:password@nats:4222"));
}

#[test]
fn the_page_names_folders_and_files_that_are_there() {
    let page = Page::parse(&read("docs/kubernetes.md"));
    let blocks = page.blocks.iter().filter(|block| block.marks == ["kubernetes"]);
    let mut applied = BTreeSet::new();
    for line in blocks.flat_map(|block| block.text.lines()) {
        let words = words(line.split(" #").next().unwrap());
        for pair in words.windows(2).filter(|pair| ["-k", "--values"].contains(&pair[0].as_str())) {
            assert!(root().join(&pair[1]).exists(), "{line}");
            applied.insert(pair[1].clone());
        }
    }
    let all = ["nats-values.yaml", "nodes", "server"].map(|name| format!("deploy/kubernetes/{name}"));
    assert_eq!(applied, BTreeSet::from(all));
}
