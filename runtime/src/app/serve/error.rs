//! What a request is answered with when it is not answered.

use axum::Json;
use axum::http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use image::ImageError;
use serde_json::json;

use crate::app::source::PictureError;

/// A refusal: a status, a word for programs, a sentence for people.
///
/// As a response it is `{"error": {"type", "message"}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// Of the response.
    pub status: StatusCode,
    /// The `type`: a word that does not change.
    pub kind: &'static str,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Seconds after which trying again makes sense.
    pub retry_after: Option<u32>,
    /// Whether the rest of the request is unread, so that the connection cannot go on.
    pub close: bool,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), retry_after: None, close: false }
    }

    /// 400: the request is not even well-formed.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", message)
    }

    /// 401: the key is missing or wrong.
    pub fn unauthorized() -> Self {
        let message = "this service needs a key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    /// 404: nothing is there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: the path takes other methods.
    pub fn method() -> Self {
        let message = "this path takes another method; `/docs` lists them";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// 408: the request did not arrive in time.
    pub fn slow(message: impl Into<String>) -> Self {
        Self { close: true, ..Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message) }
    }

    /// 413: the body, an image or the number of images is above a limit.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415: the body is nothing that can be looked at.
    pub fn media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 422: well-formed, but a value makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", message)
    }

    /// 422: an image that is damaged.
    pub fn bad_image(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_image", message)
    }

    /// 429: as many images wait as may wait.
    pub fn busy(message: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message) }
    }

    /// 500: the program has a bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: not now; `kind` says why.
    pub fn unavailable(kind: &'static str, retry_after: u32, message: impl Into<String>) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, message) }
    }

    /// The same refusal after a request whose rest is unread.
    pub fn closing(self) -> Self {
        Self { close: true, ..self }
    }

    /// The refusal of picture `index` of `count`, of which none may have more than `pixels` pixels.
    pub fn picture(error: &PictureError, index: usize, count: usize, pixels: u64) -> Self {
        let which = if count == 1 { "the image".to_owned() } else { format!("image {index} of {count}, from 0,") };
        let message = format!("{which} cannot be read: {error}");
        match error {
            PictureError::Empty => Self::malformed(message),
            PictureError::UnknownFormat => Self::media_type(message),
            PictureError::TooManyPixels { .. } | PictureError::FileTooLarge { .. } => Self::too_large(message),
            PictureError::Decode(ImageError::Limits(_)) => {
                Self::too_large(format!("{which} is larger than the limit of {pixels} pixels"))
            }
            _ => Self::bad_image(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "type": self.kind, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
