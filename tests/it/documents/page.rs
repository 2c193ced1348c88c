//! The commands and examples of a Markdown page.

use std::ops::Range;

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The line of its opening fence, from 1.
    pub(crate) line: usize,
    /// The first word after the fence.
    pub(crate) language: String,
    /// The other words after the fence, which determine the test.
    pub(crate) marks: Vec<String>,
    pub(crate) text: String,
}

/// A page with its blocks, and the code in its sentences.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) blocks: Vec<Block>,
    /// Each with its line. Code that continues on the next line is joined with a blank.
    pub(crate) inline: Vec<(usize, String)>,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut prose = String::new();
        let mut lines = (1..).zip(text.lines());
        while let Some((line, first)) = lines.next() {
            let Some(info) = first.trim_start().strip_prefix("```") else {
                prose.push_str(first);
                prose.push('\n');
                continue;
            };
            let mut words = info.split_whitespace().map(str::to_owned);
            let language = words.next().unwrap_or_default();
            let marks = words.collect();
            let mut block = String::new();
            // Blank lines replace the block, so that the lines of the prose keep their numbers.
            prose.push('\n');
            for (_, inner) in lines.by_ref() {
                prose.push('\n');
                if inner.trim_start().starts_with("```") {
                    break;
                }
                block.push_str(inner);
                block.push('\n');
            }
            page.blocks.push(Block { line, language, marks, text: block });
        }
        page.inline = code_of(&prose);
        page
    }
}

/// The texts between backticks.
fn code_of(prose: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut begun = None;
    for (at, _) in prose.match_indices('`') {
        let Some(start) = begun.take() else {
            begun = Some(at + 1);
            continue;
        };
        let Range { start, end } = start..at;
        // An empty line ends a paragraph, so a backtick before it does not match one after it.
        if prose[start..end].contains("\n\n") {
            begun = Some(at + 1);
            continue;
        }
        let line = 1 + prose[..start].matches('\n').count();
        found.push((line, prose[start..end].split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    found
}

/// The words of a command as a shell splits them, without variable settings and operators.
pub(crate) fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for character in command.replace("\\\n", " ").chars() {
        match (quote, character) {
            (Some(begun), _) if begun == character => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, character) if character.is_whitespace() => words.push(String::new()),
            (_, character) => words.last_mut().unwrap().push(character),
        }
    }
    let is_name = |name: &str| name.chars().all(|character| character.is_ascii_uppercase() || character == '_');
    let is_setting = |word: &String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    words.into_iter().filter(|word| !word.is_empty()).skip_while(is_setting).collect()
}

#[test]
fn words_are_what_a_shell_makes_of_a_command() {
    assert_eq!(words("A=1 B=\"2 3\" \\\n run 'a b'  --c=d\n"), ["run", "a b", "--c=d"]);
}

#[test]
fn blocks_and_code_are_found_with_their_lines() {
    let page = Page::parse("Run `a\nb`.\n\n```sh server\nx | y\n```\n\nand `c`\n");
    let block = Block { line: 4, language: "sh".into(), marks: vec!["server".into()], text: "x | y\n".into() };
    assert_eq!(page, Page { blocks: vec![block], inline: vec![(1, "a b".into()), (8, "c".into())] });
}
