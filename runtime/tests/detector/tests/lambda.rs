//! `lambda`, with a runtime interface that gives it events.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::Folder;
use support::service::Service;

/// A call of the interface.
struct Call {
    stream: TcpStream,
    line: String,
    headers: Vec<String>,
    body: Value,
}

impl Call {
    fn answer(mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        write!(self.stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}").unwrap();
    }
}

/// A function, and the interface that it asks for events.
struct Function {
    process: Child,
    listener: TcpListener,
    events: usize,
}

impl Function {
    fn start(folder: &Folder, variables: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut command = folder.command(&["lambda"]);
        command.env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string());
        command.env_remove("PERISTYLE_API_KEY").envs(variables.iter().copied());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { process, listener, events: 0 }
    }

    fn call(&self) -> Call {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = Vec::new();
        while !head.last().is_some_and(String::is_empty) {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the head of a request ends early: {head:?}");
            head.push(line.trim_end().to_ascii_lowercase());
        }
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Call { stream, line: head.remove(0), headers: head, body }
    }

    /// Gives an event, and returns what the function posts about it.
    fn invoke(&mut self, event: &str, time: Duration) -> Call {
        self.events += 1;
        let next = self.call();
        assert_eq!(next.line, "get /2018-06-01/runtime/invocation/next http/1.1");
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        let about = format!(
            "Lambda-Runtime-Aws-Request-Id: event-{}\r\nLambda-Runtime-Deadline-Ms: {}\r\n",
            self.events,
            deadline.as_millis()
        );
        next.answer("200 OK", &about, event);
        self.call()
    }

    fn answer(&mut self, event: &Value) -> Value {
        let call = self.invoke(&event.to_string(), Duration::from_secs(20));
        let expected = format!("post /2018-06-01/runtime/invocation/event-{}/response http/1.1", self.events);
        assert_eq!(call.line, expected, "{}", call.body);
        let answer = call.body.clone();
        call.answer("202 Accepted", "", "");
        answer
    }

    fn failure(&mut self, event: &str, time: Duration) -> Value {
        let call = self.invoke(event, time);
        assert_eq!(call.line, format!("post /2018-06-01/runtime/invocation/event-{}/error http/1.1", self.events));
        let kind = call.body["errorType"].as_str().unwrap().to_ascii_lowercase();
        assert!(call.headers.contains(&format!("lambda-runtime-function-error-type: {kind}")), "{:?}", call.headers);
        let failure = call.body.clone();
        call.answer("202 Accepted", "", "");
        failure
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn encoded(folder: &Folder) -> String {
    STANDARD.encode(std::fs::read(folder.street("street.png")).unwrap())
}

fn upload(image: &str, query: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": "/predict", "rawQueryString": query, "headers": {"content-type": "image/png"},
        "requestContext": {"http": {"method": "POST", "path": "/predict"}, "stage": "$default"},
        "body": image, "isBase64Encoded": true,
    })
}

#[test]
fn every_form_of_event_gets_what_the_service_answers() {
    let folder = Folder::new();
    let image = encoded(&folder);
    let service = Service::start(&[]);
    let served: Value = service.post("/predict?conf_thres=0.75", "image/png", &STANDARD.decode(&image).unwrap());
    assert_eq!(served["labels"], json!([["person", "bus"]]));

    let mut function = Function::start(&folder, &[]);
    let answer = function.answer(&upload(&image, "conf_thres=0.75"));
    assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(200), &json!(false)));
    assert_eq!(answer["headers"]["content-type"], "application/json");
    assert!(answer["headers"]["server-timing"].as_str().unwrap().contains("infer;dur="));
    assert_eq!(serde_json::from_str::<Value>(answer["body"].as_str().unwrap()).unwrap(), served);

    let rest = json!({
        "httpMethod": "POST", "path": "/predict", "requestContext": {"stage": "prod"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "multiValueQueryStringParameters": {"conf_thres": ["0.75"]},
        "body": json!({"images": [image]}).to_string(), "isBase64Encoded": false,
    });
    let answer = function.answer(&rest);
    assert_eq!(answer["multiValueHeaders"]["content-type"], json!(["application/json"]));
    assert_eq!(serde_json::from_str::<Value>(answer["body"].as_str().unwrap()).unwrap(), served);

    assert_eq!(function.answer(&json!({"images": [image], "conf_thres": 0.75})), served);

    let page = json!({"rawPath": "/", "requestContext": {"http": {"method": "GET"}}, "headers": {}});
    assert!(function.answer(&page)["body"].as_str().unwrap().starts_with("<!doctype html>"));
}

#[test]
fn a_bad_event_is_an_error_and_not_the_end() {
    let folder = Folder::new();
    let mut function = Function::start(&folder, &[("STAND_IN_DELAY_MS", "500")]);
    let time = Duration::from_secs(20);
    let refused = function.answer(&upload("AAAA", ""));
    assert_eq!(refused["statusCode"], 415);
    assert!(refused["body"].as_str().unwrap().contains("unsupported_media_type"), "{refused}");
    for (event, kind, message) in [
        ("[]".to_owned(), "MalformedEvent", "must be an object"),
        (json!({"images": ["AAAA"]}).to_string(), "invalid_value", "no image"),
        (json!({"images": [], "conf_thres": 7}).to_string(), "invalid_value", "conf_thres"),
    ] {
        let failure = function.failure(&event, time);
        assert_eq!(failure["errorType"], kind, "{event}: {failure}");
        assert!(failure["errorMessage"].as_str().unwrap().contains(message), "{event}: {failure}");
    }
    let image = encoded(&folder);
    let short = Duration::from_millis(300);
    assert_eq!(function.failure(&json!({"images": [image]}).to_string(), short)["errorType"], "DeadlineExceeded");
    assert_eq!(function.answer(&json!({"images": [image]}))["labels"], json!([["person", "bus", "tie"]]));

    // Lambda has given up on an event: its answer is not taken, and the next event comes.
    let call = function.invoke(&json!({"images": [image]}).to_string(), time);
    call.answer("400 Bad Request", "", "{\"errorType\": \"InvalidRequestID\"}");
    assert_eq!(function.answer(&json!({"images": [image]}))["labels"], json!([["person", "bus", "tie"]]));
}

#[test]
fn the_key_is_asked_of_those_who_come_over_http() {
    let folder = Folder::new();
    let image = encoded(&folder);
    let mut function = Function::start(&folder, &[("PERISTYLE_API_KEY", "secret")]);
    assert_eq!(function.answer(&upload(&image, ""))["statusCode"], 401);
    let mut with_key = upload(&image, "");
    with_key["headers"]["x-api-key"] = "secret".into();
    assert_eq!(function.answer(&with_key)["statusCode"], 200);
    assert_eq!(function.answer(&json!({"images": [image]}))["labels"], json!([["person", "bus", "tie"]]));
}

#[test]
fn outside_lambda_it_says_so() {
    let folder = Folder::new();
    let ended = folder.run(&["lambda"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("AWS_LAMBDA_RUNTIME_API") && ended.err.contains("serve"), "{}", ended.err);
}
