//! Words of scripts without spaces between words.
//!
//! The index splits a text at blanks and punctuation. Chinese, Japanese, Thai and some other scripts have few of them,
//! so a whole sentence would be one word. Each of their characters becomes a word of its own here, in texts and in
//! queries, and a query of several characters is a phrase. An index of trigrams would find no word of fewer than three
//! characters, and most Chinese words have two.

use std::borrow::Cow;

/// Whether this character's script has no spaces between words.
fn is_unspaced(character: char) -> bool {
    matches!(character,
        // Thai, Lao; Myanmar; Khmer.
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        // Radicals, kana, bopomofo, ideographs and their extensions.
        | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{323af}')
}

/// The text with blanks around each character of a script without spaces between words.
pub(super) fn apart(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unspaced) {
        return Cow::Borrowed(text);
    }
    let mut apart = String::with_capacity(text.len() * 2);
    for character in text.chars() {
        if is_unspaced(character) {
            apart.extend([' ', character, ' ']);
        } else {
            apart.push(character);
        }
    }
    Cow::Owned(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_without_blanks_are_taken_apart() {
        for (text, wanted) in [
            ("tests are green", "tests are green"),
            ("grün, Привет, 한국어", "grün, Привет, 한국어"),
            ("東京a", " 東  京 a"),
            ("カ", " カ "),
            ("ไทย", " ไ  ท  ย "),
        ] {
            assert_eq!(apart(text), wanted);
        }
    }
}
