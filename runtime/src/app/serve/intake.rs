//! The images and wishes in the body of a request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::params::Wanted;
use super::settings::Limits;
use crate::app::request;

/// Names under which multipart forms carry images.
const IMAGE_PARTS: [&str; 5] = ["request", "image", "images", "file", "files"];

/// Fields of JSON that other servers know and that change nothing here.
const IGNORED_FIELDS: [&str; 2] = ["return_masks", "return_intermediate_outputs"];

/// How long what follows a refusal is still read, so that a client that sends first and reads later gets it.
const COURTESY: Duration = Duration::from_secs(2);

/// Bytes that all bodies together may hold, counted in units of this many.
const UNIT: usize = 4096;

/// Room for the bodies of all requests together.
#[derive(Clone)]
pub struct Room {
    units: Arc<Semaphore>,
}

/// Room that a body takes until this is dropped.
#[derive(Default)]
pub struct Held {
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    /// Room for a few of the largest bodies.
    pub fn new(limits: &Limits) -> Self {
        let bytes = limits.body_bytes.saturating_mul(8).max(256 << 20);
        Self { units: Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))) }
    }

    /// Takes room for `bytes` more.
    fn grow(&self, held: &mut Held, bytes: usize) -> Result<(), ApiError> {
        let needed = (held.bytes + bytes).div_ceil(UNIT) - held.bytes.div_ceil(UNIT);
        let more = self.units.clone().try_acquire_many_owned(needed as u32).map_err(|_| {
            ApiError::unavailable("no_room", 1, "too many bytes of other requests are being held; try again later")
        })?;
        held.bytes += bytes;
        match &mut held.permits {
            Some(permits) => permits.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// A body, whole.
pub struct Received {
    /// The bytes.
    pub bytes: Bytes,
    /// Their room.
    pub held: Held,
}

/// Reads a body.
///
/// # Errors
/// 413 when it is longer than the limit, without reading it when it says so; 408 when it is not there at `until`; 503
/// when there is no room for it.
pub async fn receive(
    headers: &HeaderMap,
    mut body: Body,
    limits: &Limits,
    room: &Room,
    until: Instant,
) -> Result<Received, ApiError> {
    match read(headers, &mut body, limits, room, until).await {
        Ok(received) => Ok(received),
        Err(refusal) if refusal.close => Err(refusal),
        Err(refusal) => {
            discard(headers, body).await;
            Err(refusal.closing())
        }
    }
}

/// Refuses a request whose body is not wanted.
pub async fn refuse(request: Request, refusal: ApiError) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return refusal.into_response();
    }
    discard(&parts.headers, body).await;
    refusal.closing().into_response()
}

/// Reads and forgets what a client sends for a little while: closing at once would take the answer from a client that
/// reads only after it has sent everything.
async fn discard(headers: &HeaderMap, mut body: Body) {
    // One that waits to be told to go on is not sending.
    if !headers.contains_key(EXPECT) {
        let courtesy = Instant::now() + COURTESY;
        while let Ok(Some(Ok(_))) = timeout_at(courtesy, body.frame()).await {}
    }
}

/// Whether the body is an image file and nothing around it.
pub fn is_raw(headers: &HeaderMap) -> bool {
    matches!(kind(headers), Ok(Kind::Raw))
}

async fn read(
    headers: &HeaderMap,
    body: &mut Body,
    limits: &Limits,
    room: &Room,
    until: Instant,
) -> Result<Received, ApiError> {
    let most = limits.body_bytes;
    let too_large = || ApiError::too_large(format!("the body is larger than the limit of {most} bytes"));
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let mut held = Held::default();
    let mut chunks: Vec<Bytes> = Vec::new();
    loop {
        let frame = timeout_at(until, body.frame()).await;
        let frame = frame.map_err(|_| ApiError::slow("the body did not arrive in time"))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ApiError::malformed(format!("the body ends early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most - held.bytes {
            return Err(too_large());
        }
        room.grow(&mut held, data.len())?;
        chunks.push(data);
    }
    let bytes = match chunks.len() {
        1 => chunks.remove(0),
        _ => chunks.concat().into(),
    };
    Ok(Received { bytes, held })
}

/// The form of a body.
enum Kind {
    Json,
    Multipart(String),
    /// An image file, or something else.
    Raw,
}

fn kind(headers: &HeaderMap) -> Result<Kind, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Kind::Raw) };
    let value = value.to_str().map_err(|_| ApiError::media_type("the Content-Type is not text"))?;
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "multipart/form-data" {
        let boundary = multer::parse_boundary(value);
        let boundary = boundary.map_err(|error| ApiError::malformed(format!("Content-Type {value}: {error}")))?;
        return Ok(Kind::Multipart(boundary));
    }
    let json = essence == "application/json" || essence.ends_with("+json");
    Ok(if json { Kind::Json } else { Kind::Raw })
}

/// Finds the images of a body and adds what else it says to `wanted`.
///
/// # Errors
/// 400 for what is not well-formed, 413 for too many images, 415 for what is no image, 422 for values that make no
/// sense.
pub async fn images(
    headers: &HeaderMap,
    bytes: Bytes,
    limits: Limits,
    wanted: &mut Wanted<'_>,
) -> Result<Vec<Bytes>, ApiError> {
    let images = match kind(headers)? {
        Kind::Raw => {
            if bytes.is_empty() {
                return Err(ApiError::malformed("the body is empty: send an image"));
            }
            if image::guess_format(&bytes).is_err() {
                return Err(ApiError::media_type(
                    "the body is no image in a known format (JPEG, PNG, WebP, BMP, TIFF, GIF); JSON needs the \
                     Content-Type application/json, forms need multipart/form-data",
                ));
            }
            vec![bytes]
        }
        Kind::Multipart(boundary) => from_form(bytes, boundary, &limits, wanted).await?,
        Kind::Json => {
            // Megabytes of base64 take a while.
            let parsed = tokio::task::spawn_blocking(move || from_json(&bytes, &limits)).await;
            let (images, fields) = parsed.map_err(|error| ApiError::internal(error.to_string()))??;
            for (name, value) in &fields {
                wanted.value(name, value)?;
            }
            images
        }
    };
    match images.len() {
        0 => Err(ApiError::invalid("there are no images in the request")),
        n if n > limits.images => Err(too_many_images(n, &limits)),
        _ => Ok(images),
    }
}

fn too_many_images(images: usize, limits: &Limits) -> ApiError {
    ApiError::too_large(format!("{images} images or more are above the limit of {} in a request", limits.images))
}

async fn from_form(
    bytes: Bytes,
    boundary: String,
    limits: &Limits,
    wanted: &mut Wanted<'_>,
) -> Result<Vec<Bytes>, ApiError> {
    let malformed = |error: multer::Error| ApiError::malformed(format!("the multipart body is damaged: {error}"));
    // The body is there already: the stream never waits.
    let body = http_body_util::BodyDataStream::new(Body::from(bytes));
    let mut form = multer::Multipart::new(body, boundary);
    let (mut images, mut fields) = (Vec::new(), Vec::new());
    while let Some(part) = form.next_field().await.map_err(malformed)? {
        let name = part.name().unwrap_or_default().to_owned();
        if IMAGE_PARTS.contains(&name.as_str()) {
            images.push(part.bytes().await.map_err(malformed)?);
            if images.len() > limits.images {
                return Err(too_many_images(images.len(), limits));
            }
        } else if fields.len() < 4 * super::params::NAMES.len() {
            let text = part.bytes().await.map_err(malformed)?;
            let text = std::str::from_utf8(&text);
            let text = text.map_err(|_| ApiError::invalid(format!("the part `{name}` is not UTF-8")))?;
            fields.push((name, text.to_owned()));
        } else {
            return Err(ApiError::too_large("the form has too many parts"));
        }
    }
    wanted.texts(fields.iter().map(|(name, text)| (name, text)))?;
    if images.is_empty() {
        return Err(ApiError::invalid("the form has no image: send every image as a part named `request`"));
    }
    Ok(images)
}

type Fields = Vec<(String, Value)>;

fn from_json(bytes: &[u8], limits: &Limits) -> Result<(Vec<Bytes>, Fields), ApiError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| ApiError::malformed(format!("JSON: {error}")))?;
    let Value::Object(mut object) = value else {
        return Err(ApiError::invalid("expected a JSON object with `images`: a list of images in base64"));
    };
    let list = match object.remove("images") {
        Some(Value::Array(list)) => list,
        Some(one @ Value::String(_)) => vec![one],
        Some(_) => return Err(ApiError::invalid("`images` must be a list of images in base64 or data: URIs")),
        None => return Err(ApiError::invalid("the object has no `images`: a list of images in base64 or data: URIs")),
    };
    if list.len() > limits.images {
        return Err(too_many_images(list.len(), limits));
    }
    let image = |(index, value): (usize, &Value)| {
        let bytes = value.as_str().and_then(request::embedded).filter(|bytes| image::guess_format(bytes).is_ok());
        bytes.map(Bytes::from).ok_or_else(|| {
            ApiError::invalid(format!(
                "images[{index}] is no image in base64 and no data: URI of one; paths and addresses are never opened"
            ))
        })
    };
    let images = list.iter().enumerate().map(image).collect::<Result<Vec<_>, _>>()?;
    let fields = object.into_iter().filter(|(name, _)| !IGNORED_FIELDS.contains(&name.as_str())).collect();
    Ok((images, fields))
}
