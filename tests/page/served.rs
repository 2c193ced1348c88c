//! How the page is served: complete, compressed, cached only while it is current, and from a folder on request.

use std::path::Path;

use awc::http::header;
use awc::{Client, ClientResponse};

use crate::harness::TestServer;

fn text(response: &ClientResponse<impl Sized>, name: header::HeaderName) -> String {
    response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

#[actix::test]
async fn the_page_loads_files_that_never_change_under_names_that_do() {
    let server = TestServer::start(&[]);
    let client = Client::builder().disable_timeout().finish();
    let get = |path: &str| client.get(format!("{}{}", server.page(), path.trim_start_matches('/'))).no_decompress();
    let mut page = get("/").send().await.unwrap();
    assert_eq!(text(&page, header::CACHE_CONTROL), "no-cache");
    assert!(text(&page, header::CONTENT_SECURITY_POLICY).contains("script-src 'self';"));
    assert!(!text(&page, header::CONTENT_SECURITY_POLICY).contains("unsafe"));
    assert!(page.headers().get(header::SET_COOKIE).is_none());
    let tag = text(&page, header::ETAG);
    let body = String::from_utf8(page.body().await.unwrap().to_vec()).unwrap();
    let again = get("/").insert_header((header::IF_NONE_MATCH, tag)).send().await.unwrap();
    assert_eq!(again.status(), 304);

    let version = body.split("\"web/").nth(1).unwrap().split('/').next().unwrap();
    assert_eq!(version.len(), 16, "{version}");
    assert!(!body.contains("VERSION") && !body.contains("MODULES"));
    let main = format!("/web/{version}/js/main.js");
    for (coding, answered) in [("identity", ""), ("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0, gzip", "gzip")] {
        let file = get(&main).insert_header((header::ACCEPT_ENCODING, coding)).send().await.unwrap();
        assert_eq!(text(&file, header::CONTENT_ENCODING), answered, "{coding}");
        assert_eq!(text(&file, header::CACHE_CONTROL), "public, max-age=31536000, immutable");
        assert_eq!(text(&file, header::CONTENT_TYPE), "text/javascript; charset=utf-8");
    }
    let old = get("/web/0000000000000000/js/main.js").send().await.unwrap();
    assert_eq!((old.status().as_u16(), text(&old, header::CACHE_CONTROL).as_str()), (200, "no-cache"));
    for nothing in ["js/none.js", "../Cargo.toml", "%2e%2e/Cargo.toml", "index.html", "", "js"] {
        assert_eq!(get(&format!("/web/{version}/{nothing}")).send().await.unwrap().status(), 404, "{nothing}");
    }
}

#[actix::test]
async fn every_module_is_loaded_ahead() {
    let server = TestServer::start(&[]);
    let client = Client::builder().disable_timeout().finish();
    let body = client.get(server.page()).send().await.unwrap().body().await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    for folder in ["js", "js/view"] {
        for entry in std::fs::read_dir(web.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_module = Path::new(&name).extension().is_some_and(|extension| extension == "js");
            let is_preloaded = body
                .split("modulepreload\" href=\"web/")
                .skip(1)
                .any(|link| link.split('"').next().unwrap().ends_with(&format!("/{folder}/{name}")));
            assert_eq!(is_preloaded, is_module, "{name}");
        }
    }
}

#[actix::test]
async fn a_folder_is_served_as_it_is_at_the_moment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("js/view")).unwrap();
    std::fs::write(folder.path().join("index.html"), "<p>web/VERSION/js/a.js<!-- MODULES -->").unwrap();
    std::fs::write(folder.path().join("js/a.js"), "1").unwrap();
    let server = TestServer::start(&[("CHAT_WEB_DIR", folder.path().to_str().unwrap())]);
    let client = Client::builder().disable_timeout().finish();
    let get = async |path: &str| {
        let mut response = client.get(format!("{}{path}", server.page())).send().await.unwrap();
        (response.status().as_u16(), text(&response, header::CACHE_CONTROL), response.body().await.unwrap())
    };
    let (status, cache, body) = get("").await;
    assert_eq!((status, cache.as_str()), (200, "no-store"));
    assert_eq!(body, "<p>web/dev/js/a.js<link rel=\"modulepreload\" href=\"web/dev/js/a.js\">");
    assert_eq!(get("web/dev/js/a.js").await.2, "1");
    std::fs::write(folder.path().join("js/a.js"), "2").unwrap();
    assert_eq!(get("web/dev/js/a.js").await.2, "2");
    for outside in ["web/dev/../../etc/passwd", "web/dev/%2e%2e/%2e%2e/etc/passwd", "web/dev//etc/passwd"] {
        assert_eq!(get(outside).await.0, 404, "{outside}");
    }
}
