//! The service answers with what is in the bundled example.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running service; it ends with the test.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start() -> Service {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peristyle-embed-axum"));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut address).expect("UTF-8");
        Service { child, address: address.trim().to_string() }
    }

    /// Status and body of the answer.
    fn post(&self, body: &[u8]) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!(
            "POST /detect HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).expect("a status").to_string(), body.to_string())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn example(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example").join(file)).expect("readable")
}

#[test]
fn pictures_are_answered_with_their_objects() {
    let service = Service::start();
    let (status, body) = service.post(&example("example.jpg"));
    assert_eq!(status, "200", "{body}");
    let found: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let reference: serde_json::Value = serde_json::from_slice(&example("example.json")).expect("JSON");
    let (found, boxes) = (found.as_array().expect("objects"), reference["boxes"].as_array().expect("boxes"));
    assert_eq!(found.len(), boxes.len(), "{body}");
    let number = |v: &serde_json::Value| v.as_f64().expect("a number");
    for expected in boxes {
        let near = |b: &serde_json::Value| (0..4).all(|i| (number(&b[i]) - number(&expected[i])).abs() < 4.0);
        assert!(found.iter().any(|object| near(&object["box"])), "nothing at {expected}: {body}");
    }
    assert!(found.iter().all(|object| object["class"].as_str().is_some_and(|name| name.len() == 4)), "{body}");
    assert_eq!(service.post(b"no picture").0, "400");
}
