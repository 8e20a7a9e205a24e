//! Several models in one program.

use serde_json::json;

use crate::http::{Service, street};
use crate::support::Folder;

const BOTH: (&str, &str) = ("STAND_IN_BOTH", "1");

#[test]
fn every_model_has_routes_of_its_own() {
    let service = Service::start_with(&[], &[BOTH]);
    let street = street();
    let labels = |path: &str| service.post(path, "image/png", &street).json()["labels"].clone();
    assert_eq!(labels("/predict"), json!([["person", "bus", "tie"]]), "the first model");
    assert_eq!(labels("/v2/models/stand-in/infer"), json!([["person", "bus", "tie"]]));
    assert_eq!(labels("/v2/models/other/infer"), json!([["0", "5", "27"]]), "it has no names of classes");
    assert_eq!(service.get("/v2/models/other").json()["model_path"], "other.onnx");
    assert_eq!(service.get("/v2/models/other/ready").status, 200);
    let unknown = service.post("/v2/models/third/infer", "image/png", &street);
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("stand-in, other"), "{}", unknown.text());
    let described = service.get("/openapi.json").text();
    assert!(described.contains("\"stand-in\"") && described.contains("\"other\""), "{described}");
}

#[test]
fn a_configuration_file_chooses_among_them() {
    let folder = Folder::new();
    let file = folder.join("config.yaml");
    let text =
        "endpoints:\n  - {task: yolo, model: other.onnx, route: /second}\n  - {task: yolo, model: stand-in, name: a}\n";
    std::fs::write(&file, text).expect("writable");
    let service = Service::start_with(&["--config-file", file.to_str().expect("UTF-8")], &[BOTH]);
    let labels = |path: &str| service.post(path, "image/png", &street()).json()["labels"].clone();
    assert_eq!(labels("/second"), json!([["0", "5", "27"]]));
    assert_eq!(labels("/v2/models/a/infer"), json!([["person", "bus", "tie"]]));
}

#[test]
fn an_option_before_the_command_chooses_one() {
    let folder = Folder::new();
    let picture = folder.street("street.png");
    let detect = |model: &[&str]| {
        let mut command = folder.command(model);
        command.args(["detect", "--json", "--source"]).arg(&picture).env(BOTH.0, BOTH.1);
        let output = command.output().expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    assert!(detect(&[]).1.contains("\"person\""));
    assert!(detect(&["--model", "stand-in"]).1.contains("\"person\""));
    for other in [&["--model", "other"][..], &["--model=other.onnx"]] {
        let (code, out, err) = detect(other);
        assert!(code == Some(0) && !out.contains("person"), "{out} {err}");
    }
    let (code, out, err) = detect(&["--model", "third"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("no model is called \"third\"; this program holds stand-in, other"), "{err}");

    let mut help = folder.command(&["--help"]);
    let help = help.env(BOTH.0, BOTH.1).output().expect("the program starts");
    assert!(String::from_utf8_lossy(&help.stdout).contains("Models: stand-in, other."));
}

#[test]
fn only_the_chosen_model_is_offered() {
    let service = Service::launch_chosen("other", &[BOTH]);
    let labels = service.post("/predict", "image/png", &street()).json()["labels"].clone();
    assert_eq!(labels, json!([["0", "5", "27"]]));
    assert_eq!(service.get("/v2/models/stand-in").status, 404);
}
