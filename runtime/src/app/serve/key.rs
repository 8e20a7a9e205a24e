//! The key that requests must carry.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use super::intake;
use super::state::App;

/// Lets a request with the key pass.
pub async fn check(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let key = app.settings.api_key.as_deref().unwrap_or_default();
    if carries(request.headers(), key) {
        return next.run(request).await;
    }
    intake::refuse(request, ApiError::unauthorized()).await
}

/// Whether `X-API-Key` or a bearer token is the key. The time it takes does not tell how much of it is right.
fn carries(headers: &HeaderMap, key: &str) -> bool {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
    });
    let own = headers.get("x-api-key").map(|value| value.as_bytes());
    let is_right = |given: Option<&[u8]>| given.is_some_and(|given| bool::from(given.ct_eq(key.as_bytes())));
    is_right(bearer) | is_right(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_carry_the_key() {
        let carries = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            super::carries(&headers, "secret")
        };
        assert!(carries("x-api-key", "secret") && carries("authorization", "Bearer secret"));
        assert!(carries("authorization", "bearer secret"));
        for (name, value) in [
            ("x-api-key", "Secret"),
            ("x-api-key", ""),
            ("authorization", "secret"),
            ("authorization", "Bearer"),
            ("authorization", "Bearer secrets"),
            ("authorization", "Basic secret"),
        ] {
            assert!(!carries(name, value), "{name}: {value}");
        }
    }
}
