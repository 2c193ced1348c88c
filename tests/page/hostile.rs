//! Everything that people write is shown as text.

use serde_json::json;

use crate::harness::{Browser, Driver, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_a_program_is_shown_as_text() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let texts = [
        "<img src=x onerror=\"window.hurt = true\">",
        "<script>window.hurt = true</script>",
        "javascript:window.hurt=true data:text/html,<b>x</b>",
        "https://example.org/?a=<b>&c=\"onmouseover=alert(1) (see https://example.org/x_(y)).",
        "{\"type\":\"leave\",\"room\":\"lobby\"}",
        "/quit",
        "\u{202e}gnp.exe\u{202c} \u{2066}left\u{2069} https://exa\u{202e}mple.org",
    ];
    for text in texts {
        // A text that begins with `/` is written with two.
        let typed = if text.starts_with('/') { format!("/{text}") } else { text.to_owned() };
        alice.paste_and_send(&typed).await;
    }
    bob.until_last(&texts).await;
    alice.until_last(&texts).await;
    let seen = bob
        .run(
            "return { hurt: window.hurt ?? false, images: document.querySelectorAll('#rows img, #rows script').length, \
        links: [...document.querySelectorAll('#rows .text a')].map((link) => link.getAttribute('href')) }",
            vec![],
        )
        .await;
    assert_eq!(
        seen,
        json!({
            "hurt": false, "images": 0,
            "links": ["https://example.org/?a=", "https://example.org/x_(y)", "https://exa/"],
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_message_is_shown_folded_and_whole() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let alice = Browser::enter(&driver, &server.page(), "alice").await;
    let bob = Browser::enter(&driver, &server.page(), "bob").await;
    let text = "0123456789abcdef".repeat(1_024);
    assert_eq!(text.len(), 16_384);
    alice.paste_and_send(&text).await;
    bob.until_last(&[&text]).await;
    bob.until_true("it is folded", "document.querySelector('.text').classList.contains('folded')").await;
    bob.click_text("Show all").await;
    let wide = bob
        .run("const list = document.querySelector('#messages'); return list.scrollWidth > list.clientWidth", vec![])
        .await;
    assert_eq!(wide, json!(false), "it does not make the page wider");
    alice.paste_and_send("after it").await;
    bob.until_last(&[&text, "after it"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_itself_cannot_make_html_of_a_text() {
    let server = TestServer::start(&[]);
    let driver = Driver::start().await;
    let page = Browser::open(&driver, &server.page()).await;
    let outcome = page.run("try { document.createElement('div').innerHTML = '<b>x</b>'; return 'done'; } catch (error) { return error.name; }", vec![]).await;
    assert_eq!(outcome, json!("TypeError"));
    let cookies = page.run("return document.cookie", vec![]).await;
    assert_eq!(cookies, json!(""));
}
