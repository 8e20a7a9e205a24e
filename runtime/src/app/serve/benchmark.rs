//! How fast an endpoint answers at this moment, beside everything else that it does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::error::ApiError;
use super::metrics::milliseconds;
use super::params::Wanted;
use super::schedule::Spent;
use super::state::App;
use super::{infer, intake};
use crate::app::source::Picture;

/// Images of one request, at most and when it does not say.
const MOST: u64 = 100;
const USUAL: u64 = 10;

/// Looks at a grey picture again and again and answers with the times.
pub async fn run(State(app): State<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let until = tokio::time::Instant::now() + app.settings.times.read;
    let measured = async {
        let body = intake::receive(&parts.headers, body, &app.settings.limits, &app.room, until).await?.bytes;
        app.health.expect_open()?;
        measure(&app, &name, iterations(&body)?).await
    };
    measured.await.map(Json).into_response()
}

fn iterations(body: &[u8]) -> Result<u64, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(USUAL);
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| ApiError::malformed(format!("JSON: {error}")))?;
    let expected = || ApiError::invalid(format!("expected {{\"iterations\": a whole number from 1 to {MOST}}}"));
    match value.as_object().ok_or_else(expected)?.get("iterations") {
        None | Some(Value::Null) => Ok(USUAL),
        Some(given) => given.as_u64().filter(|n| (1..=MOST).contains(n)).ok_or_else(expected),
    }
}

async fn measure(app: &App, name: &str, iterations: u64) -> Result<Value, ApiError> {
    let endpoint = app.endpoint(name)?;
    let spec = app.models[endpoint.model].spec;
    let classes = spec.detector.as_ref().map_or(0, |detector| detector.classes);
    let side = |axis: usize| spec.inputs.first().and_then(|input| input.shape.get(axis).copied()).unwrap_or(64);
    let (width, height) = (side(3), side(2));
    let image = Picture::from_rgb(vec![114; 3 * width * height], width, height).to_jpeg(90);
    let image = Bytes::from(image.map_err(|error| ApiError::internal(error.to_string()))?);
    let limits = app.settings.limits;
    let wanted = Wanted::new(&endpoint.defaults, &endpoint.class_names, classes, &limits);
    let mut times = Vec::new();
    let mut total = Spent::default();
    let started = Instant::now();
    for _ in 0..iterations {
        let asked = Instant::now();
        let found = infer::look(app, endpoint, vec![image.clone()], &wanted).await?;
        times.push(milliseconds(asked.elapsed()));
        found.iter().for_each(|image| total.add(&image.spent));
    }
    let seconds = started.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let mean = |time: Duration| milliseconds(time) / iterations as f64;
    Ok(json!({
        "iterations": iterations,
        "items_per_second": iterations as f64 / seconds,
        "mean_ms": times.iter().sum::<f64>() / iterations as f64,
        "median_ms": at(0.5),
        "p99_ms": at(0.99),
        "min_ms": times[0],
        "stages_ms": {
            "decode": mean(total.decode),
            "pre_process": mean(total.pre_process),
            "engine_forward": mean(total.inference),
            "post_process": mean(total.post_process),
        },
    }))
}
