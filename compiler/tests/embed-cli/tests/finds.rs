//! The program finds what is in the bundled example.

use std::path::Path;
use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peristyle-embed-cli")).args(args).output().expect("it starts")
}

fn example(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example").join(file);
    path.to_str().expect("UTF-8").to_string()
}

/// Class and corners of every object.
fn objects(output: &Output) -> Vec<(String, Vec<f64>)> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let object = |line: &str| {
        let mut words = line.split(' ');
        let class = words.next().expect("a class").to_string();
        (class, words.skip(1).map(|n| n.parse().expect("a number")).collect())
    };
    text.lines().map(object).collect()
}

#[test]
fn objects_have_their_boxes_and_classes() {
    let found = objects(&run(&[&example("example.jpg")]));
    let reference = std::fs::read_to_string(example("example.json")).expect("the reference");
    let reference: serde_json::Value = serde_json::from_str(&reference).expect("JSON");
    let names = ["ball", "cube", "star", "ring", "cone", "leaf"];
    let (boxes, classes) = (reference["boxes"].as_array().unwrap(), reference["class_ids"].as_array().unwrap());
    assert_eq!(found.len(), boxes.len());
    for (expected, class) in boxes.iter().zip(classes) {
        let name = names[class.as_u64().expect("a number") as usize];
        let near = |corners: &[f64]| (0..4).all(|i| (corners[i] - expected[i].as_f64().unwrap()).abs() < 4.0);
        assert!(found.iter().any(|(c, corners)| c == name && near(corners)), "no {name} at {expected}: {found:?}");
    }
    let balls = objects(&run(&["--only", "ball", &example("example.jpg")]));
    let expected: Vec<_> = found.iter().filter(|(class, _)| class == "ball").cloned().collect();
    assert!(!balls.is_empty() && balls == expected, "{balls:?}");
}

#[test]
fn a_class_that_is_none_is_refused_by_name() {
    let output = run(&["--only", "Ball", &example("example.jpg")]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && message.contains("there is no class `Ball` among the 6 of the model"),
        "{message}"
    );
}
