//! Runs every command and example of the documents as written, in a clean folder, in a separate network in which the
//! default ports are free. Output that a document shows is compared.
//!
//! The words after the fence of a block determine the test:
//!
//! | block | test |
//! |---|---|
//! | `sh` | run to its end, must succeed |
//! | `sh server` | started, and kept running for the rest of the page: a chat on its default port |
//! | `sh verdict` | run to its end: the verdict of the bots depends on the machine, so exit codes 0 to 2 are accepted |
//! | `sh measure` | takes minutes and a machine for itself, or does not end: only its options are checked |
//! | `sh docker`, `yaml docker` | needs Docker: tested by `tests/stack` |
//! | `sh kubernetes` | needs a cluster: its folders and files are checked by `kubernetes.rs` |
//! | `sh self` | not run here: it runs this test itself |
//! | `console` | a session: the commands after `$ ` are run, and their output is compared |
//! | `json sent`, `json received` | sent by a client, and received by it afterwards; numbers are ignored |
//! | `json command`, `json event` | read and written by the protocol's own tests |
//! | `env` | lines of a `.env` that the server accepts |
//! | `text` | neither a command nor an example |

pub(crate) mod page;
mod shell;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use self::page::{Block, Page, words};
use self::shell::{CHAT, Shell};
use test_kit::{Client, namespace, within};

use crate::harness::starling;
use crate::tidy;

/// Blocks that are tested elsewhere, or not at all.
const NOT_HERE: [(&str, &str); 8] = [
    ("sh", "docker"),
    ("sh", "kubernetes"),
    ("sh", "self"),
    ("yaml", "docker"),
    ("json", "command"),
    ("json", "event"),
    ("text", ""),
    ("js", ""),
];

/// The documents, as paths from the top folder.
fn pages() -> Vec<(PathBuf, Page)> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut pages: Vec<_> = tidy::files().into_iter().filter(is_page).collect();
    pages.sort();
    let parse = |path: PathBuf| {
        let page = Page::parse(&fs::read_to_string(&path).unwrap());
        (path.strip_prefix(tidy::root()).unwrap().to_owned(), page)
    };
    pages.into_iter().map(parse).collect()
}

/// Tests the blocks of a page, one after the other, in one folder.
async fn try_page(test: &str, name: &str) {
    if !namespace::is_inside(test) {
        return;
    }
    let (_, page) = pages().into_iter().find(|(path, _)| path == name).unwrap();
    let mut shell = Shell::new();
    let mut client = None;
    for block in &page.blocks {
        let Block { line, language, marks, text } = block;
        println!("{name}:{line}");
        let mark = marks.first().map_or("", String::as_str);
        match (language.as_str(), mark) {
            ("sh", "") => {
                let (code, output) = shell.run(text);
                assert_eq!(code, Some(0), "{name}:{line}: {output}");
            }
            ("sh", "server") => shell.start_server(text),
            ("sh", "verdict") => {
                let (code, output) = shell.run(text);
                assert!(matches!(code, Some(0..=2)), "{name}:{line}: {code:?}: {output}");
            }
            ("sh", "measure") => check_command(&shell, name, *line, text),
            ("console", "") => shell.hold(text),
            ("json", "sent") => {
                let client = match &mut client {
                    Some(client) => client,
                    None => client.insert(Client::connect(CHAT, "/ws").await),
                };
                for frame in text.lines() {
                    client.send_text(frame).await;
                }
            }
            ("json", "received") => {
                let client: &mut Client = client.as_mut().expect("it has sent something");
                let shown: Value = serde_json::from_str(text).unwrap();
                let received: Value = serde_json::from_str(&client.text().await).unwrap();
                assert_eq!(without_numbers(received), without_numbers(shown), "{name}:{line}");
            }
            ("env", "") => {
                let folder = tempfile::tempdir().unwrap();
                fs::write(folder.path().join(".env"), text).unwrap();
                let output = starling().run(folder.path(), &["--print-config"], &[]);
                let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
                assert!(output.status.success(), "{name}:{line}: {printed}");
            }
            other => assert!(NOT_HERE.contains(&other), "{name}:{line}: nobody knows how to try a block {other:?}"),
        }
    }
    drop(client);
    for (line, command) in &page.inline {
        check_command(&shell, name, *line, command);
    }
    within("what was started stops", async { shell.stop_servers() }).await;
}

/// The same object with every number replaced by 0.
fn without_numbers(mut object: Value) -> Value {
    for value in object.as_object_mut().unwrap().values_mut().filter(|value| value.is_number()) {
        *value = 0.into();
    }
    object
}

/// Checks that a command of the project exists and has the given options. Other programs pass.
fn check_command(shell: &Shell, name: &str, line: usize, command: &str) {
    let words = words(command);
    let Some((program, arguments)) = words.split_first() else { return };
    let at = format!("{name}:{line}: {command}");
    let help = match program.as_str() {
        "starling" | "bot-swarm" => {
            let is_word = |word: &&String| word.starts_with(|first: char| first.is_ascii_lowercase());
            let subcommands: Vec<&str> = arguments.iter().take_while(is_word).map(String::as_str).collect();
            // The last words may be arguments of a command instead of its name.
            let mut helps = (1..=subcommands.len()).rev().map(|count| subcommands[..count].join(" "));
            let help = helps.find_map(|words| help_of(shell, &format!("{program} {words}")));
            let help = if subcommands.is_empty() { help_of(shell, program) } else { help };
            help.unwrap_or_else(|| panic!("{at}: there is no such command"))
        }
        script if script.starts_with("scripts/") && script != "scripts/" => {
            help_of(shell, script).unwrap_or_else(|| panic!("{at}: there is no such script"))
        }
        "cargo" => return check_cargo(&at, arguments),
        "curl" if !arguments.is_empty() => {
            let (code, output) = shell.run(command);
            assert_eq!(code, Some(0), "{at}: {output}");
            return;
        }
        _ => return,
    };
    for flag in arguments.iter().filter(|word| word.starts_with("--")) {
        let flag = flag.split('=').next().unwrap();
        assert!(help.contains(flag), "{at}: {flag} is not in its help: {help}");
    }
}

/// The help text of a command; `None` if the command does not exist.
fn help_of(shell: &Shell, command: &str) -> Option<String> {
    let (code, output) = shell.run(&format!("{command} --help"));
    (code == Some(0)).then_some(output)
}

/// Checks that the targets of a cargo command exist.
fn check_cargo(at: &str, arguments: &[String]) {
    let manifests = ["Cargo.toml", "actors/Cargo.toml", "bot-swarm/Cargo.toml", "protocol/Cargo.toml"];
    let manifests: String = manifests.iter().map(|path| fs::read_to_string(tidy::root().join(path)).unwrap()).collect();
    let options = ["--bin", "--bench", "--test", "--example", "--package", "-p"];
    for pair in arguments.windows(2).filter(|pair| options.contains(&pair[0].as_str())) {
        assert!(manifests.contains(&format!("name = \"{}\"", pair[1])), "{at}: there is no {}", pair[1]);
    }
}

macro_rules! pages {
    ($($test:ident = $page:literal;)+) => {
        const TRIED: &[&str] = &[$($page),+];
        $(
            #[actix::test]
            async fn $test() {
                try_page(concat!("documents::", stringify!($test)), $page).await;
            }
        )+
    };
}

pages! {
    the_readme_is_true = "README.md";
    the_page_for_contributors_is_true = "CONTRIBUTING.md";
    the_page_of_the_architecture_is_true = "docs/architecture.md";
    the_page_of_the_configuration_is_true = "docs/configuration.md";
    the_page_of_the_history_is_true = "docs/history.md";
    the_page_of_the_metrics_is_true = "docs/metrics.md";
    the_page_of_kubernetes_is_true = "docs/kubernetes.md";
    the_page_of_several_nodes_is_true = "docs/nodes.md";
    the_page_of_operations_is_true = "docs/operations.md";
    the_page_of_the_chat_page_is_true = "docs/page.md";
    the_page_of_the_client_is_true = "clients/js/README.md";
    the_page_of_the_figures_is_true = "docs/performance.md";
    the_page_of_the_protocol_is_true = "docs/protocol.md";
    the_page_of_security_is_true = "docs/security.md";
    the_page_of_the_swarm_is_true = "docs/swarm.md";
    the_page_of_the_reports_is_true = "docs/swarm-reports.md";
}

#[test]
fn every_page_that_calls_a_program_says_where_it_is() {
    let calls = |block: &Block| {
        // In a cluster, `starling` is the name of an object.
        let is_shell = ["sh", "console"].contains(&block.language.as_str()) && block.marks != ["kubernetes"];
        is_shell && block.text.split_whitespace().any(|word| ["starling", "bot-swarm"].contains(&word))
    };
    for (path, page) in pages() {
        if path.starts_with("docs") && page.blocks.iter().any(calls) {
            let text = fs::read_to_string(tidy::root().join(&path)).unwrap();
            assert!(text.contains("(../README.md#the-programs)"), "{}", path.display());
        }
    }
}

#[test]
fn every_page_with_a_command_or_an_example_is_tried() {
    for (path, page) in pages() {
        let path = path.to_str().unwrap();
        // Examples in Rust are compiled as documentation tests of their package.
        let is_text = |block: &Block| block.marks.is_empty() && block.language == "text";
        let has_any = page.blocks.iter().any(|block| !is_text(block) && !block.language.starts_with("rust"));
        assert!(!has_any || TRIED.contains(&path), "{path}");
    }
    for page in TRIED {
        assert!(tidy::root().join(page).exists(), "{page}");
    }
}
