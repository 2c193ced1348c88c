//! The chat page and the lab's page: the files of `web/`, compiled in. Its link `js/starling.js` leads to the client in `clients/js/`.
//!
//! The chat page is at `/`, or at the path prefix, the lab's at `/lab`, and browsers revalidate them on every visit. All
//! other files are under `/web/{version}/`, where the version is a hash of all files. So a browser may cache them for ever, and never
//! mixes two versions. Files are compressed once, when the server starts.
//!
//! With `CHAT_WEB_DIR` the files are read from that folder on every request, and nothing is cached, so that changes
//! show at once during development of the page.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use actix_web::http::header::{
    self, AcceptEncoding, ContentEncoding, EntityTag, Header as _, HeaderValue, IfNoneMatch, Preference,
};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use rust_embed::{Embed, EmbeddedFile};

use crate::refusal::{HttpCode, HttpRefusal};

/// Allows the page only the resources and the WebSocket of this server. It forbids inline scripts and styles, and
/// turning text into HTML (trusted types). `'self'` includes WebSockets to the same host.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// A page, and the folders whose modules it loads.
#[derive(Debug, Clone, Copy)]
struct Document {
    file: &'static str,
    folders: &'static [&'static str],
}

const INDEX: Document = Document { file: "index.html", folders: &["js", "js/view"] };

/// The document names the few modules that it shares with the chat.
const LAB: Document = Document { file: "lab.html", folders: &["js/lab"] };

const DOCUMENTS: [Document; 2] = [INDEX, LAB];

/// The document in a file, if the file is one.
fn document(path: &str) -> Option<Document> {
    DOCUMENTS.into_iter().find(|document| document.file == path)
}

/// Placeholders in the page for the version of its files and for the list of its modules. References are relative to
/// the page, so that it works under any path of its host.
const VERSION_MARK: &str = "web/VERSION/";
const MODULES_MARK: &str = "<!-- MODULES -->";

/// Smaller files are not worth compressing.
const COMPRESSED_FROM_BYTES: usize = 512;

/// Brotli's quality, 0 to 11; a higher one takes much longer for little gain.
const BROTLI_QUALITY: i32 = 10;

/// Brotli's window, as a power of two: 64 KiB, larger than any file of the page. A larger window needs tens of
/// megabytes while it compresses.
const BROTLI_WINDOW_BITS: i32 = 16;

#[derive(Embed)]
#[folder = "web/"]
struct Web;

/// A file in all the encodings in which it is sent.
#[derive(Debug)]
struct Asset {
    content_type: String,
    tag: EntityTag,
    plain: Bytes,
    gzip: Option<Bytes>,
    brotli: Option<Bytes>,
}

/// The page and all its files.
#[derive(Debug)]
pub(crate) struct Pages {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Compiled { version: String, assets: BTreeMap<String, Asset> },
    Folder(PathBuf),
}

impl Pages {
    /// The files that were compiled in, or those of a folder.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { source: folder.map_or_else(Self::compiled, Source::Folder) }
    }

    fn compiled() -> Source {
        let mut version = String::new();
        let mut hash = Fnv::default();
        let mut files = BTreeMap::new();
        for path in Web::iter().filter(|path| !path.ends_with("package.json") && !path.ends_with(".d.ts")) {
            let Some(EmbeddedFile { data, metadata, .. }) = Web::get(&path) else { continue };
            hash.add(path.as_bytes());
            hash.add(&metadata.sha256_hash());
            files.insert(path.into_owned(), data);
        }
        // Writing to a string does not fail.
        write!(version, "{:016x}", hash.0).unwrap_or_default();
        let paths: Vec<String> = files.keys().cloned().collect();
        let assets = files
            .into_iter()
            .map(|(path, data)| {
                let data = match document(&path) {
                    Some(document) => fill_in(&data, &version, &modules_among(&paths, document)).into(),
                    None => data,
                };
                let asset = Asset::new(&path, data);
                (path, asset)
            })
            .collect();
        Source::Compiled { version, assets }
    }

    /// Answers with the chat page.
    pub(crate) fn index(&self, request: &HttpRequest) -> Result<HttpResponse, HttpRefusal> {
        self.document(request, INDEX)
    }

    /// Answers with the lab's page.
    pub(crate) fn lab(&self, request: &HttpRequest) -> Result<HttpResponse, HttpRefusal> {
        self.document(request, LAB)
    }

    fn document(&self, request: &HttpRequest, document: Document) -> Result<HttpResponse, HttpRefusal> {
        match &self.source {
            Source::Compiled { assets, .. } => match assets.get(document.file) {
                Some(asset) => Ok(asset.respond(request, "no-cache")),
                None => Err(HttpRefusal::nothing_at(request.path())),
            },
            Source::Folder(folder) => {
                let modules = modules_of(folder, document).map_err(|error| unreadable(folder, &error))?;
                let data = std::fs::read(folder.join(document.file)).map_err(|error| unreadable(folder, &error))?;
                Ok(Asset::fresh(document.file, fill_in(&data, "dev", &modules)).respond(request, "no-store"))
            }
        }
    }

    /// Answers with a file that the page loads.
    pub(crate) fn file(
        &self,
        request: &HttpRequest,
        asked_version: &str,
        path: &str,
    ) -> Result<HttpResponse, HttpRefusal> {
        match &self.source {
            Source::Compiled { version, assets } => {
                let asset = assets.get(path).filter(|_| document(path).is_none());
                let asset = asset.ok_or_else(|| HttpRefusal::nothing_at(request.path()))?;
                // A page of another version gets this version's file, and must revalidate it next time.
                let cache = if asked_version == version { "public, max-age=31536000, immutable" } else { "no-cache" };
                Ok(asset.respond(request, cache))
            }
            Source::Folder(folder) => {
                let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
                let data = if inside { std::fs::read(folder.join(path)).ok() } else { None };
                let data = data.ok_or_else(|| HttpRefusal::nothing_at(request.path()))?;
                Ok(Asset::fresh(path, data).respond(request, "no-store"))
            }
        }
    }
}

impl Asset {
    fn new(path: &str, data: Cow<'static, [u8]>) -> Self {
        let plain = match data {
            Cow::Borrowed(data) => Bytes::from_static(data),
            Cow::Owned(data) => Bytes::from(data),
        };
        let mut asset = Self::fresh(path, plain);
        let content_type = &asset.content_type;
        let is_text = content_type.starts_with("text/") || content_type.contains("svg");
        if is_text && asset.plain.len() >= COMPRESSED_FROM_BYTES {
            let smaller = |data: io::Result<Vec<u8>>| data.ok().filter(|data| data.len() < asset.plain.len());
            let (gzip, brotli) = (smaller(gzip(&asset.plain)), smaller(brotli(&asset.plain)));
            (asset.gzip, asset.brotli) = (gzip.map(Bytes::from), brotli.map(Bytes::from));
        }
        asset
    }

    /// A file without compressed encodings.
    fn fresh(path: &str, plain: impl Into<Bytes>) -> Self {
        let plain = plain.into();
        let mime = mime_guess::from_path(path).first_or_octet_stream();
        let charset = if mime.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
        let mut hash = Fnv::default();
        hash.add(&plain);
        Self {
            content_type: format!("{}{charset}", mime.essence_str()),
            // Weak, because all encodings share it.
            tag: EntityTag::new_weak(format!("{:016x}", hash.0)),
            plain,
            gzip: None,
            brotli: None,
        }
    }

    fn respond(&self, request: &HttpRequest, cache: &'static str) -> HttpResponse {
        let is_known = match IfNoneMatch::parse(request) {
            Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            Err(_) => false,
        };
        let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response
            .insert_header((header::ETAG, self.tag.to_string()))
            .insert_header((header::CACHE_CONTROL, cache))
            .insert_header((header::VARY, HeaderValue::from_static("accept-encoding")))
            // The middleware adds the other security headers.
            .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY));
        if is_known {
            return response.finish();
        }
        response.content_type(self.content_type.as_str());
        let accepted = AcceptEncoding::parse(request).ok();
        let takes = |coding: ContentEncoding| {
            accepted.as_ref().is_some_and(|accepted| {
                accepted.iter().any(|wanted| {
                    wanted.quality > header::Quality::ZERO
                        && matches!(&wanted.item, Preference::Specific(header::Encoding::Known(known)) if *known == coding)
                })
            })
        };
        match (&self.brotli, &self.gzip) {
            (Some(data), _) if takes(ContentEncoding::Brotli) => {
                response.insert_header((header::CONTENT_ENCODING, "br")).body(data.clone())
            }
            (_, Some(data)) if takes(ContentEncoding::Gzip) => {
                response.insert_header((header::CONTENT_ENCODING, "gzip")).body(data.clone())
            }
            _ => response.body(self.plain.clone()),
        }
    }
}

/// Fills in the placeholders of the page. The list of modules makes the browser load them all at once.
fn fill_in(page: &[u8], version: &str, modules: &[String]) -> Vec<u8> {
    let mut links = String::new();
    for path in modules {
        links.push_str("<link rel=\"modulepreload\" href=\"web/VERSION/");
        links.push_str(path);
        links.push_str("\">\n");
    }
    let page = String::from_utf8_lossy(page).replace(MODULES_MARK, links.trim_end());
    page.replace(VERSION_MARK, &format!("web/{version}/")).into_bytes()
}

fn is_module(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "js")
}

/// The modules of a document among these files.
fn modules_among(paths: &[String], document: Document) -> Vec<String> {
    let is_its = |path: &&String| path.rsplit_once('/').is_some_and(|(folder, _)| document.folders.contains(&folder));
    paths.iter().filter(|path| is_module(path)).filter(is_its).cloned().collect()
}

/// The modules of a document in a folder of the page's files.
fn modules_of(folder: &Path, document: Document) -> io::Result<Vec<String>> {
    let mut modules = Vec::new();
    for inside in document.folders {
        for entry in std::fs::read_dir(folder.join(inside))? {
            let path = format!("{inside}/{}", entry?.file_name().to_string_lossy());
            if is_module(&path) {
                modules.push(path);
            }
        }
    }
    modules.sort();
    Ok(modules)
}

fn unreadable(folder: &Path, error: &io::Error) -> HttpRefusal {
    HttpRefusal::new(HttpCode::Unavailable, format!("the page in {} cannot be read: {error}", folder.display()))
}

fn gzip(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data)?;
    encoder.finish()
}

fn brotli(data: &[u8]) -> io::Result<Vec<u8>> {
    let (quality, lgwin) = (BROTLI_QUALITY, BROTLI_WINDOW_BITS);
    let parameters = brotli::enc::BrotliEncoderParams { quality, lgwin, size_hint: data.len(), ..Default::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut io::Cursor::new(data), &mut compressed, &parameters)?;
    Ok(compressed)
}

/// FNV-1a, to distinguish versions. It protects nothing.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, data: &[u8]) {
        for byte in data {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
