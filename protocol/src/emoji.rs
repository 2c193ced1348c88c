//! The one form of an emoji, so that two that look alike are equal.
//!
//! Unicode writes what a reader sees in several ways:
//! - variation selectors ask for a picture (U+FE0F) or for text (U+FE0E), and keyboards and programs write them or leave
//!   them out. In the form here, U+FE0F stands behind each character that would be text without it, and nowhere else. So
//!   most emoji are written as keyboards write them;
//! - a letter and its accents are one character or several. In the form here they are composed (Unicode's NFC);
//! - a zero-width joiner (U+200D) makes one emoji of two, and does nothing where it has nothing to join. Tags make a flag
//!   of a region, and do nothing elsewhere. All other invisible characters of a grapheme do nothing. In the form here, what does
//!   nothing is left out.

use icu_normalizer::ComposingNormalizerBorrowed;
use unicode_segmentation::UnicodeSegmentation;

use crate::visible::is_invisible;

/// The variation selector that asks for a picture.
const AS_PICTURE: char = '\u{fe0f}';

/// The character that makes a key of a digit before it.
const KEYCAP: char = '\u{20e3}';

/// The zero-width joiner.
const JOINER: char = '\u{200d}';

/// The flag that tags make one of a region, and the tag that ends them.
const FLAG: char = '\u{1f3f4}';
const TAG_END: char = '\u{e007f}';

/// The emoji in its one form.
pub(crate) fn in_one_form(text: &str) -> String {
    let effective = without_idle(text);
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&effective);
    let mut characters = composed.chars().peekable();
    let mut form = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        form.push(character);
        let is_picture = match characters.peek() {
            Some(next) if is_skin_tone(*next) => false,
            Some(&KEYCAP) => matches!(character, '0'..='9' | '#' | '*'),
            _ => is_text_without_selector(character),
        };
        if is_picture {
            form.push(AS_PICTURE);
        }
    }
    form
}

/// The text without the invisible characters that do nothing.
fn without_idle(text: &str) -> String {
    let tag_or_visible = |c: &char| !is_invisible(*c) || is_tag(*c);
    let flag: Vec<char> = text.chars().filter(tag_or_visible).collect();
    if let [FLAG, tags @ .., TAG_END] = &*flag
        && !tags.is_empty()
        && tags.iter().all(|tag| is_tag(*tag) && *tag != TAG_END)
    {
        return flag.into_iter().collect();
    }
    let mut characters = text.chars().filter(|c| !is_invisible(*c) || *c == JOINER).peekable();
    let mut kept = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        if character != JOINER || characters.peek().is_some_and(|next| begins_anew(*next)) {
            kept.push(character);
        }
    }
    kept
}

/// Whether a character is a tag: a letter or a digit of the name of a region, or their end.
fn is_tag(character: char) -> bool {
    matches!(character, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}' | TAG_END)
}

/// Whether a character is no mark of the character before it, as accents and skin tones are.
fn begins_anew(character: char) -> bool {
    String::from_iter(['x', character]).graphemes(true).nth(1).is_some()
}

/// Whether a character gives the emoji before it a skin tone. Such an emoji is a picture.
fn is_skin_tone(character: char) -> bool {
    matches!(character, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Whether an emoji is text unless a selector follows: `Emoji` without `Emoji_Presentation` and `Emoji_Component` of Unicode
/// 17. New emoji are always pictures.
fn is_text_without_selector(character: char) -> bool {
    matches!(
        character,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{2199}'
            | '\u{21a9}'..='\u{21aa}' | '\u{2328}' | '\u{23cf}' | '\u{23ed}'..='\u{23ef}' | '\u{23f1}'..='\u{23f2}'
            | '\u{23f8}'..='\u{23fa}' | '\u{24c2}' | '\u{25aa}'..='\u{25ab}' | '\u{25b6}' | '\u{25c0}'
            | '\u{25fb}'..='\u{25fc}' | '\u{2600}'..='\u{2604}' | '\u{260e}' | '\u{2611}' | '\u{2618}' | '\u{261d}'
            | '\u{2620}' | '\u{2622}'..='\u{2623}' | '\u{2626}' | '\u{262a}' | '\u{262e}'..='\u{262f}'
            | '\u{2638}'..='\u{263a}' | '\u{2640}' | '\u{2642}' | '\u{265f}'..='\u{2660}' | '\u{2663}'
            | '\u{2665}'..='\u{2666}' | '\u{2668}' | '\u{267b}' | '\u{267e}' | '\u{2692}' | '\u{2694}'..='\u{2697}'
            | '\u{2699}' | '\u{269b}'..='\u{269c}' | '\u{26a0}' | '\u{26a7}' | '\u{26b0}'..='\u{26b1}' | '\u{26c8}'
            | '\u{26cf}' | '\u{26d1}' | '\u{26d3}' | '\u{26e9}' | '\u{26f0}'..='\u{26f1}' | '\u{26f4}'
            | '\u{26f7}'..='\u{26f9}' | '\u{2702}' | '\u{2708}'..='\u{2709}' | '\u{270c}'..='\u{270d}' | '\u{270f}'
            | '\u{2712}' | '\u{2714}' | '\u{2716}' | '\u{271d}' | '\u{2721}' | '\u{2733}'..='\u{2734}' | '\u{2744}'
            | '\u{2747}' | '\u{2763}'..='\u{2764}' | '\u{27a1}' | '\u{2934}'..='\u{2935}' | '\u{2b05}'..='\u{2b07}'
            | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f170}'..='\u{1f171}'
            | '\u{1f17e}'..='\u{1f17f}' | '\u{1f202}' | '\u{1f237}' | '\u{1f321}' | '\u{1f324}'..='\u{1f32c}'
            | '\u{1f336}' | '\u{1f37d}' | '\u{1f396}'..='\u{1f397}' | '\u{1f399}'..='\u{1f39b}'
            | '\u{1f39e}'..='\u{1f39f}' | '\u{1f3cb}'..='\u{1f3ce}' | '\u{1f3d4}'..='\u{1f3df}' | '\u{1f3f3}'
            | '\u{1f3f5}' | '\u{1f3f7}' | '\u{1f43f}' | '\u{1f441}' | '\u{1f4fd}' | '\u{1f549}'..='\u{1f54a}'
            | '\u{1f56f}'..='\u{1f570}' | '\u{1f573}'..='\u{1f579}' | '\u{1f587}' | '\u{1f58a}'..='\u{1f58d}'
            | '\u{1f590}' | '\u{1f5a5}' | '\u{1f5a8}' | '\u{1f5b1}'..='\u{1f5b2}' | '\u{1f5bc}'
            | '\u{1f5c2}'..='\u{1f5c4}' | '\u{1f5d1}'..='\u{1f5d3}' | '\u{1f5dc}'..='\u{1f5de}' | '\u{1f5e1}'
            | '\u{1f5e3}' | '\u{1f5e8}' | '\u{1f5ef}' | '\u{1f5f3}' | '\u{1f5fa}' | '\u{1f6cb}'
            | '\u{1f6cd}'..='\u{1f6cf}' | '\u{1f6e0}'..='\u{1f6e5}' | '\u{1f6e9}' | '\u{1f6f0}' | '\u{1f6f3}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOTLAND: &str = "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";

    #[test]
    fn emoji_that_look_alike_have_one_form() {
        for (form, others) in [
            ("❤\u{fe0f}", &["❤", "❤\u{fe0e}", "❤\u{fe0f}\u{fe0f}"][..]),
            ("👍", &["👍\u{fe0f}", "👍\u{fe0e}"]),
            ("👍🏽", &["👍🏽\u{fe0f}", "👍\u{fe0f}🏽"]),
            ("☝🏽", &["☝\u{fe0f}🏽"]),
            ("❤\u{fe0f}\u{200d}🔥", &["❤\u{200d}🔥"]),
            ("🤷🏽\u{200d}♂\u{fe0f}", &["🤷🏽\u{200d}♂"]),
            ("🏳\u{fe0f}\u{200d}🌈", &["🏳\u{200d}🌈"]),
            ("1\u{fe0f}\u{20e3}", &["1\u{20e3}"]),
            ("1", &["1\u{fe0f}"]),
            ("🇩🇪", &["🇩🇪\u{fe0f}"]),
            ("x", &["x\u{fe0f}"]),
            (
                "👍",
                &["👍\u{200d}", "👍\u{200d}\u{200d}", "👍\u{fe0f}\u{200d}", "👍\u{200c}", "👍\u{34f}", "👍\u{fe00}"],
            ),
            ("👍", &["👍\u{e0100}", "👍\u{e0061}", "👍\u{e0067}\u{e0062}\u{e007f}"]),
            ("👍🏽", &["👍\u{200d}🏽", "👍🏽\u{200d}"]),
            ("👩\u{200d}💻", &["👩\u{200d}💻\u{200d}", "👩\u{fe0f}\u{200d}💻\u{fe0f}"]),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                &["🏴\u{fe0f}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}\u{200d}"],
            ),
            ("🏴", &["🏴\u{e0067}\u{e0062}", "🏴\u{e007f}", "🏴\u{e0067}\u{e007f}\u{e007f}"]),
            ("é", &["e\u{301}", "é\u{200d}", "e\u{200d}\u{301}"]),
            ("Å", &["A\u{30a}", "\u{212b}"]),
            ("ạ\u{307}", &["a\u{307}\u{323}"]),
            ("क\u{94d}\u{200d}ष", &["क\u{94d}\u{200d}ष\u{200d}"]),
        ] {
            assert_eq!(in_one_form(form), form, "the form stays");
            for other in others {
                assert_eq!(in_one_form(other), form, "{other:?}");
            }
        }
    }

    #[test]
    fn emoji_that_look_different_stay_different() {
        let forms = [
            "👍",
            "👍🏻",
            "👍🏽",
            "❤",
            "🖤",
            "👩\u{200d}💻",
            "👩",
            "💻",
            "☺",
            "😊",
            "🏴",
            "🏴\u{200d}☠",
            SCOTLAND,
            "e",
            "é",
            "ê",
        ]
        .map(in_one_form);
        let apart: std::collections::HashSet<_> = forms.iter().collect();
        assert_eq!(apart.len(), forms.len());
    }
}
