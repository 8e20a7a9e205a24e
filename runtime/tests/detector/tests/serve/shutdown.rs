//! How a service starts and ends.

use std::time::{Duration, Instant};

use crate::http::{Service, head, street};

#[test]
fn what_was_asked_is_answered_before_the_end() {
    let mut service = Service::start_with(&["-ncores", "1"], &[("STAND_IN_DELAY_MS", "400")]);
    let street = street();
    let mut asked: Vec<_> = (0..3).map(|_| service.connect()).collect();
    for connection in &mut asked {
        connection.send(&head("POST", "/predict", &[], street.len()));
        connection.send(&street);
    }
    service.wait_until(|| service.metric("peristyle_queue_depth") == 2.0);
    service.terminate();
    service.wait_until(|| service.get("/v2/health/ready").status == 503);
    service.get("/v2/health/ready").refusal(503, "draining");
    assert_eq!(service.get("/v2/health/live").status, 200);
    let late = service.post("/predict", "image/png", &street);
    late.refusal(503, "draining");
    assert_eq!((late.header("retry-after"), late.header("connection")), (Some("5"), Some("close")));
    for connection in &mut asked {
        let reply = connection.reply();
        assert_eq!(reply.json()["labels"], serde_json::json!([["person", "bus", "tie"]]));
        assert_eq!(reply.header("connection"), Some("close"));
    }
    assert_eq!(service.exit_code(), Some(0));
    assert!(service.log().contains("SIGTERM: answering what was asked, then ending"), "{}", service.log());
}

#[test]
fn requests_are_taken_while_balancers_look_away() {
    let mut service = Service::start(&["--drain-delay-ms", "600"]);
    service.terminate();
    service.wait_until(|| service.get("/v2/health/ready").status == 503);
    assert_eq!(service.post("/predict", "image/png", &street()).status, 200);
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn an_idle_service_ends_at_once_and_so_does_one_that_is_asked_twice() {
    let mut service = Service::start(&[]);
    let _idle = service.connect();
    let started = Instant::now();
    service.terminate();
    assert_eq!(service.exit_code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(3));

    let mut service = Service::start_with(&[], &[("STAND_IN_DELAY_MS", "5000")]);
    let mut connection = service.connect();
    let street = street();
    connection.send(&head("POST", "/predict", &[], street.len()));
    connection.send(&street);
    service.wait_until(|| service.metric("peristyle_requests_in_flight") == 2.0);
    let started = Instant::now();
    service.terminate();
    service.wait_until(|| service.log().contains("SIGTERM"));
    service.terminate();
    assert_eq!(service.exit_code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(service.log().ends_with("error: requests left without an answer: 1\n"), "{}", service.log());
}

#[test]
fn a_service_that_was_killed_starts_again_on_its_port() {
    let mut first = Service::start(&[]);
    let port = first.port.to_string();
    assert_eq!(first.post("/predict", "image/png", &street()).status, 200);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let second = Service::start(&["--port", &port]);
    assert_eq!(second.port.to_string(), port);
    assert_eq!(second.post("/predict", "image/png", &street()).status, 200);
}

#[test]
fn a_model_that_cannot_run_is_never_ready() {
    let service = Service::launch(&[], &[("STAND_IN_BROKEN", "1")]);
    // Whether it waits for the proof or comes after it.
    service.post("/predict", "image/png", &street()).refusal(503, "selftest_failed");
    service.wait_until(|| service.log().contains("answers no requests"));
    let said = service.get("/v2/health/ready").refusal(503, "selftest_failed");
    assert!(said.contains("rules.onnx: cannot start"), "{said}");
    service.get("/ping").refusal(503, "selftest_failed");
    service.post("/predict", "image/png", &street()).refusal(503, "selftest_failed");
    assert_eq!(service.get("/v2/health/live").status, 200);
    assert_eq!(service.metric("peristyle_ready"), 0.0);
}
