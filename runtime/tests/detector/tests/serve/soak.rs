//! Good, bad, slow and aborted requests all at once, for a while.
//!
//! `PERISTYLE_SOAK_SECONDS` says for how long, `PERISTYLE_SOAK_DETECTOR` names another program to soak than the stand-in.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::http::{Service, head, street};

/// A client uses a connection again within this time.
const IDLE: Duration = Duration::from_millis(1500);

/// Bytes of memory that may come after the first fifth of the time.
const GROWTH: f64 = 12e6;

#[test]
#[ignore = "takes as long as it is told to, half a minute when it is not"]
fn good_answers_go_on_among_everything_else() {
    let seconds = std::env::var("PERISTYLE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let program = std::env::var_os("PERISTYLE_SOAK_DETECTOR");
    let args = ["-ncores", "2", "--read-timeout-ms", "3000", "--max-body-bytes", "1000000", "--log-level", "warn"];
    let mut service = Service::start_program(program.as_deref(), &args);
    let (over, counts) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    let street = street();
    let right = service.post("/predict", "image/png", &street).body;
    let started = Instant::now();
    let (mut early, mut late) = (0.0, 0.0);
    std::thread::scope(|scope| {
        for client in 0..3 {
            let (service, street, right, over, counts) = (&service, &street, &right, &over, &counts);
            scope.spawn(move || {
                let mut connection = service.connect();
                let mut answered = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    // On a machine that is busy elsewhere this thread may sleep for longer than a connection may be idle.
                    if answered.elapsed() > IDLE {
                        connection = service.connect();
                    }
                    let reply = connection.ask("POST", "/predict", &[("content-type", "image/png")], street);
                    assert_eq!((reply.status, &reply.body), (200, right), "client {client}");
                    counts[0].fetch_add(1, Ordering::Relaxed);
                    answered = Instant::now();
                }
            });
        }
        let (service, street, over, counts) = (&service, &street, &over, &counts);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                bad(service, street);
                counts[1].fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                slow(service, street);
                counts[2].fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                aborted(service, street, counts[3].load(Ordering::Relaxed));
                counts[3].fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        while started.elapsed() < Duration::from_secs(seconds) {
            std::thread::sleep(Duration::from_millis(200));
            late = service.metric("process_resident_memory_bytes");
            if started.elapsed() < Duration::from_secs(seconds) / 5 {
                early = late;
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let counts = counts.map(AtomicU64::into_inner);
    println!("{counts:?} good, bad, slow, aborted requests; {early} bytes early, {late} bytes late");
    assert!(counts.iter().all(|count| *count > 0));
    assert!(late < early + GROWTH, "memory grows: {early} bytes early, {late} bytes late");
    assert!(!service.log().contains("panicked"), "{}", service.log());
    service.wait_until(|| service.metric("peristyle_queue_depth") == 0.0);
    service.wait_until(|| service.metric("peristyle_requests_in_flight") == 1.0);
    service.terminate();
    assert_eq!(service.exit_code(), Some(0));
}

/// Requests that are refused, each with its status.
fn bad(service: &Service, street: &[u8]) {
    let refused = [
        ("application/json", &b"{\"images\": [\"/etc/passwd\"]}"[..], 422),
        ("application/json", b"{", 400),
        ("image/png", &street[..street.len() - 20], 422),
        ("text/plain", b"hello", 415),
        ("multipart/form-data; boundary=b", b"--b\r\n", 400),
        ("image/jpeg", b"", 400),
    ];
    for (content_type, body, status) in refused {
        assert_eq!(service.post("/predict", content_type, body).status, status, "{content_type} {body:?}");
    }
    assert_eq!(service.get("/none").status, 404);
    let mut connection = service.connect();
    connection.send(&head("POST", "/predict", &[("expect", "100-continue")], 2_000_000));
    assert_eq!(connection.reply().status, 413);
}

/// A body that drips until the service has had enough.
fn slow(service: &Service, street: &[u8]) {
    let mut connection = service.connect();
    connection.send(&head("POST", "/predict", &[], street.len()));
    for part in street[..street.len() - 10].chunks(street.len().div_ceil(20)) {
        if !connection.try_send(part) {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!(connection.try_reply().is_none_or(|reply| reply.status == 408));
}

/// A client that goes away in the middle of its request, or before the answer.
fn aborted(service: &Service, street: &[u8], turn: u64) {
    let mut connection = service.connect();
    let request = [&head("POST", "/predict", &[], street.len())[..], street].concat();
    let sent = match turn % 4 {
        0 => 10,
        1 => request.len() - street.len() / 2,
        _ => request.len(),
    };
    connection.send(&request[..sent]);
}
