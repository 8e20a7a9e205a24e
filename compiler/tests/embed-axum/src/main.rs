//! Finds objects in pictures that are posted to `/detect`; the address is printed first.

mod models {
    peristyle_runtime::include_models!();
}

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use models::shapes::{Class, Model};
use peristyle_runtime::detect::{ImageRef, Params, Pipeline};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

type Refusal = (StatusCode, String);

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let pipeline = Pipeline::builder(Model::start()?.into_engine()).build()?;
    let app = Router::new().route("/detect", post(detect)).with_state(Arc::new(Mutex::new(pipeline)));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// The network runs beside the thread that answers.
async fn detect(State(pipeline): State<Arc<Mutex<Pipeline>>>, body: Bytes) -> Result<Json<Value>, Refusal> {
    let found = tokio::task::spawn_blocking(move || find(&pipeline, &body)).await;
    found.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?.map(Json)
}

fn find(pipeline: &Mutex<Pipeline>, body: &[u8]) -> Result<Value, Refusal> {
    let refused = |error: String| (StatusCode::BAD_REQUEST, error);
    let picture = image::load_from_memory(body).map_err(|e| refused(e.to_string()))?.to_rgb8();
    let [width, height] = [picture.width(), picture.height()].map(|n| n as usize);
    let picture = ImageRef::rgb(picture.as_raw(), width, height).map_err(|e| refused(e.to_string()))?;
    let mut pipeline = pipeline.lock().unwrap_or_else(PoisonError::into_inner);
    let found = pipeline.run(&[picture], &Params::default()).map_err(|e| refused(e.to_string()))?;
    let object = |([left, top, right, bottom], score, class): ([f32; 4], f32, usize)| {
        let class = Class::ALL[class];
        json!({ "class": class.name(), "score": score, "box": [left, top, right, bottom] })
    };
    Ok(found.iter().flat_map(|objects| objects.iter()).map(object).collect())
}
