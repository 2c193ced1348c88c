//! Security headers of every HTTP response.

use actix_http::header::{self, HeaderName};
use actix_web::middleware::DefaultHeaders;

/// A header and its value.
pub(crate) type Header = (HeaderName, &'static str);

/// On every response: no MIME sniffing, no referrer, no browser features, no embedding by other origins.
pub(crate) const COMMON: [Header; 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::PERMISSIONS_POLICY, "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// On responses that are not pages: a browser that shows one as a page must not load or run anything.
pub(crate) const NO_CONTENT_POLICY: Header =
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");

/// On responses that are valid only now.
pub(crate) const NO_STORE: Header = (header::CACHE_CONTROL, "no-store");

/// Adds each of these headers to a response that does not have it.
pub(crate) fn defaults() -> DefaultHeaders {
    let all = COMMON.into_iter().chain([NO_CONTENT_POLICY, NO_STORE]);
    all.fold(DefaultHeaders::new(), DefaultHeaders::add)
}
