//! Every path, and every way to send images and wishes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{Service, empty, street, wide};

fn street_found() -> Value {
    json!({
        "boxes": [[[10.0, 20.0, 40.0, 100.0], [50.0, 30.0, 110.0, 90.0], [20.0, 40.0, 30.0, 60.0]]],
        "scores": [[0.9, 0.8, 0.7]],
        "labels": [["person", "bus", "tie"]],
        "class_ids": [[0, 5, 27]],
        "intermediate_outputs": null,
    })
}

#[test]
fn images_come_as_files_forms_and_json() {
    let service = Service::start(&[]);
    let (street, empty) = (street(), empty());
    let encoded = STANDARD.encode(&street);
    let paths = [
        "/predict",
        "/predict/from_files",
        "/v2/models/stand-in/infer",
        "/v2/models/stand-in/infer/from_files",
        "/v2/models/yolo-0/infer",
        "/invocations",
        "/invocations/stand-in/infer",
        "/invocations/stand-in/infer/from_files",
    ];
    for path in paths {
        for content_type in ["image/png", "image/jpeg", "application/octet-stream", "application/x-www-form-urlencoded"]
        {
            let reply = service.post(path, content_type, &street);
            assert_eq!((reply.status, reply.json()), (200, street_found()), "{path} {content_type}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
        let form = service.post_form(path, &[("request", &street), ("request", &empty)]).json();
        assert_eq!(form["labels"], json!([["person", "bus", "tie"], []]), "{path}");
        assert_eq!(form["boxes"][1], json!([]));
        let uri = format!("data:image/png;base64,{encoded}");
        let both = service.post_json(path, &json!({ "images": [encoded, uri] })).json();
        assert_eq!(both["scores"], json!([[0.9, 0.8, 0.7], [0.9, 0.8, 0.7]]), "{path}");
    }
    let reply = service.connect().ask("POST", "/predict", &[], &street);
    assert_eq!(reply.json(), street_found(), "without a content type");
    let one = service.post_json("/predict", &json!({ "images": encoded })).json();
    assert_eq!(one, street_found());
    let boxes = service.post("/predict", "image/png", &wide()).json()["boxes"].clone();
    assert_eq!(boxes[0][0], json!([20.0, 40.0, 80.0, 200.0]), "pixels of the picture, not of the network");
}

#[test]
fn thresholds_and_classes_come_in_every_way_and_the_body_wins() {
    let service = Service::start(&["--conf-thres", "0.75"]);
    let (street, encoded) = (street(), STANDARD.encode(street()));
    let labels = |query: &str| service.post(&format!("/predict{query}"), "image/png", &street).json()["labels"].clone();
    assert_eq!(labels(""), json!([["person", "bus"]]));
    assert_eq!(labels("?conf_thres=0.1"), json!([["person", "bus", "tie"]]));
    assert_eq!(labels("?conf-thres=.1&max_det=1"), json!([["person"]]));
    assert_eq!(labels("?conf_thres=0.1&classes=27,bus"), json!([["bus", "tie"]]));
    assert_eq!(labels("?conf_thres=0.1&classes=27&classes=0"), json!([["person", "tie"]]));
    assert_eq!(labels("?conf_thres=0.1&multi_label=true"), json!([["person", "bus", "tie", "tie"]]));
    // The second person overlaps the first.
    assert_eq!(labels("?conf_thres=0.5&iou_thres=1"), json!([["person", "bus", "tie", "person"]]));
    let form = |path: &str, fields: &[(&str, &[u8])]| {
        let parts = [&[("request", &street[..])], fields].concat();
        service.post_form(path, &parts).json()["labels"].clone()
    };
    assert_eq!(form("/predict/from_files?conf_thres=0.1", &[]), json!([["person", "bus", "tie"]]));
    assert_eq!(form("/predict/from_files?conf_thres=0.1", &[("conf_thres", b"0.85")]), json!([["person"]]));
    assert_eq!(form("/predict", &[("classes", b"5, 0"), ("conf_thres", b"0")]), json!([["person", "bus"]]));
    let json = |query: &str, wishes: Value| {
        let mut body = json!({ "images": [encoded], "return_masks": true });
        body.as_object_mut().unwrap().extend(wishes.as_object().unwrap().clone());
        service.post_json(&format!("/predict{query}"), &body).json()["labels"].clone()
    };
    assert_eq!(json("", json!({ "conf_thres": 0.1 })), json!([["person", "bus", "tie"]]));
    assert_eq!(json("?conf_thres=0.85", json!({ "conf_thres": null })), json!([["person"]]));
    assert_eq!(json("?conf_thres=0.85", json!({ "conf_thres": 0, "classes": ["tie", 5] })), json!([["bus", "tie"]]));
    assert_eq!(json("", json!({ "max_det": 1, "agnostic_nms": true, "iou_thres": 0.45 })), json!([["person"]]));
}

#[test]
fn records_are_an_object_per_box() {
    let service = Service::start(&[]);
    let street = street();
    let person = json!({"xmin": 10.0, "ymin": 20.0, "xmax": 40.0, "ymax": 100.0, "confidence": 0.9, "class": 0, "name": "person"});
    let flat = service.post("/predict?format=records", "image/png", &street).json();
    assert_eq!((&flat[0], flat.as_array().unwrap().len()), (&person, 3));
    let listed = service.post_form("/predict?format=records", &[("request", &street), ("request", &empty())]).json();
    assert_eq!((&listed[0][0], &listed[1]), (&person, &json!([])));
}

#[test]
fn models_without_names_call_classes_by_number() {
    let service = Service::start_with(&[], &[("STAND_IN_NAMELESS", "1")]);
    assert_eq!(service.post("/predict", "image/png", &street()).json()["labels"], json!([["0", "5", "27"]]));
    let names: String = (0..80).map(|id| format!("n{id},")).collect();
    let service = Service::start(&["--class-names", names.trim_end_matches(',')]);
    let found = service.post("/predict?classes=n5", "image/png", &street()).json();
    assert_eq!((&found["labels"], &found["class_ids"]), (&json!([["n5"]]), &json!([[5]])));
}

#[test]
fn the_service_tells_about_itself() {
    let service = Service::start(&["-ncores", "2", "-nstreams", "1", "--max_batch=3", "--task", "yolo", "default"]);
    for path in ["/ping", "/health", "/healthcheck", "/status"] {
        assert_eq!((service.get(path).status, service.get(path).json()), (200, json!(true)), "{path}");
    }
    let ok = json!({ "status": "OK" });
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/stand-in/ready"] {
        assert_eq!(service.get(path).json(), ok, "{path}");
    }
    assert_eq!(service.get("/v2").json(), json!("This is the stand-in server. Hello!"));
    assert_eq!(service.get("/v2/models").json(), json!({ "models": ["stand-in"] }));
    let card = service.get("/v2/models/stand-in").json();
    assert_eq!(
        (&card["model_path"], &card["sha256"], &card["classes"]),
        (&json!("rules.onnx"), &json!("5eed"), &json!(80))
    );
    assert_eq!(card["input"], json!({ "name": "images", "width": 128, "height": 128, "dtype": "u8" }));
    assert_eq!((&card["sparsity"], &card["class_names"][5]), (&json!(0.65), &json!("bus")));
    assert_eq!(card["defaults"]["conf_thres"], json!(0.25));
    let config = service.get("/config").json();
    assert_eq!(
        (&config["num_workers"], &config["max_batch"], &config["api_key"]),
        (&json!(1), &json!(3), &json!(false))
    );
    assert_eq!(config["endpoints"][0]["task"], json!("yolo"));
    assert_eq!(
        service.get("/v2/models/other").refusal(404, "not_found"),
        "no model is called \"other\"; there are stand-in"
    );
    assert!(matches!(service.get("/").status, 200 | 307), "a page, or the way to one");
}

#[test]
fn the_speed_of_a_model_is_measured_on_request() {
    let service = Service::start_with(&[], &[("STAND_IN_DELAY_MS", "20")]);
    let path = "/v2/models/stand-in/benchmark";
    let measured = service.post_json(path, &json!({ "iterations": 3 })).json();
    assert_eq!(measured["iterations"], 3);
    let (mean, rate) = (measured["mean_ms"].as_f64().unwrap(), measured["items_per_second"].as_f64().unwrap());
    assert!((20.0..2000.0).contains(&mean) && (0.5..50.0).contains(&rate), "{measured}");
    assert!(measured["stages_ms"]["engine_forward"].as_f64().unwrap() >= 20.0, "{measured}");
    assert_eq!(service.connect().ask("POST", path, &[], b"").json()["iterations"], 10);
    assert!(service.post_json(path, &json!({ "iterations": 101 })).refusal(422, "invalid_value").contains("1 to 100"));
    service.post(path, "application/json", b"{").refusal(400, "malformed_request");
    service.post("/v2/models/no/benchmark", "application/json", b"").refusal(404, "not_found");
}

#[test]
fn a_configuration_file_makes_endpoints() {
    let folder = crate::support::Folder::new();
    let file = folder.join("server.yaml");
    let text = "
num_cores: 1
loggers: {}
endpoints:
  - {task: yolo, name: sure, route: /sure/detect, model: rules, kwargs: {conf_thres: 0.85}}
  - {task: yolo, model: default, kwargs: {conf_thres: 0.1, classes: [tie], class_names: coco, image_size: 128}}
";
    std::fs::write(&file, text).unwrap();
    let service = Service::start(&["--config_file", file.to_str().unwrap(), "--queue", "5"]);
    let street = street();
    let labels = |path: &str| service.post(path, "image/png", &street).json()["labels"].clone();
    for path in ["/predict", "/sure/detect", "/sure/detect/from_files", "/v2/models/sure/infer", "/invocations"] {
        assert_eq!(labels(path), json!([["person"]]), "{path}");
    }
    for path in ["/v2/models/yolo-1/infer", "/invocations/yolo-1/infer"] {
        assert_eq!(labels(path), json!([["tie"]]), "{path}");
    }
    assert_eq!(service.get("/v2/models").json(), json!({ "models": ["sure", "yolo-1"] }));
    assert_eq!(service.get("/v2/models/yolo-1").json()["defaults"]["classes"], json!([27]));
    let config = service.get("/config").json();
    assert_eq!((&config["num_cores"], &config["queue"]), (&json!(1), &json!(5)));
    assert!(service.get("/openapi.json").json()["paths"]["/sure/detect/from_files"]["post"].is_object());
    assert!(service.log().starts_with("note: loggers is ignored: metrics are at /metrics\n"), "{}", service.log());
    std::fs::write(&file, "endpoints: [{route: /docs}]").unwrap();
    let ended = folder.run(&["serve", "--config", "server.yaml"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("--config-file server.yaml: endpoints[0]: `route` /docs is taken"), "{}", ended.err);
}

#[test]
fn a_connection_serves_many_requests() {
    let service = Service::start(&[]);
    let mut connection = service.connect();
    let street = street();
    for _ in 0..20 {
        let reply = connection.ask("POST", "/predict", &[("content-type", "image/png")], &street);
        assert_eq!(reply.json(), street_found());
        assert_eq!(connection.ask("GET", "/v2/health/live", &[], b"").status, 200);
    }
    // Two requests at once are answered in their order.
    let twice = [crate::http::head("POST", "/predict", &[], street.len()), street].concat().repeat(2);
    connection.send(&twice);
    assert_eq!((connection.reply().json(), connection.reply().json()), (street_found(), street_found()));
}
