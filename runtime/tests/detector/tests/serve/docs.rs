//! The description of the service is that of its routes.

use serde_json::Value;

use crate::http::Service;

const ROUTES: &str = include_str!("../../../../src/app/serve/routes.rs");

/// Every reference of a document is to something in it.
fn follow(value: &Value, document: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(path)) = object.get("$ref") {
                assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{path} leads nowhere");
            }
            object.values().for_each(|value| follow(value, document));
        }
        Value::Array(list) => list.iter().for_each(|value| follow(value, document)),
        _ => {}
    }
}

#[test]
fn every_route_is_described_and_every_description_is_a_route() {
    let service = Service::start_with(&[], &[("PERISTYLE_API_KEY", "k")]);
    let document = service.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    follow(&document, &document);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 20, "{}", paths.len());
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            let asked = path.replace("{name}", "stand-in");
            let reply = service.connect().ask(&method.to_uppercase(), &asked, &[("x-api-key", "k")], b"");
            let expected = if method == "get" || path.ends_with("/benchmark") { 200 } else { 400 };
            assert_eq!(reply.status, expected, "{method} {path}");
            let content_type = reply.header("content-type").unwrap().split(';').next().unwrap().to_owned();
            let described = &operation["responses"][expected.to_string()];
            let described = described["$ref"].as_str().map_or(described, |r| document.pointer(&r[1..]).unwrap());
            assert!(described["content"].get(&content_type).is_some(), "{method} {path}: {content_type}");
            assert_eq!(operation.get("security").is_some(), operation["responses"].get("401").is_some(), "{path}");
            let open = service.connect().ask(&method.to_uppercase(), &asked, &[], b"").status != 401;
            assert_eq!(operation.get("security").is_none(), open, "{method} {path}");
        }
    }
    let routes = ROUTES.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for route in routes {
        assert!(paths.contains_key(route), "{route} is not described");
    }
}

#[test]
fn the_page_for_people_needs_nothing_else() {
    let service = Service::start(&[]);
    let reply = service.get("/docs");
    let page = reply.text();
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for text in ["/v2/models/{name}/infer/from_files", "rules.onnx", "conf_thres", "As many images wait as may wait."] {
        assert!(page.contains(text), "{text}");
    }
    for outside in ["<script", "http://", "https://", "src=", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let document = service.get("/openapi.json").text();
    assert!(!document.contains("401"), "without a key nothing is unauthorized");
    assert!(document.contains("\"enum\":[\"stand-in\"]"));
}
