//! Files with one `VARIABLE=VALUE` a line, such as `.env`.
//!
//! The `dotenvy` crate parses the lines. This module adds two guarantees for the operator: an error names a line and
//! never quotes it, because it may contain a secret; and `$` never silently expands to another variable.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Most lines that one quoted value may span.
const VALUE_LINES_MAX: usize = 256;

/// The reason that a file is refused: one line for the operator. Of the file's content, it shows only variable names.
#[derive(Debug, thiserror::Error)]
pub enum DotenvError {
    /// The system cannot read the file.
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable {
        /// The path that was to be read.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The file exceeds its size limit.
    #[error("{} cannot be read: it has more than {FILE_BYTES_MAX} bytes", .0.display())]
    TooLarge(PathBuf),
    /// A line is not valid.
    #[error("{}, line {line}: {fault}", path.display())]
    Line {
        /// The path that was to be read.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem in this line.
        fault: Fault,
    },
}

/// The problem in a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The line is not `VARIABLE=VALUE`.
    #[error("cannot be read as VARIABLE=VALUE; quote a value that contains blanks, and close every quote")]
    Form,
    /// A `$` would expand to another variable.
    #[error("{0} has a $, which would expand to another variable; put the value in single quotes, or write \\$")]
    Substitution(String),
    /// An earlier line sets the same variable.
    #[error("{variable} is already set in line {first}; remove one of the two")]
    Twice {
        /// The variable that both lines set.
        variable: String,
        /// The number of the earlier line.
        first: usize,
    },
}

/// One setting in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The text before the `=`.
    pub variable: String,
    /// Without the quotes and escapes of the file.
    pub value: String,
}

/// Reads a file.
///
/// # Errors
/// [`DotenvError`] for the first problem in the file.
pub fn read(path: &Path) -> Result<Vec<Setting>, DotenvError> {
    let unreadable = |error| DotenvError::Unreadable { path: path.to_owned(), error };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(DotenvError::TooLarge(path.to_owned()));
    }
    parse(&text).map_err(|(line, fault)| DotenvError::Line { path: path.to_owned(), line, fault })
}

/// Parses the text of a file; an error has its line number.
fn parse(text: &str) -> Result<Vec<Setting>, (usize, Fault)> {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').split_inclusive('\n').collect();
    let mut settings: Vec<(usize, Setting)> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let (count, setting) = entry(lines.get(at..).unwrap_or_default()).map_err(|fault| (at + 1, fault))?;
        if let Some(setting) = setting {
            if let Some((first, Setting { variable, .. })) =
                settings.iter().find(|(_, s)| s.variable == setting.variable)
            {
                return Err((at + 1, Fault::Twice { variable: variable.clone(), first: *first }));
            }
            settings.push((at + 1, setting));
        }
        at += count;
    }
    Ok(settings.into_iter().map(|(_, setting)| setting).collect())
}

/// The setting that starts in the first line, and its number of lines: a quoted value may span several.
fn entry(lines: &[&str]) -> Result<(usize, Option<Setting>), Fault> {
    let mut text = String::new();
    for (index, line) in lines.iter().take(VALUE_LINES_MAX).enumerate() {
        text.push_str(line);
        // Each is parsed alone, so an error is known to be of this line and no value can refer to another.
        match dotenvy::from_read_iter(text.as_bytes()).next() {
            None => return Ok((index + 1, None)),
            Some(Ok((variable, _))) if has_active_dollar(&text) => return Err(Fault::Substitution(variable)),
            Some(Ok((variable, value))) => return Ok((index + 1, Some(Setting { variable, value }))),
            Some(Err(_)) => {}
        }
    }
    Err(Fault::Form)
}

/// Whether a `$` has its special meaning: it is not escaped, not in single quotes, and not in a comment.
fn has_active_dollar(text: &str) -> bool {
    let (mut quote, mut escaped, mut before) = (None, false, ' ');
    for character in text.chars() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None | Some('"'), '$') => return true,
            (None, '#') if before.is_whitespace() => return false,
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        before = character;
    }
    false
}

/// Formats a variable as a line without a line break. [`read`] parses it back to the same value. The value is quoted
/// only if necessary.
pub fn line(variable: &str, value: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "_-.,:;/@%+=<>()[]{}*?!|&~^".contains(character);
    if value.chars().all(is_plain) {
        format!("{variable}={value}")
    } else if !value.contains(['\'', '\\', '\n', '\r']) {
        format!("{variable}='{value}'")
    } else {
        let mut quoted = String::new();
        for character in value.chars() {
            match character {
                '\n' => quoted.push_str("\\n"),
                '"' | '\\' | '$' => quoted.extend(['\\', character]),
                _ => quoted.push(character),
            }
        }
        format!("{variable}=\"{quoted}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        let settings = parse(text).unwrap_or_else(|(line, fault)| panic!("line {line}: {fault}: {text}"));
        settings.into_iter().map(|Setting { variable, value }| (variable, value)).collect()
    }

    #[test]
    fn every_value_is_read_as_what_was_written() {
        let awkward = [
            "",
            "plain",
            "two words",
            " blanks around ",
            "#",
            "a #b",
            "a#b",
            "$HOME",
            "${HOME}",
            "a$",
            "\\",
            "a\\",
            "\\$x",
            "'",
            "\"",
            "it's",
            "say \"hi\"",
            "'$x'",
            "\"$x\"",
            "\\'$",
            "a\nb",
            "=",
            "a=b",
            "export",
            "ü ẞ 🦉",
            "\t",
            "`id`",
            "(hidden)",
            "p99<250ms, lost=0",
            "ramp 30s to 500, hold 60s",
            "ws://h/ws?a=b&c=$d#e",
            "a;b|c",
            "a\r",
            "\\n",
        ];
        for value in awkward {
            let text = format!("FIRST=1\n{}\nLAST=2\n", line("NAME", value));
            let expected = [("FIRST", "1"), ("NAME", value), ("LAST", "2")];
            assert_eq!(values(&text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "{text}");
        }
        // All pairs of the characters that mean something.
        for first in "a '\"\\$#=\n\t{}`;".chars() {
            for second in "a '\"\\$#=\n\t{}`;".chars() {
                let value: String = [first, second, first].iter().collect();
                let text = line("NAME", &value);
                assert_eq!(values(&text), [("NAME".to_owned(), value)], "{text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_its_text() {
        let twice = Fault::Twice { variable: "A".into(), first: 1 };
        for (text, line, fault) in [
            ("A=1\nwhat is this\n", 2, Fault::Form),
            ("A=two words\n", 1, Fault::Form),
            ("A=1\nB=\"open\nC=secret\nD=secret\n", 2, Fault::Form),
            ("A=1\n\nB='open\nC=secret", 3, Fault::Form),
            ("A=$x\n", 1, Fault::Substitution("A".into())),
            ("A=\"b${x}\"\n", 1, Fault::Substitution("A".into())),
            ("A=b$\n", 1, Fault::Substitution("A".into())),
            ("A=1\nB=1\nA=1\n", 3, twice),
            ("=1\n", 1, Fault::Form),
            ("A=\"\\q\"", 1, Fault::Form),
        ] {
            assert_eq!(parse(text), Err((line, fault)), "{text}");
        }
    }

    #[test]
    fn comments_exports_blank_lines_and_values_over_several_lines_are_taken() {
        let text = "\u{feff}# a comment with $x and \"\r\n\r\nexport A=1 # costs $5\r\nB='a $b'\nC=\"x\ny\"\nD=\\$x\n";
        let expected = [("A", "1"), ("B", "a $b"), ("C", "x\ny"), ("D", "$x")];
        assert_eq!(values(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(matches!(read(file.path()), Err(DotenvError::TooLarge(_))));
    }
}
