//! Limits, slow clients, keys, other people's web pages.

use std::time::{Duration, Instant};

use crate::http::{Service, head, street};

/// A PNG file of this many pixels, all of one colour, that says so and holds only a few of them.
fn png(width: u32, height: u32) -> Vec<u8> {
    let small = image::GrayImage::new(8, 8);
    let mut bytes = std::io::Cursor::new(Vec::new());
    small.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let mut bytes = bytes.into_inner();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The check sum of PNG chunks.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn huge_pictures_are_refused_before_they_are_decoded() {
    let service = Service::start(&[]);
    for (width, height) in [(10_000, 10_000), (65_535, 65_535), (i32::MAX as u32, 1), (1 << 20, 1 << 10)] {
        let started = Instant::now();
        let said = service.post("/predict", "image/png", &png(width, height)).refusal(413, "too_large");
        assert!(said.contains("larger than the limit of 67108864 pixels"), "{said}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    let before = service.metric("process_resident_memory_bytes");
    assert!(before < 200e6, "{before} bytes");
    let service = Service::start(&["--max_pixels", "100"]);
    service.post("/predict", "image/png", &street()).refusal(413, "too_large");
}

#[test]
fn long_bodies_are_refused_announced_or_not() {
    let service = Service::start(&["--max-body-bytes=100000"]);
    let street = street();
    let long = vec![b'x'; 150_000];
    let reply = service.post("/predict", "image/png", &long);
    assert!(reply.refusal(413, "too_large").contains("limit of 100000 bytes"));
    assert_eq!(reply.header("connection"), Some("close"));
    // Refused on the announcement, with nothing sent.
    let mut connection = service.connect();
    connection.send(&head("POST", "/predict", &[("expect", "100-continue")], 150_000));
    connection.reply().refusal(413, "too_large");
    assert!(connection.is_closed());
    // In chunks, without an announcement.
    let mut connection = service.connect();
    connection.send(&head("POST", "/predict", &[("transfer-encoding", "chunked")], 0));
    let chunk = [b"2710\r\n", &long[..10_000], b"\r\n"].concat();
    for _ in 0..20 {
        connection.try_send(&chunk);
    }
    connection.try_send(b"0\r\n\r\n");
    connection.reply().refusal(413, "too_large");
    assert_eq!(service.post("/predict", "image/png", &street).status, 200);
}

#[test]
fn slow_clients_are_left() {
    let service = Service::start(&["--read-timeout-ms", "300"]);
    let street = street();
    // A body that stops.
    let mut connection = service.connect();
    connection.send(&head("POST", "/predict", &[], street.len()));
    connection.send(&street[..10]);
    connection.reply().refusal(408, "request_timeout");
    assert!(connection.is_closed());
    // A body that drips.
    let mut connection = service.connect();
    connection.send(&head("POST", "/predict", &[], street.len()));
    let started = Instant::now();
    for byte in street.chunks(1) {
        if !connection.try_send(byte) || started.elapsed() > Duration::from_millis(600) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    connection.reply().refusal(408, "request_timeout");
    // A head that stops, and a connection that says nothing.
    for start in [&b"POST /predict HTTP/1.1\r\nhost: x\r\n"[..], b"G", b""] {
        let mut connection = service.connect();
        connection.send(start);
        let started = Instant::now();
        while connection.try_reply().is_some_and(|reply| reply.status == 408) {}
        assert!(connection.is_closed() && started.elapsed() < Duration::from_secs(10), "{start:?}");
    }
    // Others are served all the while, and a good client is not left between two requests.
    assert_eq!(service.post("/predict", "image/png", &street).status, 200);
}

#[test]
fn connections_beyond_the_limit_wait() {
    let service = Service::start(&["--max-connections", "2", "--read-timeout-ms", "400"]);
    let idle = [service.connect(), service.connect()];
    // The idle ones are closed in time.
    assert_eq!(service.get("/v2/health/live").status, 200);
    drop(idle);
}

#[test]
fn a_key_guards_everything_that_tells_or_computes() {
    let service = Service::start_with(&[], &[("PERISTYLE_API_KEY", "sesame-7")]);
    let street = street();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let body = if method == "POST" { &street[..] } else { b"" };
        service.connect().ask(method, path, headers, body)
    };
    let guarded = [
        ("POST", "/predict"),
        ("POST", "/predict/from_files"),
        ("POST", "/v2/models/stand-in/infer"),
        ("POST", "/v2/models/stand-in/infer/from_files"),
        ("POST", "/invocations"),
        ("GET", "/v2/models"),
        ("GET", "/v2/models/stand-in"),
        ("GET", "/config"),
        ("GET", "/metrics"),
    ];
    for (method, path) in guarded {
        let wrong = [
            vec![],
            vec![("x-api-key", "sesame")],
            vec![("x-api-key", "sesame-78")],
            vec![("authorization", "Basic sesame-7")],
            vec![("authorization", "Bearer sesame-8")],
        ];
        for headers in wrong {
            let reply = ask(method, path, &headers);
            reply.refusal(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
        for headers in [[("x-api-key", "sesame-7")], [("authorization", "Bearer sesame-7")]] {
            assert_eq!(ask(method, path, &headers).status, 200, "{method} {path}");
        }
    }
    for path in ["/v2/health/live", "/v2/health/ready", "/ping", "/docs", "/openapi.json"] {
        assert_eq!(ask("GET", path, &[]).status, 200, "{path}");
    }
    assert_eq!(ask("GET", "/config", &[("x-api-key", "sesame-7")]).json()["api_key"], true);
    assert!(!service.log().contains("sesame"), "{}", service.log());
    let folder = crate::support::Folder::new();
    let file = folder.join("key");
    std::fs::write(&file, "from-file\n").unwrap();
    let service = Service::start(&["--api-key-file", file.to_str().unwrap()]);
    assert_eq!(service.get("/config").status, 401);
    assert_eq!(service.connect().ask("GET", "/config", &[("x-api-key", "from-file")], b"").status, 200);
}

#[test]
fn other_pages_may_not_ask_unless_they_are_named() {
    let street = street();
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "x-api-key"),
    ];
    let origin = [("origin", "https://app.example")];
    let service = Service::start(&[]);
    let reply = service.connect().ask("OPTIONS", "/predict", &preflight, b"");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (405, None));
    let reply = service.connect().ask("POST", "/predict", &origin, &street);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    let service = Service::start_with(&["--cors", "https://app.example"], &[("PERISTYLE_API_KEY", "k")]);
    let reply = service.connect().ask("OPTIONS", "/predict", &preflight, b"");
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://app.example")));
    let headers = [origin[0], ("x-api-key", "k")];
    let reply = service.connect().ask("POST", "/predict", &headers, &street);
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://app.example")));
    let other = service.connect().ask("GET", "/ping", &[("origin", "https://evil.example")], b"");
    assert_eq!(other.header("access-control-allow-origin"), None);
}
