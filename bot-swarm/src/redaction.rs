//! URLs without their secrets, for all output to people and files.
//!
//! This is the only place that decides which parts of a URL are secret: the user information, every value of the query,
//! and the fragment. Reports, `--print-config`, error messages and log lines show URLs only through [`shown`].

use std::borrow::Cow;

/// The replacement for a secret.
pub const HIDDEN: &str = "(hidden)";

/// A URL, or several separated by commas, with `(hidden)` in place of user information, of query values and of a
/// fragment. A text without them is returned unchanged.
pub fn shown(urls: &str) -> Cow<'_, str> {
    if !urls.contains(',') {
        return shown_alone(urls);
    }
    let mut has_secret = false;
    let shown = urls.split(',').map(|url| {
        // A part after a secret that is not a URL may belong to the secret.
        let url = if has_secret && !url.contains("://") { Cow::Borrowed(HIDDEN) } else { shown_alone(url) };
        has_secret |= url.contains(HIDDEN);
        url
    });
    Cow::Owned(shown.collect::<Vec<_>>().join(","))
}

fn shown_alone(url: &str) -> Cow<'_, str> {
    let (scheme, rest) = url.find("://").map_or(("", url), |at| url.split_at(at + 3));
    let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, text)| (rest, Some(text)));
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (authority, path) = place.find('/').map_or((place, ""), |at| place.split_at(at));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if user.is_none() && query.is_none() && fragment.is_none() {
        return Cow::Borrowed(url);
    }
    let user = user.map_or_else(String::new, |_| format!("{HIDDEN}@"));
    let query = query.map_or_else(String::new, |query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) => format!("{name}={HIDDEN}"),
            None if pair.is_empty() => String::new(),
            // A name without a value may be the secret itself.
            None => HIDDEN.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    let fragment = fragment.map_or_else(String::new, |_| format!("#{HIDDEN}"));
    Cow::Owned(format!("{scheme}{user}{host}{path}{query}{fragment}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (url, expected) in [
            ("ws://host:8080/ws", "ws://host:8080/ws"),
            ("ws://host/ws?token=s3cret", "ws://host/ws?token=(hidden)"),
            (
                "ws://host/ws?format=text&token=s3cret&key=s3cret",
                "ws://host/ws?format=(hidden)&token=(hidden)&key=(hidden)",
            ),
            ("ws://host/ws?s3cret", "ws://host/ws?(hidden)"),
            ("ws://host?token=s3cret", "ws://host?token=(hidden)"),
            ("ws://user:s3cret@host/ws", "ws://(hidden)@host/ws"),
            (
                "http://us@er:s3cret@[::1]:9/metrics?a=s3cret=x#s3cret",
                "http://(hidden)@[::1]:9/metrics?a=(hidden)#(hidden)",
            ),
            ("ws://host/ws?token=s3cret?s3cret", "ws://host/ws?token=(hidden)"),
            ("host/ws?token=s3cret", "host/ws?token=(hidden)"),
            ("ws://a/ws?t=s3cret,ws://u:s3cret@b/ws", "ws://a/ws?t=(hidden),ws://(hidden)@b/ws"),
            ("ws://a/ws,ws://b/ws?token=s3cret,s3cret", "ws://a/ws,ws://b/ws?token=(hidden),(hidden)"),
            ("like chatter=60,lurker=25", "like chatter=60,lurker=25"),
            ("off", "off"),
            ("", ""),
        ] {
            assert_eq!(shown(url), expected);
            assert!(!shown(url).contains("s3cret"), "{url}");
        }
    }
}
