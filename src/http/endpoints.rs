//! The table of all HTTP routes. It produces both the router and the OpenAPI document, so neither can lack a route.

use actix_web::http::{Method, StatusCode, header};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};
use starling_protocol::limits;

use super::handlers::{
    asyncapi, diagnosis, drop_inbox, drop_room, file, healthz, index, lab, lab_page, messages, metrics, nodes, openapi,
    post_message, readyz, remove_client, rooms, stats, upgrade_required,
};
use super::moderation::{
    audit, impose, invitations, invite, lift, room_settings, sanctions, set_room_settings, set_rooms, uninvite,
};
use super::names_in_path::{LOBBY_WEBSOCKET, ROOM_WEBSOCKET};
use crate::refusal::{HttpCode, HttpRefusal};
use crate::unread::{ReadByOperation, ReadParts};

/// A path and its methods. Each path with `GET` also has `HEAD`, and every path has `OPTIONS`.
pub(super) struct Endpoint {
    pub(super) path: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) operations: &'static [Operation],
}

/// A method of a path.
pub(super) struct Operation {
    pub(super) method: Method,
    /// Its name in generated clients.
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) access: Access,
    pub(super) query: &'static [Parameter],
    /// The type that it reads from the body.
    pub(super) reads: Option<&'static str>,
    pub(super) status: StatusCode,
    pub(super) answer: Answer,
    /// The refusals of this operation itself. Any request may also get those of [`ANY_REQUEST`].
    pub(super) refusals: &'static [HttpCode],
    route: fn() -> Route,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Anyone,
    /// Anyone; if names are authenticated, a client with a token.
    Reader,
    Operator,
}

/// A parameter in the path or the query.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
    /// Whether it is needed in a query; in a path it always is.
    pub(super) is_required: bool,
    pub(super) example: Option<&'static str>,
}

/// The values that a parameter may have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// The name of a client or a room.
    Name,
    /// A name that clients may take.
    OwnName,
    Seq,
    /// The most messages of a page.
    Limit,
    /// Words to search for.
    Search,
    Word(&'static [&'static str]),
    Text,
}

/// The body of a successful answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Nothing,
    Text(&'static str),
    Yaml,
    /// A frame of the server of this `type`.
    Event(&'static str),
    Stats,
    Diagnosed,
    /// The figures of the lab, as JSON or as a stream of events.
    Lab,
    Posted,
    Nodes,
    /// A type by its name.
    Named(&'static str),
    /// The OpenAPI document.
    Document,
}

/// The refusals of any request, whatever its path.
pub(super) const ANY_REQUEST: [HttpCode; 8] = [
    HttpCode::BadRequest,
    HttpCode::RequestTimeout,
    HttpCode::BodyTooLarge,
    HttpCode::UriTooLong,
    HttpCode::HeadTooLarge,
    HttpCode::TooManyConnections,
    HttpCode::NotImplemented,
    HttpCode::Unavailable,
];

const fn parameter(name: &'static str, about: &'static str, kind: Kind) -> Parameter {
    Parameter { name, about, kind, is_required: false, example: None }
}

const VERSION: Parameter = parameter("version", "The version of the page's files.", Kind::Text);
const FOLDER: Parameter = parameter("folder", "A folder of the page.", Kind::Text);
const FILE: Parameter = parameter("file", "A file of the page.", Kind::Text);
const ROOM: Parameter =
    Parameter { example: Some(limits::LOBBY), ..parameter("room", "The name of a room.", Kind::Name) };
const CLIENT: Parameter = parameter("clientId", "The name of a client.", Kind::Name);

/// The parameters of a handshake.
const HANDSHAKE: &[Parameter] = &[
    parameter("clientId", "The name to take. Without it the connection gets a guest name.", Kind::OwnName),
    parameter("key", "With `clientId`: the key in an earlier `welcome`, which takes the name back.", Kind::Text),
    parameter("format", "`text` answers in lines for a person.", Kind::Word(&["json", "text"])),
];

/// The refusals of a handshake.
const HANDSHAKE_REFUSALS: &[HttpCode] = &[
    HttpCode::BadName,
    HttpCode::BadRoom,
    HttpCode::Unauthorized,
    HttpCode::Forbidden,
    HttpCode::Banned,
    HttpCode::NotInvited,
    HttpCode::NoSuchPath,
    HttpCode::NameTaken,
    HttpCode::UpgradeRequired,
    HttpCode::RateLimited,
];

/// The default parts of an operation.
const GET: Operation = Operation {
    method: Method::GET,
    id: "",
    about: "",
    access: Access::Anyone,
    query: &[],
    reads: None,
    status: StatusCode::OK,
    answer: Answer::Nothing,
    refusals: &[],
    route: web::route,
};
const DELETE: Operation =
    Operation { method: Method::DELETE, access: Access::Operator, status: StatusCode::NO_CONTENT, ..GET };

const PAGE_FILE: Operation = Operation {
    about: "A file that the page loads.",
    answer: Answer::Text("*/*"),
    refusals: &[HttpCode::NoSuchPath],
    route: || web::to(file),
    ..GET
};

const HANDSHAKE_GET: Operation = Operation {
    access: Access::Reader,
    query: HANDSHAKE,
    status: StatusCode::SWITCHING_PROTOCOLS,
    refusals: HANDSHAKE_REFUSALS,
    route: || web::to(upgrade_required),
    ..GET
};

/// All routes. The paths of the page have separate patterns instead of one tail match, because the request metrics are
/// labelled by pattern.
pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        path: "/",
        parameters: &[],
        operations: &[Operation {
            id: "page",
            about: "The chat page.",
            answer: Answer::Text("text/html"),
            refusals: &[HttpCode::NoSuchPath],
            route: || web::to(index),
            ..GET
        }],
    },
    Endpoint {
        path: "/lab",
        parameters: &[],
        operations: &[Operation {
            id: "labPage",
            about: "The page that shows what limits the server.",
            answer: Answer::Text("text/html"),
            refusals: &[HttpCode::NoSuchPath],
            route: || web::to(lab_page),
            ..GET
        }],
    },
    Endpoint {
        path: "/web/{version}/{file}",
        parameters: &[VERSION, FILE],
        operations: &[Operation { id: "pageFile", ..PAGE_FILE }],
    },
    Endpoint {
        path: "/web/{version}/{folder}/{file}",
        parameters: &[VERSION, FOLDER, FILE],
        operations: &[Operation { id: "pageFileInFolder", ..PAGE_FILE }],
    },
    Endpoint {
        path: "/web/{version}/{folder}/{inner}/{file}",
        parameters: &[VERSION, FOLDER, parameter("inner", "A folder within it.", Kind::Text), FILE],
        operations: &[Operation { id: "pageFileInInnerFolder", ..PAGE_FILE }],
    },
    Endpoint {
        path: "/healthz",
        parameters: &[],
        operations: &[Operation {
            id: "healthz",
            about: "The process is alive.",
            answer: Answer::Text("text/plain"),
            route: || web::to(healthz),
            ..GET
        }],
    },
    Endpoint {
        path: "/readyz",
        parameters: &[],
        operations: &[Operation {
            id: "readyz",
            about: "Whether the server can serve; 503 has the reason.",
            answer: Answer::Text("text/plain"),
            route: || web::to(readyz),
            ..GET
        }],
    },
    Endpoint {
        path: "/metrics",
        parameters: &[],
        operations: &[Operation {
            id: "metrics",
            about: "The figures, for Prometheus.",
            answer: Answer::Text("text/plain"),
            route: || web::to(metrics),
            ..GET
        }],
    },
    Endpoint {
        path: LOBBY_WEBSOCKET,
        parameters: &[],
        operations: &[Operation {
            id: "connect",
            about: "A WebSocket in the lobby. /api/asyncapi.yaml describes the frames.",
            ..HANDSHAKE_GET
        }],
    },
    Endpoint {
        path: ROOM_WEBSOCKET,
        parameters: &[ROOM],
        operations: &[Operation {
            id: "connectToRoom",
            about: "A WebSocket in a room. /api/asyncapi.yaml describes the frames.",
            ..HANDSHAKE_GET
        }],
    },
    Endpoint {
        path: "/api/openapi.json",
        parameters: &[],
        operations: &[Operation {
            id: "openapi",
            about: "This document.",
            answer: Answer::Document,
            route: || web::to(openapi),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/asyncapi.yaml",
        parameters: &[],
        operations: &[Operation {
            id: "asyncapi",
            about: "The AsyncAPI document of the WebSocket.",
            answer: Answer::Yaml,
            route: || web::to(asyncapi),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/stats",
        parameters: &[],
        operations: &[Operation {
            id: "stats",
            about: "A summary of the chat's figures.",
            access: Access::Reader,
            answer: Answer::Stats,
            refusals: &[HttpCode::Unauthorized],
            route: || web::to(stats),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/diagnosis",
        parameters: &[],
        operations: &[Operation {
            id: "diagnosis",
            about: "What limits the server now, with the evidence and the remedy.",
            access: Access::Reader,
            answer: Answer::Diagnosed,
            refusals: &[HttpCode::Unauthorized],
            route: || web::to(diagnosis),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/lab",
        parameters: &[],
        operations: &[Operation {
            id: "lab",
            about: "The figures of the page /lab. With `Accept: text/event-stream` they come once a second, as \
                server-sent events, the first with the last five minutes; 503 if there are too many viewers.",
            access: Access::Reader,
            answer: Answer::Lab,
            refusals: &[HttpCode::Unauthorized],
            route: || web::to(lab),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/nodes",
        parameters: &[],
        operations: &[Operation {
            id: "nodes",
            about: "The nodes of the chat that have begun and were not declared dead, as this one knows them. None on a \
                    server without other nodes.",
            access: Access::Operator,
            answer: Answer::Nodes,
            refusals: &[HttpCode::Unauthorized, HttpCode::Forbidden],
            route: || web::to(nodes),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/rooms",
        parameters: &[],
        operations: &[Operation {
            id: "rooms",
            about: "The rooms, those with the most members first. If names are authenticated, only the rooms that the \
                    token allows.",
            access: Access::Reader,
            answer: Answer::Event("rooms"),
            refusals: &[HttpCode::Unauthorized],
            route: || web::to(rooms),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/rooms/{room}/messages",
        parameters: &[ROOM],
        operations: &[
            Operation {
                id: "messages",
                about: "A page of a room's messages, the oldest first; with `q`, the messages found, the newest first. \
                    Either `before` or `after`; with `q` only `before`.",
                access: Access::Reader,
                query: &[
                    parameter("before", "Only messages with a smaller `seq`: the newest of them.", Kind::Seq),
                    parameter("after", "Only messages with a greater `seq`: the oldest of them.", Kind::Seq),
                    parameter("limit", "Maximum number of messages of the page; 50 if absent.", Kind::Limit),
                    parameter("q", "The words and `\"phrases\"` to search for.", Kind::Search),
                ],
                answer: Answer::Event("history"),
                refusals: &[
                    HttpCode::BadRoom,
                    HttpCode::Unauthorized,
                    HttpCode::Forbidden,
                    HttpCode::NotInvited,
                    HttpCode::NoSuchRoom,
                    HttpCode::NoSuchPath,
                ],
                route: || web::to(messages),
                ..GET
            },
            Operation {
                method: Method::POST,
                id: "postMessage",
                about: "Sends a message to a room. Answers when it is stored.",
                access: Access::Operator,
                reads: Some("OperatorMessage"),
                answer: Answer::Posted,
                refusals: &[
                    HttpCode::BadRoom,
                    HttpCode::BadName,
                    HttpCode::MessageEmpty,
                    HttpCode::MessageTooLarge,
                    HttpCode::Unauthorized,
                    HttpCode::Forbidden,
                    HttpCode::NoSuchRoom,
                    HttpCode::NoSuchPath,
                    HttpCode::OutcomeUnknown,
                ],
                route: || web::to(post_message),
                ..GET
            },
        ],
    },
    Endpoint {
        path: "/api/rooms/{room}",
        parameters: &[ROOM],
        operations: &[Operation {
            id: "dropRoom",
            about: "Drops a room with all its messages.",
            refusals: &[
                HttpCode::BadRoom,
                HttpCode::Unauthorized,
                HttpCode::Forbidden,
                HttpCode::NoSuchRoom,
                HttpCode::NoSuchPath,
                HttpCode::OutcomeUnknown,
            ],
            route: || web::to(drop_room),
            ..DELETE
        }],
    },
    Endpoint {
        path: "/api/rooms/{room}/settings",
        parameters: &[ROOM],
        operations: &[
            Operation {
                id: "roomSettings",
                about: "The settings of a room, which need not exist.",
                access: Access::Operator,
                answer: Answer::Named("GivenSettings"),
                refusals: &[HttpCode::BadRoom, HttpCode::Unauthorized, HttpCode::Forbidden, HttpCode::NoSuchPath],
                route: || web::to(room_settings),
                ..GET
            },
            Operation {
                method: Method::POST,
                id: "setRoomSettings",
                about: "Changes the given settings of a room, which need not exist; the others stay. Answers with all when it is \
                        stored.",
                access: Access::Operator,
                reads: Some("GivenSettings"),
                answer: Answer::Named("GivenSettings"),
                refusals: &[
                    HttpCode::BadRoom,
                    HttpCode::Unauthorized,
                    HttpCode::Forbidden,
                    HttpCode::NoSuchPath,
                    HttpCode::TooManySettings,
                    HttpCode::OutcomeUnknown,
                ],
                route: || web::to(set_room_settings),
                ..GET
            },
        ],
    },
    Endpoint {
        path: "/api/rooms/{room}/invitations",
        parameters: &[ROOM],
        operations: &[
            Operation {
                id: "invitations",
                about: "The clients that are invited to a room, which need not exist or be private.",
                access: Access::Operator,
                answer: Answer::Named("Invitations"),
                refusals: &[HttpCode::BadRoom, HttpCode::Unauthorized, HttpCode::Forbidden, HttpCode::NoSuchPath],
                route: || web::to(invitations),
                ..GET
            },
            Operation {
                method: Method::POST,
                id: "invite",
                about: "Invites a client to a room. Replaces an earlier invitation. Answers when it is stored.",
                access: Access::Operator,
                reads: Some("NewInvitation"),
                answer: Answer::Named("Invitation"),
                refusals: &[
                    HttpCode::BadName,
                    HttpCode::BadRoom,
                    HttpCode::Unauthorized,
                    HttpCode::Forbidden,
                    HttpCode::NoSuchPath,
                    HttpCode::TooManyInvitations,
                    HttpCode::OutcomeUnknown,
                ],
                route: || web::to(invite),
                ..GET
            },
        ],
    },
    Endpoint {
        path: "/api/rooms/{room}/invitations/{clientId}",
        parameters: &[ROOM, CLIENT],
        operations: &[Operation {
            id: "uninvite",
            about: "Takes an invitation back. If the room is private, the client leaves it.",
            refusals: &[
                HttpCode::BadName,
                HttpCode::BadRoom,
                HttpCode::Unauthorized,
                HttpCode::Forbidden,
                HttpCode::NoSuchInvitation,
                HttpCode::NoSuchPath,
                HttpCode::OutcomeUnknown,
            ],
            route: || web::to(uninvite),
            ..DELETE
        }],
    },
    Endpoint {
        path: "/api/moderation/sanctions",
        parameters: &[],
        operations: &[
            Operation {
                id: "sanctions",
                about: "The mutes and bans in force, the newest first.",
                access: Access::Operator,
                answer: Answer::Named("Sanctions"),
                refusals: &[HttpCode::Unauthorized, HttpCode::Forbidden],
                route: || web::to(sanctions),
                ..GET
            },
            Operation {
                method: Method::POST,
                id: "impose",
                about: "Mutes or bans a client or an address, in a room or on the server. Replaces an earlier sanction of \
                        the same target. Answers when it is stored.",
                access: Access::Operator,
                reads: Some("NewSanction"),
                answer: Answer::Named("Sanction"),
                refusals: &[
                    HttpCode::BadName,
                    HttpCode::BadRoom,
                    HttpCode::Unauthorized,
                    HttpCode::Forbidden,
                    HttpCode::TooManySanctions,
                    HttpCode::OutcomeUnknown,
                ],
                route: || web::to(impose),
                ..GET
            },
            Operation {
                id: "lift",
                about: "Takes a mute or a ban back. Either `clientId` or `address`.",
                query: &[
                    Parameter {
                        is_required: true,
                        ..parameter("measure", "What to take back.", Kind::Word(&["mute", "ban"]))
                    },
                    parameter("clientId", "The name of the client.", Kind::Name),
                    parameter("address", "The address.", Kind::Text),
                    parameter("room", "The room; without it, a sanction on the whole server.", Kind::Name),
                ],
                refusals: &[
                    HttpCode::BadName,
                    HttpCode::BadRoom,
                    HttpCode::Unauthorized,
                    HttpCode::Forbidden,
                    HttpCode::NoSuchSanction,
                    HttpCode::OutcomeUnknown,
                ],
                route: || web::to(lift),
                ..DELETE
            },
        ],
    },
    Endpoint {
        path: "/api/moderation/rooms",
        parameters: &[],
        operations: &[Operation {
            id: "setRooms",
            about: "The rooms whose settings differ from the default, in the order of their names.",
            access: Access::Operator,
            answer: Answer::Named("SetRooms"),
            refusals: &[HttpCode::Unauthorized, HttpCode::Forbidden],
            route: || web::to(set_rooms),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/moderation/audit",
        parameters: &[],
        operations: &[Operation {
            id: "audit",
            about: "The newest decisions of operators, the newest first.",
            access: Access::Operator,
            answer: Answer::Named("AuditLog"),
            refusals: &[HttpCode::Unauthorized, HttpCode::Forbidden],
            route: || web::to(audit),
            ..GET
        }],
    },
    Endpoint {
        path: "/api/inboxes/{clientId}",
        parameters: &[CLIENT],
        operations: &[Operation {
            id: "dropInbox",
            about: "Drops the private messages in a client's inbox.",
            refusals: &[
                HttpCode::BadName,
                HttpCode::Unauthorized,
                HttpCode::Forbidden,
                HttpCode::NoSuchClient,
                HttpCode::NoSuchPath,
                HttpCode::OutcomeUnknown,
            ],
            route: || web::to(drop_inbox),
            ..DELETE
        }],
    },
    Endpoint {
        path: "/api/clients/{clientId}",
        parameters: &[CLIENT],
        operations: &[Operation {
            id: "removeClient",
            about: "Closes all connections of a client.",
            refusals: &[
                HttpCode::BadName,
                HttpCode::Unauthorized,
                HttpCode::Forbidden,
                HttpCode::NoSuchClient,
                HttpCode::NoSuchPath,
                HttpCode::OutcomeUnknown,
            ],
            route: || web::to(remove_client),
            ..DELETE
        }],
    },
];

impl Endpoint {
    /// Its methods, as `Allow` has them.
    fn allow(&self) -> String {
        let mut allow = String::new();
        for operation in self.operations {
            allow += operation.method.as_str();
            allow += if operation.method == Method::GET { ", HEAD, " } else { ", " };
        }
        allow + "OPTIONS"
    }

    fn read_parts(&self) -> ReadParts {
        let operations = self.operations.iter().map(|operation| ReadByOperation {
            method: operation.method.clone(),
            query: operation.query.iter().map(|parameter| parameter.name).collect(),
            has_body: operation.reads.is_some(),
        });
        ReadParts(operations.collect())
    }
}

/// Adds all routes to the router.
pub(super) fn register(config: &mut ServiceConfig) {
    for endpoint in ENDPOINTS {
        let mut resource = resource(endpoint.path, endpoint.allow()).app_data(endpoint.read_parts());
        for operation in endpoint.operations {
            resource = resource.route((operation.route)().method(operation.method.clone()));
            if operation.method == Method::GET {
                resource = resource.route((operation.route)().method(Method::HEAD));
            }
        }
        config.service(resource);
    }
}

/// A resource with these methods. Other methods are refused; `OPTIONS` lists them.
pub(super) fn resource(path: &str, methods: String) -> Resource {
    web::resource(path).default_service(web::to(move |request: HttpRequest| {
        let methods = methods.clone();
        async move {
            if request.method() == Method::OPTIONS {
                return Ok(told(methods));
            }
            let text = format!("the method {} is not one of {methods}", request.method());
            Err(HttpRefusal::new(HttpCode::MethodNotAllowed, text).allow(methods))
        }
    }))
}

/// The answer to `OPTIONS`.
pub(super) fn told(methods: String) -> HttpResponse {
    HttpResponse::NoContent().insert_header((header::ALLOW, methods)).finish()
}
