//! Documents, examples and lists agree with the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use starling::Config;
use starling::config::STACK_VARIABLES;

use crate::transcripts;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the repository, except build output and git's own files.
pub(crate) fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_symlink() || ["target", ".git", ".env", "data"].contains(&name.as_ref()) {
                continue;
            }
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn the_page_of_the_configuration_says_what_the_code_says() {
    let row = |knob: &starling::config::Knob| {
        format!("| `{}` | `{}` | {} | {} |", knob.variable, knob.default, knob.range, knob.about)
    };
    let rows: Vec<String> = Config::knobs().iter().map(row).collect();
    let page = read("docs/configuration.md");
    // The variables of the stack have a separate table.
    let of_stack = |line: &str| STACK_VARIABLES.iter().any(|name| line.starts_with(&format!("| `{name}`")));
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `CHAT_") && !of_stack(line)).collect();
    assert_eq!(told, rows, "the table must be:\n{}\n", rows.join("\n"));
}

#[test]
fn the_example_of_a_dotenv_file_lists_every_knob_with_its_default() {
    let block = |knob: &starling::config::Knob| {
        format!("# {}\n# ({})\n# {}={}\n", knob.about, knob.range, knob.variable, knob.default)
    };
    let blocks: Vec<String> = Config::knobs().iter().map(block).collect();
    let example = read(".env.example");
    let blocks = blocks.join("\n");
    assert!(example.ends_with(&format!("\n\n{blocks}")), ".env.example must end with:\n{blocks}");
    // Without the `# ` before its variables, it is a valid configuration.
    let pairs = example.lines().filter_map(|line| line.strip_prefix("# ")?.split_once('='));
    let pairs = pairs.filter(|(name, _)| name.starts_with("CHAT_")).map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(Config::from_variables(pairs), Ok(Config::default()));
}

#[test]
fn every_transcript_is_a_test() {
    let files = fs::read_dir(transcripts::folder()).unwrap().map(|entry| entry.unwrap().path());
    let files: BTreeSet<String> = files.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let tests: BTreeSet<String> = transcripts::NAMES.iter().map(|name| format!("{name}.txt")).collect();
    assert_eq!(files, tests);
}

#[test]
fn every_test_file_is_part_of_the_test() {
    let main = read("tests/it/main.rs");
    for entry in fs::read_dir(root().join("tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|extension| extension == "rs") && name != "main" {
            assert!(main.contains(&format!("mod {name};")), "{name}.rs");
        }
    }
}

/// The anchors of a page's headings, as links use them.
pub(crate) fn anchors(page: &str) -> BTreeSet<String> {
    let allowed = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |line: &str| {
        let text: String = line.trim_start_matches('#').trim().to_lowercase().chars().filter(allowed).collect();
        text.replace(' ', "-")
    };
    page.lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let is_document = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let pages: BTreeMap<PathBuf, String> =
        files().into_iter().filter(is_document).map(|path| (path.clone(), read(&path))).collect();
    assert!(pages.contains_key(&root().join("README.md")), "there is a README.md");
    let mut broken = Vec::new();
    for (path, page) in &pages {
        for link in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let leads = match fs::canonicalize(&target) {
                Err(_) => false,
                Ok(_) if anchor.is_empty() => true,
                Ok(target) => pages.get(&target).is_some_and(|page| anchors(page).contains(anchor)),
            };
            if !leads {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_records_of_decisions_are_numbered_without_holes_and_all_are_listed() {
    let names = fs::read_dir(root().join("docs/decisions")).unwrap();
    let names: BTreeSet<String> =
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let architecture = read("docs/architecture.md");
    for (number, name) in (1..).zip(&names) {
        assert!(name.starts_with(&format!("{number:04}-")), "{name} should have the number {number}");
        let record = read(format!("docs/decisions/{name}"));
        assert!(record.starts_with(&format!("# {number}. ")), "{name}: the heading begins with the number");
        for part in ["Context", "Decision", "Consequences"] {
            assert!(record.contains(&format!("\n**{part}.**")), "{name}: {part}");
        }
        assert!(architecture.contains(&format!("](decisions/{name})")), "docs/architecture.md does not list {name}");
    }
}

#[test]
fn no_file_names_a_path_of_the_machine_it_was_written_on() {
    // A folder directly below `/` may be a valid path in a file, like `/data`.
    let own = (root().components().count() > 2).then(|| format!("{}/", root().display()));
    let places: Vec<String> = own.into_iter().chain(["root", "home", "Users"].map(|top| format!("/{top}/"))).collect();
    let mut found = Vec::new();
    for path in files() {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in (1..).zip(text.lines()) {
            for place in &places {
                // A match within a longer path is a different path.
                let names_it = line.match_indices(place.as_str()).any(|(at, _)| {
                    !line[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "/.}_-".contains(c))
                });
                if names_it {
                    found.push(format!("{}:{number}: {line}", path.display()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
