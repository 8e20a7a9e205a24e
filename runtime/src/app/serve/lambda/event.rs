//! Events of AWS Lambda as requests to the service, and its responses as answers to them.

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Who sent an event, which decides the form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A function URL or an HTTP API: payload format 2.0.
    Http,
    /// A REST API or a load balancer: payload format 1.0.
    Rest {
        /// Whether headers come, and are expected, as lists.
        lists: bool,
    },
    /// Somebody who invokes the function with the JSON of `POST /predict`.
    Direct,
}

/// The fields of both payload formats that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpEvent {
    #[serde(default)]
    raw_path: Option<String>,
    #[serde(default)]
    raw_query_string: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    http_method: Option<String>,
    #[serde(default)]
    query_string_parameters: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_query_string_parameters: Option<Map<String, Value>>,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    multi_value_headers: Option<Map<String, Value>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
    request_context: RequestContext,
}

#[derive(Deserialize)]
struct RequestContext {
    #[serde(default)]
    http: Option<HttpContext>,
    #[serde(default)]
    stage: Option<String>,
    #[serde(default)]
    elb: Option<Value>,
}

#[derive(Deserialize)]
struct HttpContext {
    method: String,
}

/// The request in an event.
///
/// # Errors
/// What is wrong with the event, in one line.
pub fn request(event: Bytes) -> Result<(Origin, Request<Body>), String> {
    let value: Value = serde_json::from_slice(&event).map_err(|error| format!("the event is not JSON: {error}"))?;
    if value.get("requestContext").is_none() {
        if !value.is_object() {
            return Err("the event must be an object, as in {\"images\": [\"<base64>\"], \"conf_thres\": 0.25}".into());
        }
        let mut request = Request::new(Body::from(event));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/predict");
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok((Origin::Direct, request));
    }
    let event: HttpEvent =
        serde_json::from_value(value).map_err(|error| format!("the event is of no known form: {error}"))?;
    http(event)
}

fn http(event: HttpEvent) -> Result<(Origin, Request<Body>), String> {
    let context = &event.request_context;
    let (origin, method, path, query) = match (&context.http, &event.http_method) {
        (Some(http), _) => {
            let path = event.raw_path.clone().unwrap_or_else(|| "/".into());
            (Origin::Http, &http.method, without_stage(&path, context.stage.as_deref()), event.raw_query_string.clone())
        }
        (None, Some(method)) => {
            let lists = event.multi_value_headers.is_some() && event.headers.is_none();
            let path = event.path.clone().unwrap_or_else(|| "/".into());
            (Origin::Rest { lists }, method, path, query(&event, context.elb.is_some()))
        }
        (None, None) => return Err("the event has a `requestContext` but no method".into()),
    };
    let uri = if query.is_empty() { path } else { format!("{path}?{query}") };
    let mut request = Request::builder().method(method.as_str()).uri(&uri);
    let headers =
        request.headers_mut().ok_or_else(|| format!("the event asks for {method} {uri}, which is no request"))?;
    for (name, values) in event.headers.iter().chain(&event.multi_value_headers).flatten() {
        let Ok(name) = HeaderName::try_from(name.as_str()) else { continue };
        if headers.contains_key(&name) {
            continue;
        }
        for value in texts(values) {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(&name, value);
            }
        }
    }
    headers.remove(HOST);
    let body = event.body.unwrap_or_default();
    let body = match event.is_base64_encoded {
        true => STANDARD.decode(&body).map_err(|error| format!("the body of the event is not base64: {error}"))?,
        false => body.into_bytes(),
    };
    // The length of the text before it was encoded.
    headers.remove("content-length");
    Ok((origin, request.body(Body::from(body)).map_err(|error| error.to_string())?))
}

/// HTTP APIs put the name of a stage in front of the path.
fn without_stage(path: &str, stage: Option<&str>) -> String {
    let stage = stage.filter(|stage| *stage != "$default");
    let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    match rest {
        Some("") => "/".into(),
        Some(rest) if rest.starts_with('/') => rest.into(),
        _ => path.into(),
    }
}

/// The query of an event in format 1.0. Load balancers leave it encoded.
fn query(event: &HttpEvent, encoded: bool) -> String {
    let lists = event.multi_value_query_string_parameters.as_ref();
    let parameters = lists.or(event.query_string_parameters.as_ref());
    let pairs = parameters.into_iter().flatten().flat_map(|(name, values)| texts(values).map(move |text| (name, text)));
    if encoded {
        let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
        return pairs.join("&");
    }
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The strings in a string or a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let (one, many) = match value {
        Value::Array(values) => (None, values.as_slice()),
        other => (Some(other), [].as_slice()),
    };
    one.into_iter().chain(many).filter_map(Value::as_str)
}

/// The answer to an event that came over HTTP.
pub fn response(origin: Origin, status: u16, headers: &HeaderMap, body: &[u8]) -> Value {
    let is_text = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        ["text/", "application/json", "application/openmetrics-text", "image/svg+xml"]
            .iter()
            .any(|t| kind.starts_with(t))
    });
    let text = std::str::from_utf8(body).ok().filter(|_| is_text || body.is_empty());
    let mut answer = json!({
        "statusCode": status,
        "isBase64Encoded": text.is_none(),
        "body": text.map_or_else(|| STANDARD.encode(body), str::to_owned),
    });
    let named = headers.keys().map(|name| {
        let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        (name.as_str(), values)
    });
    match origin {
        Origin::Rest { lists: true } => {
            answer["multiValueHeaders"] = named.map(|(name, values)| (name.to_owned(), json!(values))).collect();
        }
        _ => answer["headers"] = named.map(|(name, values)| (name.to_owned(), json!(values.join(", ")))).collect(),
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(event: Value) -> Result<(Origin, Request<Body>), String> {
        request(event.to_string().into())
    }

    #[test]
    fn function_urls_and_http_apis_ask_in_format_2() {
        let event = json!({
            "version": "2.0", "rawPath": "/prod/predict", "rawQueryString": "conf_thres=0.5&classes=0%2C2",
            "headers": {"content-type": "image/jpeg", "content-length": "8", "host": "x.lambda-url"},
            "requestContext": {"http": {"method": "POST", "path": "/prod/predict"}, "stage": "prod"},
            "body": "AAEC", "isBase64Encoded": true,
        });
        let (origin, request) = read(event.clone()).unwrap();
        assert_eq!((origin, request.method()), (Origin::Http, &Method::POST));
        assert_eq!(request.uri(), "/predict?conf_thres=0.5&classes=0%2C2");
        assert_eq!((request.headers().len(), &request.headers()["content-type"]), (1, &"image/jpeg".parse().unwrap()));
        for (stage, path, expected) in
            [("$default", "/a", "/a"), ("prod", "/prod", "/"), ("prod", "/product", "/product"), ("prod", "/a", "/a")]
        {
            let mut event = event.clone();
            event["requestContext"]["stage"] = stage.into();
            event["rawPath"] = path.into();
            assert_eq!(read(event).unwrap().1.uri().path(), expected);
        }
        let mut event = event;
        event["body"] = "%".into();
        assert!(read(event).unwrap_err().contains("not base64"));
    }

    #[test]
    fn rest_apis_and_load_balancers_ask_in_format_1() {
        let rest = json!({
            "httpMethod": "GET", "path": "/v2/models", "requestContext": {"stage": "prod"},
            "headers": {"X-Api-Key": "k"}, "multiValueHeaders": {"X-Api-Key": ["k"]},
            "queryStringParameters": {"a": "2"}, "multiValueQueryStringParameters": {"a": ["1 &", "2"]},
            "body": null, "isBase64Encoded": false,
        });
        let (origin, request) = read(rest).unwrap();
        assert_eq!(
            (origin, request.uri().to_string().as_str()),
            (Origin::Rest { lists: false }, "/v2/models?a=1+%26&a=2")
        );
        assert_eq!(request.headers().get_all("x-api-key").iter().count(), 1);
        let balancer = json!({
            "httpMethod": "POST", "path": "/predict", "requestContext": {"elb": {"targetGroupArn": "x"}},
            "multiValueHeaders": {"accept": ["a", "b"]}, "multiValueQueryStringParameters": {"classes": ["0%2C2"]},
            "body": "", "isBase64Encoded": false,
        });
        let (origin, request) = read(balancer).unwrap();
        assert_eq!((origin, request.uri().query()), (Origin::Rest { lists: true }, Some("classes=0%2C2")));
        assert_eq!(request.headers().get_all("accept").iter().count(), 2);
    }

    #[test]
    fn everything_else_is_the_json_of_predict() {
        let (origin, request) = read(json!({"images": ["AAAA"], "conf_thres": 0.1})).unwrap();
        assert_eq!((origin, request.uri().path()), (Origin::Direct, "/predict"));
        for (event, message) in
            [("[1]", "must be an object"), ("{", "not JSON"), (r#"{"requestContext": {}}"#, "no method")]
        {
            assert!(super::request(event.into()).unwrap_err().contains(message), "{event}");
        }
    }

    #[test]
    fn answers_are_text_where_they_can_be() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.append("vary", HeaderValue::from_static("a"));
        headers.append("vary", HeaderValue::from_static("b"));
        let answer = response(Origin::Http, 422, &headers, b"{}");
        assert_eq!(
            answer,
            json!({"statusCode": 422, "isBase64Encoded": false, "body": "{}",
                   "headers": {"content-type": "application/json", "vary": "a, b"}})
        );
        let answer = response(Origin::Rest { lists: true }, 200, &headers, &[255]);
        assert_eq!((&answer["body"], &answer["isBase64Encoded"]), (&json!("/w=="), &json!(true)));
        assert_eq!(answer["multiValueHeaders"]["vary"], json!(["a", "b"]));
    }
}
