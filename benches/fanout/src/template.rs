//! A text with places that are filled in.

/// What is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Id,
    Room,
    Target,
    Payload,
}

const PLACES: [(&str, Place); 4] =
    [("{id}", Place::Id), ("{room}", Place::Room), ("{target}", Place::Target), ("{payload}", Place::Payload)];

/// A text before a place; the last part has none.
#[derive(Debug)]
struct Part {
    text: String,
    place: Option<Place>,
}

/// The values of the places.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    pub(crate) id: &'a str,
    pub(crate) room: usize,
    pub(crate) target: &'a str,
    pub(crate) payload: &'a [u8],
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

impl Template {
    pub(crate) fn parse(mut text: &str) -> Self {
        let mut parts = Vec::new();
        loop {
            let first = PLACES
                .iter()
                .filter_map(|(token, place)| Some((text.find(token)?, *token, *place)))
                .min_by_key(|it| it.0);
            let Some((at, token, place)) = first else { break };
            let (before, rest) = text.split_at(at);
            parts.push(Part { text: before.to_owned(), place: Some(place) });
            text = rest.strip_prefix(token).unwrap_or(rest);
        }
        parts.push(Part { text: text.to_owned(), place: None });
        Self(parts)
    }

    /// Appends the text with these values.
    pub(crate) fn fill(&self, values: Values<'_>, out: &mut Vec<u8>) {
        for part in &self.0 {
            out.extend_from_slice(part.text.as_bytes());
            match part.place {
                Some(Place::Id) => out.extend_from_slice(values.id.as_bytes()),
                Some(Place::Room) => out.extend_from_slice(values.room.to_string().as_bytes()),
                Some(Place::Target) => out.extend_from_slice(values.target.as_bytes()),
                Some(Place::Payload) => out.extend_from_slice(values.payload),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_in_and_other_braces_stay() {
        let values = Values { id: "u1", room: 7, target: "u2", payload: b"data" };
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("{payload}", "data"),
            (r#"{"clientId":"{id}","Message":"{payload}"}"#, r#"{"clientId":"u1","Message":"data"}"#),
            ("/ws/{room}?clientId={id}", "/ws/7?clientId=u1"),
            ("{target}{id}{id}", "u2u1u1"),
            ("{unknown}", "{unknown}"),
        ];
        for (text, expected) in cases {
            let mut out = Vec::new();
            Template::parse(text).fill(values, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
        }
    }
}
