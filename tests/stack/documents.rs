//! Every Docker command in the documents is valid: its subcommand, its options, and its services.

use std::fs;

use crate::compose::{compose, docker};
use crate::page::{Page, words};
use crate::shown::root;

/// Every command in the documents that begins with `docker`, with its page.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut pages = vec![root().join("README.md")];
    pages.extend(fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut commands = Vec::new();
    for path in pages {
        let page = Page::parse(&fs::read_to_string(&path).unwrap());
        let typed = page
            .blocks
            .iter()
            .filter(|block| block.language == "sh" && block.marks.iter().any(|mark| mark == "docker"));
        let typed = typed.flat_map(|block| block.text.lines()).map(|line| line.split(" #").next().unwrap());
        for command in typed.chain(page.inline.iter().map(|(_, code)| code.as_str())) {
            let words = words(command);
            if words.first().is_some_and(|program| program == "docker") && words.len() > 1 {
                commands.push((path.display().to_string(), words));
            }
        }
    }
    commands
}

#[test]
fn every_docker_command_of_the_documents_is_understood() {
    let commands = commands();
    assert!(commands.len() >= 8, "the documents have Docker commands: {commands:?}");
    for (page, words) in commands {
        let at = format!("{page}: {}", words.join(" "));
        let of_compose = words[1] == "compose";
        // The files of the stack come before the subcommand.
        let begin = if of_compose { 2 } else { 1 };
        let files = words[begin..].chunks(2).take_while(|pair| pair[0] == "-f").flatten();
        let files: Vec<&str> = files.map(String::as_str).collect();
        let Some((subcommand, arguments)) = words[begin + files.len()..].split_first() else { continue };
        let services =
            if of_compose { compose(&[&files[..], &["config", "--services"]].concat()) } else { String::new() };
        let help = if of_compose { compose(&[subcommand, "--help"]) } else { docker(&[subcommand, "--help"]) };
        assert!(help.contains(&format!(" {subcommand} ")), "{at}: there is no such subcommand");
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument.starts_with('-') {
                let is_option = |line: &&str| line.split([' ', ',']).any(|word| word == argument);
                let line = help.lines().find(is_option).unwrap_or_else(|| panic!("{at}: {argument} is not known"));
                let behind = line.split_once(argument.as_str()).unwrap().1;
                // One blank and the type of its value follow; after an option without a value comes its description.
                if behind.starts_with(' ') && !behind.starts_with("  ") {
                    arguments.next().unwrap_or_else(|| panic!("{at}: {argument} needs a value"));
                }
            } else if of_compose {
                // `cp` copies between a path in a service and a path on this machine.
                if subcommand == "cp" && !argument.contains(':') {
                    continue;
                }
                let service = argument.split(['=', ':']).next().unwrap();
                // A word in capitals is a placeholder for the reader.
                let is_known = services.lines().any(|name| name == service) || service == "SERVICE";
                assert!(is_known, "{at}: there is no service {service}");
            }
        }
    }
}

#[test]
fn every_compose_file_of_the_documents_is_valid() {
    let page = Page::parse(&fs::read_to_string(root().join("docs/operations.md")).unwrap());
    let files: Vec<_> = page.blocks.iter().filter(|block| block.language == "yaml").collect();
    assert!(!files.is_empty(), "there is one");
    for block in files {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("compose.override.yaml");
        fs::write(&file, &block.text).unwrap();
        compose(&["-f", "compose.yaml", "-f", file.to_str().unwrap(), "config", "--quiet"]);
    }
}
