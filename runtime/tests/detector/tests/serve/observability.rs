//! Metrics, logs, names of requests.

use peristyle_runtime::simd::Isa;
use serde_json::Value;

use crate::http::{Service, street};

#[test]
fn everything_is_counted_and_timed() {
    let service = Service::start(&[]);
    let street = street();
    assert_eq!(service.post("/predict", "image/png", &street).status, 200);
    assert_eq!(service.post("/v2/models/stand-in/infer?conf_thres=9", "image/png", &street).status, 422);
    let reply = service.get("/metrics");
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "peristyle_requests_total{method=\"POST\",route=\"/predict\",status=\"200\"} 1",
        "peristyle_requests_total{method=\"POST\",route=\"/v2/models/{name}/infer\",status=\"422\"} 1",
        "peristyle_request_seconds_count{route=\"/predict\"} 1",
        "peristyle_images_total{endpoint=\"stand-in\"} 1",
        "peristyle_objects_total{endpoint=\"stand-in\"} 3",
        "peristyle_batch_size_count 1",
        "peristyle_queue_depth 0",
        "peristyle_ready 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    for stage in ["queue", "decode", "pre_process", "engine_forward", "post_process"] {
        let line = format!("peristyle_stage_seconds_count{{endpoint=\"stand-in\",stage=\"{stage}\"}} 1");
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(service.metric("process_resident_memory_bytes") > 1e6);
    let model = text.lines().find(|l| l.starts_with("peristyle_model_info{")).expect("the model's line");
    assert!(model.contains("{model=\"stand-in\",sha256=\"5eed\",compiler=\""), "{model}");
    assert!(model.ends_with(&format!("\",isa=\"{}\"}} 1", Isa::detect().name())), "{model}");
}

#[test]
fn answers_say_where_the_time_went() {
    let service = Service::start_with(&[], &[("STAND_IN_DELAY_MS", "30")]);
    let reply = service.post("/predict", "image/png", &street());
    let timing = reply.header("server-timing").expect("a header").to_owned();
    let stages: Vec<(&str, f64)> = timing
        .split(", ")
        .map(|stage| stage.split_once(";dur=").map(|(name, ms)| (name, ms.parse().unwrap())).unwrap())
        .collect();
    assert_eq!(stages.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["queue", "decode", "pre", "infer", "post"]);
    assert!((30.0..3000.0).contains(&stages[3].1), "{timing}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn requests_have_names_and_belong_to_traces() {
    let service = Service::start(&["--log-format", "json"]);
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{id}-00f067aa0ba902b7-01");
    let headers = [("x-request-id", "order-66"), ("traceparent", &parent)];
    let reply = service.connect().ask("POST", "/predict?conf_thres=0.3", &headers, &street());
    assert_eq!(reply.header("x-request-id"), Some("order-66"));
    let child = reply.header("traceparent").unwrap();
    assert!(child.starts_with(&format!("00-{id}-")) && child != parent, "{child}");
    let unnamed = service.get("/ping");
    assert_eq!((unnamed.header("x-request-id").map(str::len), unnamed.header("traceparent")), (Some(16), None));
    service.wait_until(|| service.log().contains("order-66") && service.log().contains("\"/ping\""));
    let log = service.log();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let line = lines.iter().find(|line| line["request_id"] == "order-66").expect("a line about the request");
    assert_eq!((&line["trace_id"], &line["path"], &line["status"]), (&id.into(), &"/predict".into(), &200.into()));
    assert_eq!((&line["images"], &line["objects"], &line["level"]), (&1.into(), &3.into(), &"INFO".into()));
    assert!(line["ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_log_is_as_loud_as_it_is_told_and_holds_no_pictures() {
    let quiet = Service::start(&["--log-level", "critical"]);
    assert_eq!(quiet.post("/predict", "image/png", &street()).status, 200);
    assert_eq!(quiet.get("/none").status, 404);
    assert_eq!(quiet.log(), "");
    let loud = Service::start(&["--log_level=trace"]);
    let street = street();
    let encoded = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(&street)
    };
    let body = serde_json::json!({ "images": [encoded] });
    assert_eq!(loud.post_json("/predict", &body).status, 200);
    loud.wait_until(|| loud.log().contains("images=1"));
    assert!(!loud.log().contains(&encoded[..24]), "{}", loud.log());
}
