//! The documented settings of the swarm agree with the code.

use bot_swarm::config::{KNOBS, Knob};

fn read(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_page_of_the_configuration_lists_every_knob_of_the_swarm() {
    let row = |knob: &Knob| format!("| `{}` | `{}` | {} | {} |", knob.variable, knob.default, knob.range, knob.help);
    let rows: Vec<String> = KNOBS.iter().map(row).collect();
    let page = read("docs/configuration.md");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `BOT_")).collect();
    assert_eq!(told, rows, "the table must be:\n{}\n", rows.join("\n"));
}
