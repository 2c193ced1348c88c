//! Negotiates the WebSocket extension permessage-deflate (RFC 7692).

/// The name of the extension.
const NAME: &str = "permessage-deflate";

/// The answer in `Sec-WebSocket-Extensions`. Without context takeover a frame is compressed once for all its receivers,
/// and a connection needs no compressor and no decompressor of its own.
const ACCEPTED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The same for a client that has limited the server's window: only the largest window is accepted.
const ACCEPTED_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// The window of the server's compressor, in bits. With a smaller one, a frame could not be shared with other clients.
const WINDOW_BITS: u8 = 15;

/// Selects the first acceptable offer from the values of `Sec-WebSocket-Extensions`. Returns the value of the answer;
/// `None`: no offer is acceptable, so messages are not compressed.
pub(crate) fn negotiate<'a>(lists: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    lists.flat_map(|list| split(list, ',')).find_map(answer)
}

/// The answer to one offer. An offer with an unknown, invalid or repeated parameter is declined.
fn answer(offer: &str) -> Option<&'static str> {
    let mut parts = split(offer, ';');
    if !parts.next()?.eq_ignore_ascii_case(NAME) {
        return None;
    }
    let mut seen = Vec::new();
    let mut answer = ACCEPTED;
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end().to_ascii_lowercase(), Some(unquoted(value.trim_start())?)),
            None => (part.to_ascii_lowercase(), None),
        };
        match (name.as_str(), value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            // Every window of the client is acceptable: the decompressor has the largest one.
            ("client_max_window_bits", Some(bits)) => drop(window_bits(bits)?),
            ("server_max_window_bits", Some(bits)) if window_bits(bits)? == WINDOW_BITS => {
                answer = ACCEPTED_WITH_WINDOW;
            }
            _ => return None,
        }
        if seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(answer)
}

/// A number from 8 to 15, without a leading zero.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=WINDOW_BITS).contains(bits))?;
    value.starts_with(|first| ('1'..='9').contains(&first)).then_some(bits)
}

/// A value without its quotes, if it has any. No valid value needs an escape.
fn unquoted(value: &str) -> Option<&str> {
    match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"'),
        None => Some(value),
    }
}

/// The parts between separators outside of quotes, without surrounding white space.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(move |c: char| {
        let ends = c == separator && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        ends
    });
    parts.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_offer_that_can_be_met_is_taken() {
        for (offers, answer) in [
            ("", None),
            ("permessage-deflate", Some(ACCEPTED)),
            ("Permessage-Deflate", Some(ACCEPTED)),
            // Browsers, and Node's ws.
            ("permessage-deflate; client_max_window_bits", Some(ACCEPTED)),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Some(ACCEPTED)),
            ("permessage-deflate;client_max_window_bits=8", Some(ACCEPTED)),
            ("permessage-deflate; client_max_window_bits = \"15\"", Some(ACCEPTED)),
            ("permessage-deflate; server_max_window_bits=15", Some(ACCEPTED_WITH_WINDOW)),
            // A smaller window of the server could not be shared: the next offer counts, or none.
            ("permessage-deflate; server_max_window_bits=10", None),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some(ACCEPTED)),
            ("x-webkit-deflate-frame, permessage-deflate", Some(ACCEPTED)),
            ("foo; bar=\"permessage-deflate, permessage-deflate\"", None),
            ("foo; bar=\"\\\", x\", permessage-deflate", Some(ACCEPTED)),
            // Offers that must be declined.
            ("permessage-deflate; unknown", None),
            ("permessage-deflate; unknown=1, permessage-deflate", Some(ACCEPTED)),
            ("permessage-deflate; server_no_context_takeover=1", None),
            ("permessage-deflate; client_no_context_takeover=\"\"", None),
            ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
            ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
            ("permessage-deflate; server_max_window_bits", None),
            ("permessage-deflate; server_max_window_bits=16", None),
            ("permessage-deflate; client_max_window_bits=7", None),
            ("permessage-deflate; client_max_window_bits=08", None),
            ("permessage-deflate; client_max_window_bits=+8", None),
            ("permessage-deflate; client_max_window_bits=\"8", None),
            ("permessage-deflate;", None),
            ("permessage-deflate-2", None),
        ] {
            assert_eq!(negotiate([offers].into_iter()), answer, "{offers}");
        }
        assert_eq!(negotiate(["foo", "permessage-deflate"].into_iter()), Some(ACCEPTED), "in two headers");
    }
}
