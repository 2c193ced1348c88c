//! The path prefix of a proxy that does not remove it from requests.
//!
//! A request below the prefix is served as if it had none. A request without the prefix is served too: health checks
//! and scrapes address the server itself, and a proxy that removes the prefix needs no setting.

use std::fmt;

/// First segments of the server's own paths: a prefix that begins with one of them would hide that path.
pub(crate) const OWN_SEGMENTS: [&str; 7] = ["api", "healthz", "lab", "metrics", "readyz", "web", "ws"];

/// Most bytes of a prefix.
const BYTES_MAX: usize = 256;

/// The path of the chat on its host: empty, or a path such as `/chat` without a final slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PathPrefix(String);

impl PathPrefix {
    /// Parses a path of unreserved characters, with or without a final slash. The empty text means no prefix.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let path = text.strip_suffix('/').unwrap_or(text);
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        // Characters that need no percent-encoding have only one spelling, so the prefix can be compared as text.
        let is_plain = |segment: &&str| {
            let all_plain = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
            all_plain && !["", ".", ".."].contains(segment)
        };
        let is_prefix = path.len() <= BYTES_MAX
            && segments.iter().all(is_plain)
            && segments.first().is_some_and(|first| !OWN_SEGMENTS.contains(first));
        is_prefix.then(|| Self(path.to_owned()))
    }

    /// Removes the prefix from a path, with or without its query.
    pub(crate) fn strip<'a>(&self, path: &'a str) -> &'a str {
        path.strip_prefix(&self.0).filter(|rest| rest.starts_with('/')).unwrap_or(path)
    }

    /// The prefix without a final slash; `None` if there is no prefix.
    ///
    /// The page is not served at this path: its references are relative, so its own path must end with a slash.
    pub(crate) fn bare(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }

    /// The page's path relative to [`bare`](Self::bare), so that it is also valid below a further prefix that a proxy
    /// removes.
    pub(crate) fn page_from_bare(&self) -> String {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        format!("{last}/")
    }
}

impl fmt::Display for PathPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_the_prefix_is_served_as_if_it_had_none_and_any_other_as_it_is() {
        for (prefix, path, served) in [
            ("", "/ws", "/ws"),
            ("", "//ws", "//ws"),
            ("/chat", "/chat/", "/"),
            ("/chat", "/chat/ws/dev?a=/chat/", "/ws/dev?a=/chat/"),
            ("/chat", "/chat//ws", "//ws"),
            ("/chat", "/chat/chat/ws", "/chat/ws"),
            ("/chat/", "/chat/ws", "/ws"),
            ("/team/chat", "/team/chat/api/rooms", "/api/rooms"),
            // Without the prefix.
            ("/chat", "/", "/"),
            ("/chat", "/ws", "/ws"),
            // Something else.
            ("/chat", "/chat", "/chat"),
            ("/chat", "/chat?a=b", "/chat?a=b"),
            ("/chat", "/chats/ws", "/chats/ws"),
            ("/chat", "/%63hat/ws", "/%63hat/ws"),
            ("/chat", "/x/chat/ws", "/x/chat/ws"),
            ("/team/chat", "/team/ws", "/team/ws"),
        ] {
            assert_eq!(PathPrefix::parse(prefix).unwrap().strip(path), served, "{prefix} {path}");
        }
    }

    #[test]
    fn a_prefix_is_a_plain_path_that_hides_no_path_of_the_server() {
        for (text, shown) in [("", ""), ("/chat", "/chat"), ("/chat/", "/chat"), ("/a/b-c_d.e~f", "/a/b-c_d.e~f")] {
            assert_eq!(PathPrefix::parse(text).unwrap().to_string(), shown);
        }
        let long = format!("/{}", "x".repeat(BYTES_MAX));
        for text in
            ["chat", "/", "//", "/chat//", "//chat", "/a//b", "/.", "/a/..", "/a b", "/a%20b", "/a?b", "/ä", &long]
        {
            assert_eq!(PathPrefix::parse(text), None, "{text}");
        }
        for own in OWN_SEGMENTS {
            assert_eq!(PathPrefix::parse(&format!("/{own}/chat")), None, "{own}");
            assert!(PathPrefix::parse(&format!("/chat/{own}")).is_some(), "{own}");
        }
    }

    #[test]
    fn the_page_is_found_from_the_bare_prefix_also_below_another() {
        assert_eq!(PathPrefix::default().bare(), None);
        let prefix = PathPrefix::parse("/team/chat").unwrap();
        assert_eq!((prefix.bare(), prefix.page_from_bare().as_str()), (Some("/team/chat"), "chat/"));
    }
}
