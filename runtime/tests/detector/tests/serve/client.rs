//! A client written for another server, run unchanged.

use std::process::Command;

use crate::http::{Service, street};

/// Asks for the port only.
const CLIENT: &str = r#"
import json
import sys

import requests

# list of images for inference (local files on client side)
path = ["basilica.jpg"]
files = [("request", open(img, "rb")) for img in path]

# send request over HTTP to /predict/from_files endpoint
url = "http://127.0.0.1:%s/predict/from_files" % sys.argv[1]
resp = requests.post(url=url, files=files)

# response is returned in JSON
annotations = json.loads(resp.text)  # dictionary of annotation results
bounding_boxes = annotations["boxes"]
labels = annotations["labels"]
print(json.dumps([resp.status_code, bounding_boxes, labels]))
"#;

#[test]
fn a_client_of_deepsparse_gets_boxes_and_labels() {
    let has_requests = Command::new("python3").args(["-c", "import requests"]).output();
    if !has_requests.is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: python3 with `requests` is not installed");
        return;
    }
    let service = Service::start(&["--task", "yolo"]);
    std::fs::write(service.folder.join("basilica.jpg"), street()).unwrap();
    let mut client = Command::new("python3");
    client.current_dir(service.folder.path()).args(["-c", CLIENT, &service.port.to_string()]);
    let output = client.output().expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!([
        200,
        [[[10.0, 20.0, 40.0, 100.0], [50.0, 30.0, 110.0, 90.0], [20.0, 40.0, 30.0, 60.0]]],
        [["person", "bus", "tie"]]
    ]);
    assert_eq!(said, expected);
}
