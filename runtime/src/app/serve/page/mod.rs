//! What a browser sees at `/`: pictures in, boxes out.
//!
//! Everything is in the program. The page asks nothing of anyone but this service, by relative addresses, so that it
//! works offline and below any path of a proxy.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Scripts and styles come from this service only, pictures from the page itself, and no other page may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PERMISSIONS: &str = "camera=(self), microphone=(), geolocation=()";

/// A part of the page: path, type, text.
type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: [File; 12] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("style.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("/page/alert.js", SCRIPT, include_str!("alert.js")),
    ("/page/app.js", SCRIPT, include_str!("app.js")),
    ("/page/camera.js", SCRIPT, include_str!("camera.js")),
    ("/page/copy.js", SCRIPT, include_str!("copy.js")),
    ("/page/palette.js", SCRIPT, include_str!("palette.js")),
    ("/page/panels.js", SCRIPT, include_str!("panels.js")),
    ("/page/server.js", SCRIPT, include_str!("server.js")),
    ("/page/stage.js", SCRIPT, include_str!("stage.js")),
    ("/page/upright.js", SCRIPT, include_str!("upright.js")),
];

/// The routes of the page.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |router, file| {
        router.route(file.0, get(move |headers: HeaderMap| async move { answer(file, &headers) }))
    })
}

fn answer((_, kind, text): File, headers: &HeaderMap) -> Response {
    let tag = tag(text);
    let about = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (ETAG, tag.as_str()),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    if known.flat_map(|value| value.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, text).into_response()
}

fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::draw::class_color;

    fn text(path: &str) -> &'static str {
        FILES.iter().find(|(at, ..)| *at == path).expect("a file of the page").2
    }

    /// What stands between quotes after `before`, in all files of the page.
    fn quoted_after(before: &str) -> Vec<(&'static str, &'static str)> {
        let all = FILES.iter().flat_map(|(path, _, text)| {
            text.split(before).skip(1).filter_map(move |rest| rest.split('"').next().map(|quoted| (*path, quoted)))
        });
        all.collect()
    }

    #[test]
    fn colours_are_those_of_the_program() {
        let source = text("/page/palette.js");
        let list = source.split_once("PALETTE = [").and_then(|(_, rest)| rest.split_once("];")).expect("a list").0;
        let colors: Vec<Vec<u8>> = (list.split('[').skip(1))
            .map(|color| color.split(']').next().unwrap().split(", ").map(|level| level.parse().unwrap()).collect())
            .collect();
        assert_eq!(colors.len(), 20);
        for (class_id, color) in colors.iter().chain(&colors).enumerate() {
            assert_eq!(*color, class_color(class_id), "class {class_id}");
        }
    }

    #[test]
    fn everything_that_is_asked_for_is_there() {
        let linked = ["href=\"page/", "src=\"page/", "from \"./"].map(quoted_after).concat();
        assert!(linked.len() > 10);
        for (by, name) in linked {
            assert!(FILES.iter().any(|(path, ..)| *path == format!("/page/{name}")), "{by} asks for {name}");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_or_stands_in_the_page() {
        for (path, _, text) in FILES {
            let addresses =
                text.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
            let foreign: Vec<&str> = addresses
                .map(|rest| rest.split(['"', '\'', ' ']).next().unwrap_or_default())
                .filter(|rest| !rest.starts_with("://www.w3.org/2000/svg") && !rest.starts_with("://localhost"))
                .collect();
            assert!(foreign.is_empty(), "{path}: {foreign:?}");
            assert!(!text.contains(" style=\"") && !text.contains("<style") && !text.contains("innerHTML"), "{path}");
        }
        assert!(!text("/").contains("onclick=") && text("/").matches("<script").count() == 1);
    }

    #[test]
    fn a_known_text_is_not_sent_again() {
        let file = FILES[1];
        let first = answer(file, &HeaderMap::new());
        assert_eq!(first.headers()[CONTENT_SECURITY_POLICY], POLICY);
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(answer(file, &headers).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(FILES[2], &headers).status(), StatusCode::OK);
    }
}
