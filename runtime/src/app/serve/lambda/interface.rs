//! The runtime interface of AWS Lambda, version 2018-06-01.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

/// Why the interface was not spoken with.
pub enum Trouble {
    /// It cannot be reached, or ended the connection.
    Broken(String),
    /// It does not take what was posted, for example because the event's time is up.
    Refused(String),
}

impl Trouble {
    fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// A client of the interface.
pub struct Interface {
    /// Host and port.
    api: String,
}

/// An event, and until when it may be answered.
pub struct Invocation {
    /// The name of the request.
    pub id: String,
    /// The JSON of the event.
    pub event: Bytes,
    /// Since the beginning of 1970.
    pub deadline: Duration,
}

impl Interface {
    /// A client of the interface at `api`, a host and port.
    pub fn new(api: &str) -> Self {
        Self { api: api.to_owned() }
    }

    /// Waits for an event.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn next(&self) -> Result<Invocation, Trouble> {
        let (headers, event) = self.ask(Method::GET, "invocation/next", HeaderMap::new(), Bytes::new()).await?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let id =
            header("lambda-runtime-aws-request-id").ok_or_else(|| Trouble::broken("an event came without an id"))?;
        let deadline = header("lambda-runtime-deadline-ms").and_then(|text| text.parse().ok());
        Ok(Invocation { id: id.to_owned(), event, deadline: deadline.map_or(Duration::MAX, Duration::from_millis) })
    }

    /// Posts the answer to an event.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn answer(&self, id: &str, answer: &Bytes) -> Result<(), Trouble> {
        let path = format!("invocation/{id}/response");
        self.ask(Method::POST, &path, HeaderMap::new(), answer.clone()).await.map(drop)
    }

    /// Says that an event cannot be answered.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn fail(&self, id: &str, kind: &str, message: &str) -> Result<(), Trouble> {
        self.complain(&format!("invocation/{id}/error"), kind, message).await
    }

    /// Says that the function cannot start.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub async fn fail_start(&self, kind: &str, message: &str) -> Result<(), Trouble> {
        self.complain("init/error", kind, message).await
    }

    async fn complain(&self, path: &str, kind: &str, message: &str) -> Result<(), Trouble> {
        let body = json!({ "errorType": kind, "errorMessage": message, "stackTrace": [] });
        let mut headers = HeaderMap::new();
        if let Ok(kind) = kind.parse() {
            headers.insert("lambda-runtime-function-error-type", kind);
        }
        self.ask(Method::POST, path, headers, body.to_string().into()).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), Trouble> {
        let stream = TcpStream::connect(&self.api).await.map_err(Trouble::broken)?;
        let _ = stream.set_nodelay(true);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Trouble::broken)?;
        let driven = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/2018-06-01/runtime/{path}"))
            .header(HOST, &self.api)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(Trouble::broken)?;
        request.headers_mut().extend(headers);
        let response = sender.send_request(request).await.map_err(Trouble::broken)?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(Trouble::broken)?.to_bytes();
        driven.abort();
        if !parts.status.is_success() {
            let said = format!("{} {}", parts.status, String::from_utf8_lossy(&body));
            let trouble = if parts.status.is_client_error() { Trouble::Refused } else { Trouble::Broken };
            return Err(trouble(said));
        }
        Ok((parts.headers, body))
    }
}
