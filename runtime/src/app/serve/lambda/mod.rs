//! The detector as a function of AWS Lambda.
//!
//! The program speaks Lambda's runtime interface itself: it asks for the next event, gives it to the same routes that
//! serve HTTP, and posts what they answer. So a function URL has everything that the service has, the web page included.

mod event;
mod interface;

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::http::HeaderValue;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::routes;
use super::settings::Settings;
use super::state::App;
use crate::app::Compiled;
use crate::app::failure::Failure;
use event::Origin;
use interface::{Interface, Invocation, Trouble};

/// What Lambda takes as an answer.
const LARGEST_ANSWER: usize = 6 << 20;

/// Time kept for posting an answer before Lambda ends the function.
const MARGIN: Duration = Duration::from_millis(100);

/// The variable with the host and port of the runtime interface.
pub const INTERFACE: &str = "AWS_LAMBDA_RUNTIME_API";

/// Answers events until Lambda ends the process. Writes nothing.
///
/// # Errors
/// When the interface cannot be reached, or the models do not compute what they should.
pub fn run(settings: Settings, models: Vec<Compiled>, _: &mut dyn Write) -> Result<(), Failure> {
    let api = std::env::var(INTERFACE).map_err(|error| Failure::new(format_args!("{INTERFACE}: {error}")))?;
    super::runtime()?.block_on(async {
        let app = super::start(settings, models)?;
        let served = serve(&api, routes::router(&app), &app).await;
        app.schedule.close();
        served
    })
}

async fn serve(api: &str, router: Router, app: &App) -> Result<(), Failure> {
    let interface = Interface::new(api);
    let unreachable = |trouble| {
        let (Trouble::Broken(why) | Trouble::Refused(why)) = trouble;
        Failure::new(format_args!("cannot speak with the runtime interface of Lambda at {api}: {why}"))
    };
    if let Err(why) = proved(app).await {
        interface.fail_start("SelftestFailed", &why).await.map_err(unreachable)?;
        return Err(Failure::new(why));
    }
    loop {
        let invocation = interface.next().await.map_err(unreachable)?;
        let answer = answer(&invocation, &router, app).await;
        let posted = match &answer {
            Ok(answer) => interface.answer(&invocation.id, answer).await,
            Err((kind, message)) => interface.fail(&invocation.id, kind, message).await,
        };
        match posted {
            Err(Trouble::Refused(why)) => tracing::warn!(id = invocation.id, "the answer was not taken: {why}"),
            posted => posted.map_err(unreachable)?,
        }
    }
}

/// Waits until the models are proved.
async fn proved(app: &App) -> Result<(), String> {
    loop {
        match app.health.expect_ready() {
            Ok(()) => return Ok(()),
            Err(refusal) if refusal.kind == "starting" => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(refusal) => return Err(refusal.message),
        }
    }
}

/// The answer to an event as JSON, or a type and message of what failed.
async fn answer(invocation: &Invocation, router: &Router, app: &App) -> Result<Bytes, (String, String)> {
    let failed = |kind: &str, message: String| (kind.to_owned(), message);
    let (origin, mut request) =
        event::request(invocation.event.clone()).map_err(|message| failed("MalformedEvent", message))?;
    // Whoever may invoke the function needs no other key.
    if let (Origin::Direct, Some(key)) = (origin, &app.settings.api_key) {
        let key = HeaderValue::from_str(key).expect("a key of visible characters");
        request.headers_mut().insert("x-api-key", key);
    }
    let looked = tokio::time::timeout(left(invocation), router.clone().oneshot(request));
    let late =
        |_| failed("DeadlineExceeded", "no answer before the function's timeout; give it more time or memory".into());
    let Ok(response) = looked.await.map_err(late)?;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|error| failed("Internal", error.to_string()))?;
    let answer = match origin {
        Origin::Direct if parts.status.is_success() => body,
        Origin::Direct => {
            let said: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |field: &str| said["error"][field].as_str().unwrap_or_default().to_owned();
            return Err((text("type"), text("message")));
        }
        _ => {
            let mut answer = event::response(origin, parts.status.as_u16(), &parts.headers, &body);
            if answer["body"].as_str().is_some_and(|body| body.len() > LARGEST_ANSWER) {
                let message = "the answer is larger than Lambda takes; ask for fewer images or objects at a time";
                let body = json!({ "error": { "type": "too_large", "message": message } });
                answer = json!({
                    "statusCode": 413, "isBase64Encoded": false, "body": body.to_string(),
                    "headers": { "content-type": "application/json" },
                });
            }
            answer.to_string().into()
        }
    };
    if answer.len() > LARGEST_ANSWER {
        return Err(failed(
            "too_large",
            "the answer is larger than Lambda takes; ask for fewer images at a time".into(),
        ));
    }
    Ok(answer)
}

/// How long an answer may take.
fn left(invocation: &Invocation) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    invocation.deadline.saturating_sub(now).saturating_sub(MARGIN)
}
