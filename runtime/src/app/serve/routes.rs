//! Every path, and who may ask for it.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::error::ApiError;
use super::state::App;
use super::{benchmark, infer, intake, key, observe, page};

type Shared = State<Arc<App>>;

/// Everything that the service answers.
pub fn router(app: &Arc<App>) -> Router {
    let mut guarded = Router::new()
        .route("/config", get(config))
        .route("/metrics", get(metrics))
        .route("/v2/models", get(models))
        .route("/v2/models/{name}", get(model))
        .route("/v2/models/{name}/infer", post(infer::named))
        .route("/v2/models/{name}/infer/from_files", post(infer::named))
        .route("/v2/models/{name}/benchmark", post(benchmark::run))
        .route("/invocations/{name}/infer", post(infer::named))
        .route("/invocations/{name}/infer/from_files", post(infer::named));
    for (path, index) in own_paths(app) {
        guarded = guarded.route(&path, post(move |app: Shared, request: Request| infer::at(app, index, request)));
    }
    if app.settings.api_key.is_some() {
        guarded = guarded.route_layer(from_fn_with_state(app.clone(), key::check));
    }
    let mut router = Router::new()
        .route("/v2", get(hello))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/ping", get(healthy))
        .route("/health", get(healthy))
        .route("/healthcheck", get(healthy))
        .route("/status", get(healthy))
        .route("/openapi.json", get(openapi))
        .route("/docs", get(docs))
        .merge(page::router())
        .merge(guarded)
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing)
        .layer(CatchPanicLayer::custom(observe::panicked));
    if !app.settings.cors.is_empty() {
        router = router.layer(cors(&app.settings.cors));
    }
    router.layer(from_fn_with_state(app.clone(), observe::observe)).with_state(app.clone())
}

/// Paths beside those below `/v2` that ask for boxes, and the endpoints that they ask.
fn own_paths(app: &App) -> Vec<(String, usize)> {
    let mut paths = vec![("/predict".to_owned(), 0), ("/invocations".to_owned(), 0)];
    for (index, endpoint) in app.settings.endpoints.iter().enumerate() {
        if let Some(route) = &endpoint.route {
            paths.retain(|(path, _)| path != route);
            paths.push((route.clone(), index));
        }
    }
    let with_files = paths.iter().map(|(path, index)| (format!("{path}/from_files"), *index));
    let with_files: Vec<_> = with_files.filter(|(path, _)| path != "/invocations/from_files").collect();
    paths.extend(with_files);
    paths
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let allowed = if origins.iter().any(|origin| origin == "*") { AllowOrigin::any() } else { origins.into() };
    let header = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(["authorization", "content-type", "traceparent", "x-api-key", "x-request-id"].map(header))
        .expose_headers(["retry-after", "server-timing", "x-request-id"].map(header))
}

async fn hello(State(app): Shared) -> Json<String> {
    Json(format!("This is the {} server. Hello!", app.models[0].spec.name))
}

async fn live() -> Json<Value> {
    Json(json!({ "status": "OK" }))
}

async fn ready(State(app): Shared) -> Result<Json<Value>, ApiError> {
    app.health.expect_ready()?;
    Ok(Json(json!({ "status": "OK" })))
}

async fn model_ready(state: Shared, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    state.endpoint(&name)?;
    ready(state).await
}

async fn healthy(State(app): Shared) -> Result<Json<bool>, ApiError> {
    app.health.expect_ready()?;
    Ok(Json(true))
}

async fn config(State(app): Shared) -> Json<Value> {
    Json(app.config())
}

async fn models(State(app): Shared) -> Json<Value> {
    let names: Vec<&str> = app.settings.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    Json(json!({ "models": names }))
}

async fn model(State(app): Shared, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(app.card(app.endpoint(&name)?)))
}

async fn metrics(State(app): Shared) -> Response {
    let text = app.metrics.text(app.schedule.depth(), app.health.expect_ready().is_ok());
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

async fn openapi(State(app): Shared) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], app.openapi.clone()).into_response()
}

async fn docs(State(app): Shared) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, app.docs.clone()).into_response()
}

async fn wrong_method(request: Request) -> Response {
    intake::refuse(request, ApiError::method()).await
}

async fn nothing(request: Request) -> Response {
    let message = if request.uri().path() == "/endpoints" {
        "endpoints are fixed while the service runs: put them into the file of --config-file and start it again"
    } else {
        "nothing is at this path; `/docs` lists what there is"
    };
    intake::refuse(request, ApiError::not_found(message)).await
}
