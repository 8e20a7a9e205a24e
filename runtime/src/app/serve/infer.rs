//! Images in, boxes out.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;

use super::error::ApiError;
use super::metrics::milliseconds;
use super::params::Wanted;
use super::schedule::{Found, Job, Spent, late};
use super::settings::EndpointSettings;
use super::state::App;
use super::{answer, intake};

/// More boxes than this are written as JSON where nothing else waits.
const MANY_BOXES: usize = 2000;

/// What the log says about an answer.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    /// Images in the request.
    pub images: usize,
    /// Objects in all of them.
    pub objects: usize,
}

/// A request to the endpoint at `index`.
pub async fn at(State(app): State<Arc<App>>, index: usize, request: Request) -> Response {
    respond(&app, &app.settings.endpoints[index], request).await
}

/// A request to the endpoint that the path names.
pub async fn named(State(app): State<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    match app.endpoint(&name) {
        Ok(endpoint) => respond(&app, endpoint, request).await,
        Err(refusal) => intake::refuse(request, refusal).await,
    }
}

async fn respond(app: &App, endpoint: &EndpointSettings, request: Request) -> Response {
    let limits = app.settings.limits;
    let classes = app.models[endpoint.model].spec.detector.as_ref().map_or(0, |detector| detector.classes);
    let mut wanted = Wanted::new(&endpoint.defaults, &endpoint.class_names, classes, &limits);
    let queried = wanted.query(request.uri().query().unwrap_or_default());
    if let Err(refusal) = app.health.expect_open().and_then(|()| app.schedule.expect_room()).and(queried) {
        return intake::refuse(request, refusal).await;
    }
    let answered = answer(app, endpoint, request, wanted).await;
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(
    app: &App,
    endpoint: &EndpointSettings,
    request: Request,
    mut wanted: Wanted<'_>,
) -> Result<Response, ApiError> {
    let limits = app.settings.limits;
    let (parts, body) = request.into_parts();
    let until = tokio::time::Instant::now() + app.settings.times.read;
    let received = intake::receive(&parts.headers, body, &limits, &app.room, until).await?;
    let is_raw = intake::is_raw(&parts.headers);
    let images = intake::images(&parts.headers, received.bytes, limits, &mut wanted).await?;

    let found = look(app, endpoint, images, &wanted).await?;
    drop(received.held);
    let objects = found.iter().map(|image| image.detections.len()).sum();
    let summary = Summary { images: found.len(), objects };
    let mut total = Spent::default();
    for image in &found {
        app.metrics.image(&endpoint.name, &image.spent, image.detections.len());
        total.add(&image.spent);
    }
    let format = wanted.format;
    let detections: Vec<_> = found.into_iter().map(|image| image.detections).collect();
    let text = if objects > MANY_BOXES {
        let names = endpoint.class_names.clone();
        let written = tokio::task::spawn_blocking(move || answer::json(&detections, &names, format, is_raw)).await;
        written.map_err(|error| ApiError::internal(error.to_string()))?
    } else {
        answer::json(&detections, &endpoint.class_names, format, is_raw)
    };
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let timing = HeaderValue::from_str(&total.server_timing()).expect("digits and letters");
    response.headers_mut().insert("server-timing", timing);
    response.extensions_mut().insert(summary);
    Ok(response)
}

/// Puts images into the queue and waits for all of them. Dropped before the end, it takes them out again.
pub async fn look(
    app: &App,
    endpoint: &EndpointSettings,
    images: Vec<axum::body::Bytes>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Found>, ApiError> {
    let queued = Instant::now();
    let deadline = queued + app.settings.times.deadline;
    let count = images.len();
    let (jobs, answers): (Vec<Job>, Vec<oneshot::Receiver<_>>) = (images.into_iter().enumerate())
        .map(|(index, image)| {
            let (reply, answer) = oneshot::channel();
            let params = wanted.params.clone();
            (Job { model: endpoint.model, image, params, queued, deadline, place: (index, count), reply }, answer)
        })
        .unzip();
    app.schedule.push(jobs)?;
    let mut found = Vec::with_capacity(count);
    for answer in answers {
        let answer = tokio::time::timeout_at(deadline.into(), answer).await.map_err(|_| late(queued.elapsed()))?;
        found.push(answer.map_err(|_| ApiError::internal("looking at the image failed; the log says why"))??);
    }
    Ok(found)
}

impl Spent {
    /// Adds the time of another image of the same request.
    pub fn add(&mut self, other: &Spent) {
        // Images of a request wait side by side.
        self.queue = self.queue.max(other.queue);
        self.decode += other.decode;
        self.pre_process += other.pre_process;
        self.inference += other.inference;
        self.post_process += other.post_process;
    }

    /// The value of the header `Server-Timing`, in milliseconds.
    fn server_timing(&self) -> String {
        let stages = [
            ("queue", self.queue),
            ("decode", self.decode),
            ("pre", self.pre_process),
            ("infer", self.inference),
            ("post", self.post_process),
        ];
        let stages = stages.map(|(name, time)| format!("{name};dur={:.3}", milliseconds(time)));
        stages.join(", ")
    }
}
