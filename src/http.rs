//! The HTTP application. `http/endpoints.rs` lists its routes, and `http/handlers.rs` has their handlers. `/ws` itself
//! is in `upgrade`.

mod endpoints;
mod fields;
mod handlers;
pub(crate) mod moderation;
mod names_in_path;
mod openapi;

use std::sync::Arc;

use actix_service::{Service, ServiceFactory};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::web::{self, Data, PayloadConfig, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse};
use actix_web_prom::PrometheusMetrics;

pub(crate) use self::fields::client_of;
use self::handlers::MakeOpenApi;
pub(crate) use self::names_in_path::{WebSocketPaths, room_in, wanted_room};
use crate::headers;
use crate::refusal::{HttpRefusal, READS};
use crate::state::ServerState;

/// The actix-web application of one worker thread, with the middleware that counts requests and serves `/metrics`.
pub(crate) fn app(
    state: Arc<ServerState>,
    metrics: PrometheusMetrics,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    // A body may be as large as a frame; a larger one cannot be a message.
    let payload = PayloadConfig::new(state.chat_config().frame_bytes as usize);
    let bare_prefix = state.path_prefix().bare().map(str::to_owned);
    let stopping = Arc::clone(&state);
    App::new()
        .app_data(payload)
        .app_data(Data::from(state))
        .app_data(Data::new(MakeOpenApi(openapi::of_server)))
        .wrap_fn(move |request, next| {
            let served = match refusal_of_stopping(&stopping, request.path()) {
                None => Ok(next.call(request)),
                Some(refusal) => Err(request.into_response(refusal.to_response())),
            };
            async move {
                match served {
                    Ok(served) => Ok(served.await?.map_into_left_body()),
                    Err(refused) => Ok(refused.map_into_right_body()),
                }
            }
        })
        .wrap(metrics)
        // Before the metrics, which use the method as a label.
        .wrap_fn(|mut request, next| {
            request.head_mut().method = of_closed_set(&request.head().method);
            next.call(request)
        })
        // The outermost, because `/metrics` needs these headers too.
        .wrap(headers::defaults())
        .configure(|config| routes(config, bare_prefix.as_deref()))
        .default_service(web::to(no_such_path))
}

/// The paths that a stopping server serves until its end.
const SERVED_WHILE_STOPPING: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The refusal of a request that comes while the server stops.
fn refusal_of_stopping(state: &ServerState, path: &str) -> Option<HttpRefusal> {
    state.stopping().filter(|_| !SERVED_WHILE_STOPPING.contains(&path)).map(HttpRefusal::from)
}

/// The method if HTTP defines it, otherwise `other`. The method is a label, and clients can invent methods. No route
/// has an undefined method, so the response is the same.
fn of_closed_set(method: &Method) -> Method {
    const DEFINED: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    if DEFINED.contains(method) {
        return method.clone();
    }
    Method::from_bytes(b"other").unwrap_or_default()
}

fn routes(config: &mut ServiceConfig, bare_prefix: Option<&str>) {
    if let Some(path) = bare_prefix {
        let methods = READS.to_owned();
        config.service(endpoints::resource(path, methods).route(web::get().to(to_page)).route(web::head().to(to_page)));
    }
    endpoints::register(config);
}

/// Redirects a request for the prefix without its final slash to the page.
async fn to_page(request: HttpRequest, state: Data<ServerState>) -> HttpResponse {
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    let location = format!("{}{query}", state.path_prefix().page_from_bare());
    HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish()
}

async fn no_such_path(request: HttpRequest) -> Result<HttpResponse, HttpRefusal> {
    if request.method() == Method::OPTIONS && request.path() == "*" {
        return Ok(endpoints::told("GET, HEAD, POST, DELETE, OPTIONS".to_owned()));
    }
    Err(HttpRefusal::nothing_at(request.path()))
}
