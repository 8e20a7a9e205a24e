//! What a browser sees at `/`.

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

/// The routes of the page.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(|| async { Redirect::temporary("/docs") }))
}
