//! What people read of the swarm's settings is what the code says.

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

#[test]
fn the_example_of_a_dotenv_file_lists_every_knob_of_the_swarm() {
    let block = |knob: &Knob| {
        // Without a host, the name is the host's own.
        let default = if knob.variable == "BOT_NAME_PREFIX" { "" } else { knob.default };
        format!("# {}\n# ({})\n# {}={default}\n", knob.help, knob.range, knob.variable)
    };
    let blocks: Vec<String> = KNOBS.iter().map(block).collect();
    let blocks = blocks.join("\n");
    assert!(read(".env.example").contains(&format!("\n\n{blocks}\n")), ".env.example must have:\n{blocks}");
}
