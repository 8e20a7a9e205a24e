//! Names, logs and counts of requests.

use std::any::Any;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::infer::Summary;
use super::metrics::{Metrics, milliseconds};
use super::state::App;

/// Longest name that a client may give its request.
const LONGEST_ID: usize = 128;

/// The trace of the W3C that a request belongs to, and our part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    id: String,
    span: String,
    flags: String,
}

impl Trace {
    /// Reads `traceparent`; `None` without one or when it is not as it should be.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get("traceparent")?.to_str().ok()?;
        let parts: Vec<&str> = text.split('-').collect();
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let zero = |part: &str| part.bytes().all(|b| b == b'0');
        match parts[..] {
            [version, id, parent, flags, ..]
                if hex(version, 2)
                    && version != "ff"
                    && (version != "00" || parts.len() == 4)
                    && hex(id, 32)
                    && hex(parent, 16)
                    && hex(flags, 2)
                    && !zero(id)
                    && !zero(parent) =>
            {
                Some(Self { id: id.to_owned(), span: format!("{:016x}", random().max(1)), flags: flags.to_owned() })
            }
            _ => None,
        }
    }

    fn header(&self) -> String {
        format!("00-{}-{}-{}", self.id, self.span, self.flags)
    }
}

/// A number that is different every time.
fn random() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
    hasher.finish()
}

/// The name that the client gave its request, if it can be repeated, or a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let can_repeat = |id: &&str| {
        !id.is_empty()
            && id.len() <= LONGEST_ID
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
    };
    given.filter(can_repeat).map_or_else(|| format!("{:016x}", random()), str::to_owned)
}

/// A request that is being answered. Dropped before it is, the client went away.
struct Watch {
    metrics: Arc<Metrics>,
    started: Instant,
    method: String,
    route: String,
    path: String,
    id: String,
    trace: Option<Trace>,
    is_over: bool,
}

impl Watch {
    fn end(mut self, response: &Response) {
        self.is_over = true;
        let status = response.status().as_u16();
        self.metrics.end(&self.method, &self.route, status, self.started.elapsed());
        let Self { method, path, id, trace, started, .. } = &self;
        let took = (milliseconds(started.elapsed()) * 1e3).round() / 1e3;
        let trace = trace.as_ref().map(|trace| trace.id.as_str());
        match response.extensions().get::<Summary>() {
            Some(Summary { images, objects }) => {
                tracing::info!(request_id = %id, trace_id = trace, %method, path, status, ms = took, images, objects, "request");
            }
            None if status >= 500 => {
                tracing::warn!(request_id = %id, trace_id = trace, %method, path, status, ms = took, "request");
            }
            None => tracing::info!(request_id = %id, trace_id = trace, %method, path, status, ms = took, "request"),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_over {
            self.metrics.abandon();
            let Self { method, path, id, trace, started, .. } = &self;
            let trace = trace.as_ref().map(|trace| trace.id.as_str());
            let ms = milliseconds(started.elapsed());
            tracing::info!(request_id = %id, trace_id = trace, %method, path, ms, "abandoned by the client");
        }
    }
}

/// Counts, times and logs a request, and repeats its names in the response.
pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    app.metrics.begin();
    let headers = request.headers();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let watch = Watch {
        metrics: app.metrics.clone(),
        started: Instant::now(),
        method,
        route,
        path: request.uri().path().chars().take(200).collect(),
        id: request_id(headers),
        trace: Trace::of(headers),
        is_over: false,
    };
    let mut response = next.run(request).await;
    let mut name = |header: &'static str, value: &str| {
        response.headers_mut().insert(header, HeaderValue::from_str(value).expect("checked to be plain ASCII"));
    };
    name("x-request-id", &watch.id);
    name("x-content-type-options", "nosniff");
    if let Some(trace) = &watch.trace {
        name("traceparent", &trace.header());
    }
    if app.health.is_leaving() {
        name("connection", "close");
    }
    watch.end(&response);
    response
}

/// The answer when a handler panicked.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    ApiError::internal("the service has a bug; its log says more").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn traces_go_on_with_a_span_of_our_own() {
        let of = |text: &str| Trace::of(&headers("traceparent", text));
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let trace = of(&format!("00-{id}-00f067aa0ba902b7-01")).unwrap();
        let header = trace.header();
        assert!(header.starts_with(&format!("00-{id}-")) && header.ends_with("-01") && header.len() == 55, "{header}");
        assert!(!header.contains("00f067aa0ba902b7"));
        assert!(of(&format!("01-{id}-00f067aa0ba902b7-01-later")).is_some());
        for bad in [
            "",
            "00",
            &format!("ff-{id}-00f067aa0ba902b7-01"),
            &format!("00-{id}-00f067aa0ba902b7-01-x"),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{id}-{}-01", "0".repeat(16)),
            &format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_requests_are_repeated_when_they_are_harmless() {
        assert_eq!(request_id(&headers("x-request-id", "a-B_9.:/+=")), "a-B_9.:/+=");
        for bad in ["", "a b", "a\"b", &"x".repeat(LONGEST_ID + 1)] {
            assert_eq!(request_id(&headers("x-request-id", bad)).len(), 16, "{bad}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
