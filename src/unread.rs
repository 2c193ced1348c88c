//! The parts of a request that its operation does not read. With its `seconds` in the query, a mute would have no end, so
//! an operator's request with such a part is refused.

use actix_web::HttpRequest;
use actix_web::http::{Method, header};
use starling_protocol::one_of;

use crate::query;
use crate::refusal::{HttpCode, HttpRefusal};

/// The parts that each operation of a path reads. The data of its resource.
#[derive(Debug)]
pub(crate) struct ReadParts(pub(crate) Vec<ReadByOperation>);

/// The parts that one operation reads.
#[derive(Debug)]
pub(crate) struct ReadByOperation {
    pub(crate) method: Method,
    /// The names of its parameters in the query.
    pub(crate) query: Vec<&'static str>,
    pub(crate) has_body: bool,
}

/// Refuses a request with another parameter in the query, or with a body that is not read.
pub(crate) fn refuse_unread(request: &HttpRequest) -> Result<(), HttpRefusal> {
    let bad = |text: String| Err(HttpRefusal::new(HttpCode::BadRequest, text));
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let operations = request.app_data::<ReadParts>().map_or(&[][..], |parts| &parts.0);
    let Some(operation) = operations.iter().find(|operation| operation.method == *method) else { return Ok(()) };
    for name in query::parameters(request.query_string())?.keys() {
        // The token is the caller's, in any request.
        if name == "token" || operation.query.contains(&name.as_str()) {
            continue;
        }
        return bad(if operation.has_body {
            format!("there is no parameter `{name}`; the fields stand in the body")
        } else if operation.query.is_empty() {
            format!("there is no parameter `{name}`")
        } else {
            let known = one_of(operation.query.iter().map(|known| format!("`{known}`")));
            format!("there is no parameter `{name}`; write {known}")
        });
    }
    let headers = request.headers();
    let is_empty = |length: &header::HeaderValue| length.as_bytes().iter().all(|digit| *digit == b'0');
    let has_body =
        headers.contains_key(header::TRANSFER_ENCODING) || !headers.get(header::CONTENT_LENGTH).is_none_or(is_empty);
    if has_body && !operation.has_body {
        return bad("this request must have no body".into());
    }
    Ok(())
}
