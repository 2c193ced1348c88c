//! A line of a dialogue, taken apart.

use std::collections::HashMap;
use std::str::FromStr;

use starling_protocol::{MessageId, RoomName};

/// A command's words and options, as in `says room=dev id=m1 hello all`.
pub(super) struct Line<'a> {
    pub(super) words: Vec<&'a str>,
    pub(super) options: HashMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let (options, words): (Vec<_>, Vec<_>) = text.split_whitespace().partition(|word| word.contains('='));
        Self { words, options: options.into_iter().filter_map(|option| option.split_once('=')).collect() }
    }

    pub(super) fn word(&self, place: usize) -> &'a str {
        self.words.get(place).copied().unwrap_or_else(|| panic!("word {place} is missing after {:?}", self.words))
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub(super) fn number<T: FromStr>(&self, option: &str) -> Option<T> {
        self.options.get(option).map(|text| text.parse().ok().unwrap_or_else(|| panic!("{option}={text}")))
    }

    pub(super) fn id(&self) -> Option<MessageId> {
        self.options.get("id").map(|id| MessageId::parse(id).unwrap())
    }
}

pub(super) fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}
