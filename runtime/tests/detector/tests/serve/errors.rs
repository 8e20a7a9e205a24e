//! Every refusal has a status, a type and a sentence.

use serde_json::json;

use crate::http::{Service, street};

#[test]
fn what_is_wrong_with_a_body_is_said() {
    let service = Service::start(&["--max-images", "2"]);
    let street = street();
    let raw = |content_type: &str, body: &[u8]| service.post("/predict", content_type, body);
    let json = |text: &str| service.post("/predict", "application/json", text.as_bytes());
    assert!(raw("image/png", b"").refusal(400, "malformed_request").contains("empty"));
    assert!(json("{\"images\": [").refusal(400, "malformed_request").contains("JSON: EOF"));
    let no_boundary = raw("multipart/form-data", b"x").refusal(400, "malformed_request");
    assert!(no_boundary.contains("boundary"), "{no_boundary}");
    assert!(
        raw("multipart/form-data; boundary=a", b"--a\r\nx").refusal(400, "malformed_request").contains("multipart")
    );
    for (content_type, body) in
        [("text/plain", &b"hello"[..]), ("application/xml", b"<a/>"), ("image/png", b"no picture")]
    {
        assert!(raw(content_type, body).refusal(415, "unsupported_media_type").contains("JPEG, PNG"), "{content_type}");
    }
    for (text, message) in [
        ("[]", "expected a JSON object with `images`"),
        ("{}", "no `images`"),
        (r#"{"images": 3}"#, "must be a list"),
        (r#"{"images": []}"#, "no images in the request"),
        (r#"{"images": [3]}"#, "images[0] is no image in base64"),
        (r#"{"images": ["AAAA"]}"#, "images[0] is no image in base64"),
        (r#"{"images": ["AAAA"], "conf_thresh": 0.5}"#, "images[0]"),
    ] {
        let said = json(text).refusal(422, "invalid_value");
        assert!(said.contains(message), "{text}: {said}");
    }
    let encoded = base64(&street);
    for (name, value, message) in [
        ("conf_thresh", json!(0.5), "`conf_thresh` is not known; known are conf_thres, iou_thres"),
        ("conf_thres", json!("high"), "`conf_thres` is \"high\": expected a number from 0 to 1"),
        ("max_det", json!(1e9), "expected a whole number from 1 to 10000"),
        ("classes", json!([80]), "expected ids from 0 to 79, or their names, such as `person`"),
        ("classes", json!(["x".repeat(100)]), "xxx...: expected"),
    ] {
        let said =
            service.post_json("/predict", &json!({ "images": [encoded], name: value })).refusal(422, "invalid_value");
        assert!(said.contains(message), "{name}: {said}");
    }
    let query = service.post("/predict?iou_thres=2", "image/png", &street).refusal(422, "invalid_value");
    assert!(query.contains("`iou_thres` is 2: expected a number from 0 to 1"), "{query}");
    let three =
        service.post_json("/predict", &json!({ "images": [encoded, encoded, encoded] })).refusal(413, "too_large");
    assert!(three.contains("limit of 2 in a request"), "{three}");
    let parts = [("request", &street[..]); 3];
    assert!(service.post_form("/predict", &parts).refusal(413, "too_large").contains("limit of 2"));
    let none = service.post_form("/predict/from_files", &[("conf_thres", b"0.5")]).refusal(422, "invalid_value");
    assert!(none.contains("a part named `request`"), "{none}");
    let unknown = service.post_form("/predict/from_files", &[("request", &street), ("picture", b"x")]);
    assert!(unknown.refusal(422, "invalid_value").contains("`picture` is not known"));
    let many: Vec<(String, Vec<u8>)> = (0..100).map(|n| (format!("f{n}"), b"1".to_vec())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(name, text)| (name.as_str(), &text[..])).collect();
    assert!(service.post_form("/predict", &many).refusal(413, "too_large").contains("too many parts"));
    // A good image beside a bad one: the bad one is named.
    let cut = &street[..street.len() / 2];
    let said = service.post_form("/predict", &[("request", &street), ("request", cut)]).refusal(422, "invalid_image");
    assert!(said.starts_with("image 1 of 2, from 0, cannot be read: "), "{said}");
    let said = raw("image/png", cut).refusal(422, "invalid_image");
    assert!(said.starts_with("the image cannot be read: "), "{said}");
    assert_eq!(raw("image/png", &street).status, 200, "the service goes on");
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let service = Service::start(&[]);
    for path in ["/nothing", "/predict/", "/v2/models/stand-in/infer/x", "/../../etc/passwd", "/%00"] {
        service.get(path).refusal(404, "not_found");
        service.post(path, "image/png", &street()).refusal(404, "not_found");
    }
    assert!(service.post("/v2/models/no/infer", "image/png", b"x").refusal(404, "not_found").contains("stand-in"));
    let added = service.post("/endpoints", "application/json", b"{}").refusal(404, "not_found");
    assert!(added.contains("--config-file"), "{added}");
    for (method, path, allowed) in [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("POST", "/v2/health/live", "GET,HEAD"),
        ("PUT", "/v2/models/stand-in", "GET,HEAD"),
    ] {
        let reply = service.connect().ask(method, path, &[], b"");
        reply.refusal(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
    let mut connection = service.connect();
    connection.send(b"nonsense\r\n\r\n");
    assert_eq!(connection.try_reply().map(|reply| reply.status), Some(400));
}

#[test]
fn no_string_is_taken_for_a_path_or_an_address() {
    let service = Service::start(&[]);
    let path = service.folder.street("street.png");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = format!("http://{}/street.png", listener.local_addr().unwrap());
    let file = format!("file://{}", path.display());
    for text in ["street.png", "./street.png", path.to_str().unwrap(), &file, &address, "/etc/passwd", "data:,x", ""] {
        for path in ["/predict", "/v2/models/stand-in/infer"] {
            let said = service.post_json(path, &json!({ "images": [text] })).refusal(422, "invalid_value");
            assert!(said.contains("paths and addresses are never opened"), "{text}: {said}");
        }
        let form = service.post_form("/predict/from_files", &[("request", text.as_bytes())]);
        assert!(matches!(form.status, 400 | 415), "{text}: {form:?}");
    }
    let asked = listener.accept().map_err(|error| error.kind()).map(|_| ());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock), "the service fetched an address");
}

#[test]
fn a_service_that_cannot_start_says_why() {
    let folder = crate::support::Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, code, message) in [
        (&["--port", &port][..], 1, "the port: pass another --port"),
        (&["--host", "192.0.2.1", "--port", "0"], 1, "this machine has no such address"),
        (&["--host", "example.org"], 2, "expected an address such as 127.0.0.1"),
        (&["--cors", "example.org"], 2, "expected an origin such as https://example.org"),
        (&["--api-key", ""], 2, "visible ASCII characters"),
        (&["--api-key-file", "none"], 2, "--api-key-file none: No such file"),
        (&["--queue", "0"], 2, "a whole number above 0"),
        (&["--classes", "dragon"], 2, "the model has no class \"dragon\""),
        (&["--num-cores", "100000"], 1, "pass a smaller --num-cores"),
    ] {
        let ended = folder.run(&[&["serve"], args].concat());
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{args:?}");
        assert!(ended.err.contains(message), "{args:?}: {}", ended.err);
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
