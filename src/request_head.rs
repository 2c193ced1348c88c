//! Parses the head of an HTTP request, and the framing of its body.
//!
//! The parser is pure: it does no I/O. With it, [`http_stream`](crate::http_stream) passes one request at a time to the
//! framework. It is at least as strict as the framework, so a head that is valid here is never a parse error there.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use actix_http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_http::{Method, Request, Uri, Version};
use actix_web::http::uri::Authority;
use bytes::Bytes;

use crate::path_prefix::PathPrefix;
use crate::refusal::{HttpCode, HttpRefusal};
use crate::request_body::{Body, body_too_large};

/// Most bytes of a request's head.
pub(crate) const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Most bytes of a request's target.
pub(crate) const TARGET_BYTES_MAX: usize = 8 * 1024;

/// Most header fields of a request.
pub(crate) const FIELDS_MAX: usize = 64;

/// The content after a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follows {
    /// No body; the next request follows.
    Nothing,
    /// A body, framed by a length or in chunks.
    Body(Body),
    /// The WebSocket, if the handshake succeeds.
    WebSocket,
    /// Nothing: the answer has no end, see [`wants_stream`].
    EndlessAnswer,
}

/// A valid request head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The head for the framework. Fields that affect the framing are replaced by their parsed values.
    pub(crate) bytes: Bytes,
    pub(crate) follows: Follows,
}

/// Whether the request is `HEAD`: no response to it has a body, not even a refusal.
pub(crate) fn is_for_head(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HEAD ")
}

/// The index after the empty line that ends the head. The first `scanned` bytes were searched before.
pub(crate) fn end_of_head(bytes: &[u8], scanned: usize) -> Option<usize> {
    let from = scanned.saturating_sub(3);
    let tail = bytes.get(from..)?;
    tail.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(at, _)| match tail.get(at + 1..) {
        Some([b'\n', ..]) => Some(from + at + 2),
        Some([b'\r', b'\n', ..]) => Some(from + at + 3),
        _ => None,
    })
}

/// Checks an incomplete head: it must start like a request (that of a TLS client does not), and must not exceed its
/// limits.
pub(crate) fn check_beginning(bytes: &[u8]) -> Result<(), HttpRefusal> {
    if bytes.first().is_some_and(|first| !first.is_ascii_graphic()) {
        return Err(bad("this is not an HTTP request"));
    }
    if bytes.len() <= TARGET_BYTES_MAX {
        return Ok(());
    }
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    if line > TARGET_BYTES_MAX + 64 {
        return Err(uri_too_long());
    }
    if bytes.len() > HEAD_BYTES_MAX { Err(head_too_large()) } else { Ok(()) }
}

fn uri_too_long() -> HttpRefusal {
    HttpRefusal::new(HttpCode::UriTooLong, format!("the request target has more than {TARGET_BYTES_MAX} bytes"))
}

fn head_too_large() -> HttpRefusal {
    let text = format!("the request head has more than {HEAD_BYTES_MAX} bytes or {FIELDS_MAX} fields");
    HttpRefusal::new(HttpCode::HeadTooLarge, text)
}

fn bad(text: impl Into<String>) -> HttpRefusal {
    HttpRefusal::new(HttpCode::BadRequest, text)
}

/// Parses a complete head.
///
/// # Errors
/// An error that RFC 9110 and 9112 require a server to refuse. Nothing after such a head may be read.
pub(crate) fn read(bytes: &[u8], body_bytes_max: u64, prefix: &PathPrefix) -> Result<Head, HttpRefusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => check(&request, bytes, body_bytes_max, prefix),
        Ok(httparse::Status::Partial) => Err(bad("the request head is incomplete")),
        Err(httparse::Error::TooManyHeaders) => Err(head_too_large()),
        Err(error) => Err(bad(format!("the request head is malformed: {error}"))),
    }
}

/// White space in HTTP. Unicode white space belongs to the value, as it does for a proxy in front.
const BLANKS: [char; 2] = [' ', '\t'];

/// The values of a field, one per line.
fn lines<'a>(request: &'a httparse::Request<'_, '_>, name: &'a HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    let fields = request.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name.as_str()));
    fields.map(|field| std::str::from_utf8(field.value).unwrap_or("\u{fffd}").trim_matches(BLANKS))
}

/// The members of a list-valued field.
fn members<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &'a HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    lines(request, name)
        .flat_map(|line| line.split(','))
        .map(|member| member.trim_matches(BLANKS))
        .filter(|member| !member.is_empty())
}

/// Splits an absolute target into its host and the rest.
fn split_target(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    (!host.is_empty()).then_some((host, path))
}

/// Whether this is a host with an optional port (RFC 9110, section 7.2).
///
/// An empty host is none. `Host` may be empty only where the target has no authority, but a target of `http` or `https`
/// always has one, with a host that is not empty (RFC 9110, sections 4.2.1 and 4.2.2). The same-host check of origins
/// compares with this host.
fn is_host(value: &str) -> bool {
    let authority = value.parse::<Authority>().ok().filter(|_| !value.contains('@'));
    authority.is_some_and(|authority| {
        let host = authority.host();
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        !host.is_empty()
            && value.strip_prefix(host).is_some_and(is_port_or_none)
            && address.is_none_or(|address| address.parse::<Ipv6Addr>().is_ok())
    })
}

/// Whether this is a valid end of a host: nothing, or a colon and an optional port number.
fn is_port_or_none(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

fn check(
    request: &httparse::Request<'_, '_>,
    bytes: &[u8],
    body_bytes_max: u64,
    prefix: &PathPrefix,
) -> Result<Head, HttpRefusal> {
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let is_http_11 = request.version == Some(1);
    if target.len() > TARGET_BYTES_MAX {
        return Err(uri_too_long());
    }
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(head_too_large());
    }
    if method == "CONNECT" {
        let refusal = HttpRefusal::new(HttpCode::MethodNotAllowed, "this server is not a proxy");
        return Err(refusal.allow("GET, HEAD, POST, DELETE, OPTIONS"));
    }
    let absolute = split_target(target);
    let is_form = target.starts_with('/') || absolute.is_some() || (target == "*" && method == "OPTIONS");
    // The parser removes a fragment. A proxy that keeps it would see another path.
    if !is_form || target.contains('#') || target.parse::<Uri>().is_err() {
        return Err(bad("the request target is malformed"));
    }
    let hosts: Vec<&str> = lines(request, &header::HOST).collect();
    let host_holds = match hosts.as_slice() {
        [] => !is_http_11,
        [host] => is_host(host),
        _ => false,
    };
    if !host_holds || absolute.is_some_and(|(host, _)| !is_host(host)) {
        return Err(bad("the request must have one valid Host"));
    }
    // A proxy that checks another one of two would let in whom it should not.
    if lines(request, &header::AUTHORIZATION).count() > 1 {
        return Err(bad("the request must not have two Authorization fields"));
    }

    let (host, path) = absolute.map_or((None, target), |(host, path)| (Some(host), path));
    let path = without_final_slash(prefix.strip(path));
    let path = path.as_ref();
    let wants_websocket = is_http_11
        && members(request, &header::UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case("websocket"))
        && is_websocket_path(path);
    let body = framing(request, method, is_http_11, body_bytes_max)?;
    if wants_websocket && body.is_some() {
        return Err(bad("a WebSocket handshake must not have a body"));
    }
    if wants_websocket && lines(request, &header::EXPECT).next().is_some() {
        return Err(bad("a WebSocket handshake must not have Expect"));
    }
    let follows = match body {
        _ if wants_websocket => Follows::WebSocket,
        Some(body) => Follows::Body(body),
        None if wants_stream(method, path, members(request, &header::ACCEPT)) => Follows::EndlessAnswer,
        None => Follows::Nothing,
    };
    let bytes = for_framework(request, host, path, wants_websocket);
    Ok(Head { bytes: bytes.into(), follows })
}

/// The path of the lab's figures.
const LAB_PATH: &str = "/api/lab";

/// Whether a request is for the figures of `/api/lab` as server-sent events: an answer that ends only with its
/// connection. `accepted` is the members of `Accept`.
pub(crate) fn wants_stream<'a>(method: &str, target: &str, mut accepted: impl Iterator<Item = &'a str>) -> bool {
    let media = |member: &str| member.split(';').next().unwrap_or_default().trim_matches(BLANKS).to_ascii_lowercase();
    method == "GET"
        && target.split('?').next() == Some(LAB_PATH)
        && accepted.any(|member| media(member) == "text/event-stream")
}

/// `/ws/` is served as `/ws`, because some clients end every path with a slash.
fn without_final_slash(path: &str) -> Cow<'_, str> {
    match path.strip_prefix("/ws/") {
        Some("") => Cow::Borrowed("/ws"),
        Some(query) if query.starts_with('?') => Cow::Owned(format!("/ws{query}")),
        _ => Cow::Borrowed(path),
    }
}

fn is_websocket_path(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path == "/ws" || path.starts_with("/ws/")
}

/// The body that the head announces; `None`: there is none.
fn framing(
    request: &httparse::Request<'_, '_>,
    method: &str,
    is_http_11: bool,
    body_bytes_max: u64,
) -> Result<Option<Body>, HttpRefusal> {
    let codings: Vec<&str> = lines(request, &header::TRANSFER_ENCODING).collect();
    let lengths: Vec<&str> = lines(request, &header::CONTENT_LENGTH).collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) if !is_http_11 && method == "POST" => Err(bad("a POST in HTTP/1.0 must have a Content-Length")),
        ([], []) => Ok(None),
        ([], [length]) if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A number beyond the range of `u64` is too large in any case.
            match length.parse::<u64>().unwrap_or(u64::MAX) {
                0 => Ok(None),
                length if length > body_bytes_max => Err(body_too_large(body_bytes_max)),
                length => Ok(Some(Body::of_length(length))),
            }
        }
        ([], _) => Err(bad("the request must have one valid Content-Length")),
        (_, [_, ..]) => Err(bad("a request must not have both Content-Length and Transfer-Encoding")),
        (_, []) if !is_http_11 => Err(bad("HTTP/1.0 does not support Transfer-Encoding")),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Body::chunked(body_bytes_max))),
        (_, []) => Err(HttpRefusal::new(HttpCode::NotImplemented, "the only supported transfer coding is chunked")),
    }
}

/// Builds the head for the framework: the target without host and prefix, the `Host` that applies, and a single value
/// for the list-valued fields `Connection` and `Upgrade`.
fn for_framework(
    request: &httparse::Request<'_, '_>,
    host: Option<&str>,
    target: &str,
    wants_websocket: bool,
) -> Vec<u8> {
    let version = request.version.unwrap_or_default();
    let root = if target.starts_with('?') || target.is_empty() { "/" } else { "" };
    let mut head = format!("{} {root}{target} HTTP/1.{version}\r\n", request.method.unwrap_or_default()).into_bytes();
    let mut add = |name: &str, value: &[u8]| {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    };
    for field in request.headers.iter() {
        let is = |name: &HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
        let is_replaced = is(&header::CONNECTION) || is(&header::UPGRADE) || (is(&header::HOST) && host.is_some());
        if !is_replaced {
            add(field.name, field.value);
        }
    }
    if let Some(host) = host {
        add("host", host.as_bytes());
    }
    let options = |name: &str| members(request, &header::CONNECTION).any(|option| option.eq_ignore_ascii_case(name));
    if wants_websocket {
        add("upgrade", b"websocket");
    }
    if options("close") {
        add("connection", b"close");
    } else if options("upgrade") && wants_websocket {
        add("connection", b"upgrade");
    } else if options("keep-alive") {
        add("connection", b"keep-alive");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The request of a [head](Head) for a WebSocket, as the framework would read it.
pub(crate) fn handshake(head: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX + 2];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(head).ok()?;
    let mut request = Request::new();
    let head = request.head_mut();
    head.method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    head.uri = parsed.path?.parse().ok()?;
    head.version = Version::HTTP_11;
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        head.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(request)
}

/// The values of one field of a head, without checking the rest of the head.
pub(crate) fn field(head: &[u8], name: &HeaderName) -> HeaderMap {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX + 2];
    let mut request = httparse::Request::new(&mut fields);
    let mut found = HeaderMap::new();
    if request.parse(head).is_ok() {
        for line in request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name.as_str())) {
            if let Ok(value) = HeaderValue::from_bytes(line.value) {
                found.append(name.clone(), value);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
