//! Many clients at once: nothing is lost, what is too much is refused, who goes away is forgotten.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::{Service, empty, head, street};

#[test]
fn every_request_of_many_clients_is_answered_right() {
    let service = Service::start(&["-ncores", "2"]);
    let (street, empty) = (street(), empty());
    let clients = 8;
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (service, street, empty) = (&service, &street, &empty);
            scope.spawn(move || {
                let mut connection = service.connect();
                for turn in 0..25 {
                    let (image, labels) = match (client + turn) % 2 {
                        0 => (street, json!([["person", "bus", "tie"]])),
                        _ => (empty, json!([[]])),
                    };
                    let id = format!("{client}-{turn}");
                    let reply = connection.ask("POST", "/predict", &[("x-request-id", &id)], image);
                    assert_eq!((reply.status, &reply.json()["labels"]), (200, &labels));
                    assert_eq!(reply.header("x-request-id"), Some(id.as_str()));
                }
            });
        }
    });
    assert_eq!(service.metric("peristyle_images_total"), f64::from(clients * 25));
    assert_eq!(service.metric("peristyle_requests_abandoned_total"), 0.0);
}

#[test]
fn waiting_images_share_a_run() {
    let service = Service::start_with(
        &["-ncores", "1", "--batch_size", "4", "--max-wait-ms", "2000"],
        &[("STAND_IN_DELAY_MS", "1")],
    );
    let street = street();
    let started = Instant::now();
    let parts = [("request", &street[..]); 4];
    let found = service.post_form("/predict", &parts).json();
    assert_eq!(found["labels"], serde_json::Value::from(vec![json!(["person", "bus", "tie"]); 4]));
    assert!(started.elapsed() < Duration::from_millis(1500), "a full batch does not wait");
    assert_eq!(service.metric("peristyle_batch_size_count"), 1.0);
    assert_eq!(service.metric("peristyle_batch_size_sum"), 4.0);
}

#[test]
fn a_full_queue_is_said_and_passes() {
    let service = Service::start_with(&["-ncores", "1", "--queue", "2"], &[("STAND_IN_DELAY_MS", "300")]);
    let street = street();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..10)
            .map(|_| {
                let (service, street) = (&service, &street);
                scope.spawn(move || {
                    let reply = service.post("/predict", "image/png", street);
                    if reply.status == 429 {
                        reply.refusal(429, "queue_full");
                        assert_eq!(reply.header("retry-after"), Some("1"));
                    }
                    reply.status
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let answered = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(answered + refused, 10, "{statuses:?}");
    assert!((2..=5).contains(&answered), "{statuses:?}");
    assert_eq!(service.post("/predict", "image/png", &street).status, 200, "it passes");
}

#[test]
fn a_deadline_is_kept() {
    let service = Service::start_with(&["-ncores", "1", "--timeout-ms", "150"], &[("STAND_IN_DELAY_MS", "8000")]);
    let started = Instant::now();
    let reply = service.post("/predict", "image/png", &street());
    assert!(reply.refusal(503, "deadline_exceeded").contains("try again"), "{reply:?}");
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

#[test]
fn images_of_clients_that_went_away_are_not_looked_at() {
    let service = Service::start_with(&["-ncores", "1"], &[("STAND_IN_DELAY_MS", "1000")]);
    let street = street();
    let mut connections: Vec<_> = (0..6).map(|_| service.connect()).collect();
    for connection in &mut connections {
        connection.send(&head("POST", "/predict", &[], street.len()));
        connection.send(&street);
    }
    service.wait_until(|| service.metric("peristyle_queue_depth") == 5.0);
    drop(connections);
    service.wait_until(|| service.metric("peristyle_requests_abandoned_total") == 6.0);
    service.wait_until(|| service.metric("peristyle_queue_depth") == 0.0);
    assert_eq!(service.post("/predict", "image/png", &street).status, 200);
    let runs = service.metric("peristyle_batch_size_count");
    assert!(runs <= 3.0, "{runs} runs: the queue was worked off for nobody");
    service.wait_until(|| service.log().matches("abandoned by the client").count() == 6);
}

#[test]
fn one_stream_answers_in_the_order_of_asking() {
    let service = Service::start_with(&["-ncores", "2", "-nstreams", "1"], &[("STAND_IN_DELAY_MS", "60")]);
    let street = street();
    let started = Instant::now();
    let mut ends: Vec<(usize, Duration)> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (service, street) = (&service, &street);
                std::thread::sleep(Duration::from_millis(15));
                scope.spawn(move || {
                    assert_eq!(service.post("/predict", "image/png", street).status, 200);
                    (client, started.elapsed())
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    ends.sort_by_key(|(_, end)| *end);
    assert_eq!(ends.iter().map(|(client, _)| *client).collect::<Vec<_>>(), [0, 1, 2, 3]);
}
