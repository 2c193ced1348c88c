//! Patterns for the frames that a test expects: some of the fields, and names for unknown values.
//!
//! - A JSON pattern matches an object that has all fields of the pattern. Further fields are allowed; `null` means that
//!   the field is absent. Lists must have the same length.
//! - `$name` stands for a value. Its first use captures the value, and later uses must be equal. `$name+2` is that
//!   number plus 2. `$_` matches anything.
//! - `${x*3}` expands to `xxx`.
//! - Any other pattern is a line of text. It must be equal, with each `$name` matching one word.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The captured values.
#[derive(Debug, Clone, Default)]
pub struct Captures(BTreeMap<String, Value>);

/// A `$name` or `$name+2` at the beginning of a text.
struct Reference<'a> {
    name: &'a str,
    plus: u64,
    /// The length of the whole reference in bytes.
    len: usize,
}

fn reference(text: &str) -> Option<Reference<'_>> {
    let rest = text.strip_prefix('$')?;
    let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    if len == 0 {
        return None;
    }
    let (name, rest) = rest.split_at(len);
    let digits = rest
        .strip_prefix('+')
        .map_or("", |rest| rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())).0);
    let Ok(plus) = digits.parse() else { return Some(Reference { name, plus: 0, len: 1 + len }) };
    Some(Reference { name, plus, len: 2 + len + digits.len() })
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Expands every `${x*3}`.
fn expand(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let (inner, after) = behind.split_once('}').unwrap();
        let (piece, times) = inner.rsplit_once('*').unwrap();
        out.push_str(before);
        out.push_str(&piece.repeat(times.parse().unwrap()));
        rest = after;
    }
    out + rest
}

/// Quotes every `$name` of a JSON pattern that is not inside a string.
fn quote(pattern: &str) -> String {
    let mut out = String::new();
    let mut in_string = false;
    let mut rest = pattern;
    while let Some(character) = rest.chars().next() {
        let len = match (character, in_string, reference(rest)) {
            ('\\', true, _) => 2,
            ('"', ..) => {
                in_string = !in_string;
                1
            }
            ('$', false, Some(found)) => {
                out.push('"');
                out.push_str(&rest[..found.len]);
                out.push('"');
                rest = &rest[found.len..];
                continue;
            }
            _ => character.len_utf8(),
        };
        out.push_str(&rest[..len]);
        rest = &rest[len..];
    }
    out
}

impl Captures {
    /// Sets the value of a name.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn known(&self, reference: &Reference<'_>) -> Result<Option<Value>, String> {
        let Some(value) = self.0.get(reference.name) else { return Ok(None) };
        if reference.plus == 0 {
            return Ok(Some(value.clone()));
        }
        let number = value.as_u64().ok_or_else(|| format!("${} is {value}, which is not a number", reference.name))?;
        Ok(Some((number + reference.plus).into()))
    }

    /// Replaces the names in a text by their values, and expands `${x*3}`.
    ///
    /// # Errors
    /// A name in the text has no value yet.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let text = expand(text);
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let found = reference(rest).ok_or("a `$` without a name")?;
            let value = self.known(&found)?.ok_or_else(|| format!("${} has no value yet", found.name))?;
            out.push_str(&bare(&value));
            rest = &rest[found.len..];
        }
        Ok(out + rest)
    }

    /// Matches a text with a pattern, and captures the values of new names.
    ///
    /// # Errors
    /// A description of the first difference.
    pub fn match_text(&mut self, pattern: &str, text: &str) -> Result<(), String> {
        let pattern = expand(pattern);
        if !pattern.starts_with('{') {
            return self.match_line(&pattern, text);
        }
        let quoted = quote(&pattern);
        let pattern: Value =
            serde_json::from_str(&quoted).map_err(|error| format!("the pattern is not JSON: {error}"))?;
        let got: Value = serde_json::from_str(text).map_err(|error| format!("the text is not JSON: {error}"))?;
        // A failed match captures nothing.
        let mut taken = self.clone();
        taken.match_value("", &pattern, &got)?;
        *self = taken;
        Ok(())
    }

    fn match_value(&mut self, place: &str, pattern: &Value, got: &Value) -> Result<(), String> {
        match (pattern, got) {
            (Value::Object(pattern), Value::Object(got)) => self.match_fields(place, pattern, got),
            (Value::Array(pattern), Value::Array(got)) if pattern.len() == got.len() => {
                let mut pairs = (0..).zip(pattern.iter().zip(got));
                pairs.try_for_each(|(at, (pattern, got))| self.match_value(&format!("{place}[{at}]"), pattern, got))
            }
            (Value::String(text), _) if text.starts_with('$') => self.match_reference(place, text, got),
            (Value::String(text), Value::String(got)) if text.contains('$') => self.match_line(text, got),
            _ if pattern == got => Ok(()),
            _ => Err(format!("`{place}` must be {pattern} and is {got}")),
        }
    }

    fn match_fields(
        &mut self,
        place: &str,
        pattern: &Map<String, Value>,
        got: &Map<String, Value>,
    ) -> Result<(), String> {
        for (name, pattern) in pattern {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            match (pattern, got.get(name)) {
                (Value::Null, None) => {}
                (Value::Null, Some(got)) => return Err(format!("`{place}` must be absent and is {got}")),
                (_, None) => return Err(format!("`{place}` is missing")),
                (_, Some(got)) => self.match_value(&place, pattern, got)?,
            }
        }
        Ok(())
    }

    fn match_reference(&mut self, place: &str, text: &str, got: &Value) -> Result<(), String> {
        let found = reference(text).filter(|found| found.len == text.len());
        let found = found.ok_or_else(|| format!("`{place}`: {text} is not a name"))?;
        if found.name == "_" {
            return Ok(());
        }
        match self.known(&found)? {
            Some(value) if value == *got => Ok(()),
            Some(value) => Err(format!("`{place}` must be {text}, which is {value}, and is {got}")),
            None if found.plus > 0 => Err(format!("{text} has no value yet")),
            None => {
                self.set(found.name, got.clone());
                Ok(())
            }
        }
    }

    fn match_line(&mut self, pattern: &str, text: &str) -> Result<(), String> {
        let wrong = || format!("must be {pattern:?} and is {text:?}");
        let (mut pattern_rest, mut rest) = (pattern, text);
        while let Some(at) = pattern_rest.find('$') {
            rest = rest.strip_prefix(&pattern_rest[..at]).ok_or_else(wrong)?;
            let found = reference(&pattern_rest[at..]).ok_or("a `$` without a name")?;
            pattern_rest = &pattern_rest[at + found.len..];
            let known = if found.name == "_" { None } else { self.known(&found)? };
            if let Some(value) = known {
                rest = rest.strip_prefix(&bare(&value)).ok_or_else(wrong)?;
                continue;
            }
            let next = pattern_rest.chars().next();
            let ends = |c: char| c.is_whitespace() || Some(c) == next;
            let (word, behind) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            if word.is_empty() {
                return Err(wrong());
            }
            self.set(found.name, word);
            rest = behind;
        }
        if pattern_rest == rest { Ok(()) } else { Err(wrong()) }
    }
}

#[test]
fn a_pattern_takes_what_it_names_and_holds_it() {
    let mut captures = Captures::default();
    captures.match_text(r#"{"a":$a,"b":[{"c":"$_"}],"d":null}"#, r#"{"a":4,"b":[{"c":7}],"e":1}"#).unwrap();
    captures.match_text(r#"{"a":$a+1,"t":"x ${y*3}"}"#, r#"{"a":5,"t":"x yyy"}"#).unwrap();
    assert_eq!(captures.fill(r#"{"after":$a,"next":$a+2,"x":"${o*3}"}"#).unwrap(), r#"{"after":4,"next":6,"x":"ooo"}"#);
    assert!(captures.match_text(r#"{"a":$a}"#, r#"{"a":5}"#).is_err());
    assert!(captures.match_text(r#"{"d":null}"#, r#"{"d":1}"#).is_err());
    assert!(captures.match_text(r#"{"b":[1]}"#, r#"{"b":[1,2]}"#).is_err());
    assert!(captures.match_text(r#"{"b":1}"#, r#"{"b":"1"}"#).is_err());
    assert!(captures.fill("$unknown").is_err());
    captures.match_text("* you are $who in $room, 1 here", "* you are guest-1 in dev, 1 here").unwrap();
    captures.match_text("[$room] $who: hi", "[dev] guest-1: hi").unwrap();
    assert!(captures.match_text("[$room] $who: hi", "[dev] guest-2: hi").is_err());
}
