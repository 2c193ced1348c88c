//! The body of a request: valid bodies, and bodies that end the connection.

use futures_util::future::join_all;
use test_kit::raw::{self, Raw};

use super::{answer_to, check_common};
use crate::harness::TestServer;

#[actix::test]
async fn an_operators_message_is_an_object() {
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", "0123456789abcdef0123456789abcdef")]);
    let post = async |body: &str| {
        let head = format!(
            "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\n\
             Authorization: Bearer 0123456789abcdef0123456789abcdef\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        answer_to(server.address(), head.as_bytes()).await
    };
    assert_eq!(post(r#"{"Message":"hello"}"#).await.status, 200);
    for body in [r#"[null,"hello",null]"#, r#""hello""#, "null", "7"] {
        post(body).await.expect_refusal(400, "bad_request");
    }
}

#[actix::test]
async fn a_body_that_is_none_is_refused_with_a_code_and_ends_its_connection() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", TOKEN), ("CHAT_HANDSHAKE_SECONDS", "1")]);
    let begin = format!("POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n");
    let chunked = |body: &str| format!("{begin}Transfer-Encoding: chunked\r\n\r\n{body}");
    let smuggled = "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
    let cases: &[(String, u16, &str)] = &[
        (chunked(&format!("x\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("-0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("0\n\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1 \r\na\r\n0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1\r\nab\r\n0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1;a=\n0\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("1\r\na\r\n0\r\nX: y\rZ\r\n\r\n{smuggled}")), 400, "bad_request"),
        (chunked(&format!("10000000000000001\r\n{smuggled}")), 400, "bad_request"),
        (chunked("fffffff\r\n"), 413, "body_too_large"),
        (chunked(&format!("1;{}\r\n", "x".repeat(70_000))), 413, "body_too_large"),
        (chunked(&format!("0\r\n{}", "X: y\r\n".repeat(20_000))), 413, "body_too_large"),
        (chunked(&"1;x=y\r\na\r\n".repeat(20_000)), 413, "body_too_large"),
        (chunked("1\r\n"), 408, "request_timeout"),
        (format!("{begin}Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"), 413, "body_too_large"),
        (format!("{begin}Content-Length: 10\r\n\r\nnot"), 408, "request_timeout"),
    ];
    join_all(cases.iter().map(async |(request, status, code)| {
        let mut raw = Raw::open(server.address()).await;
        raw.send(request.as_bytes()).await;
        let answer = raw.answer().await;
        let what = &request[begin.len()..request.len().min(begin.len() + 80)];
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        answer.expect_refusal(*status, code);
        check_common(what, &answer);
        assert_eq!(raw.end().await, 0, "{what}: nothing behind it is a request");
    }))
    .await;
    assert_eq!(raw::get(&server, "/readyz").await.status, 200);
}

#[actix::test]
async fn a_body_that_waits_for_leave_gets_it_and_a_pipeline_may_end_in_a_websocket() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let server = TestServer::start(&[("CHAT_ADMIN_TOKEN", TOKEN)]);
    let mut raw = Raw::open(server.address()).await;
    let head = format!(
        "POST /api/rooms/lobby/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
         Expect: 100-continue\r\nContent-Length: 19\r\n\r\n"
    );
    raw.send(head.as_bytes()).await;
    assert_eq!(raw.head().await.status, 100);
    raw.send(br#"{"Message":"hello"}"#).await;
    assert_eq!(raw.answer().await.status, 200);
    // On the same connection, in one write: a request, a handshake, and a frame after it.
    let get = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let frame = raw::frame(raw::TEXT, br#"{"Message":"at once"}"#);
    raw.send(&[get.as_bytes(), raw::handshake_request("/ws").as_bytes(), &frame].concat()).await;
    assert_eq!(raw.answer().await.body, "alive\n");
    assert_eq!(raw.answer().await.status, 101);
    assert!(raw.frame().await.unwrap().says("welcome"));
    assert!(raw.frame().await.unwrap().says("at once"));
}
