//! `annotate`: the files, lines and options of `deepsparse.object_detection.annotate`.

mod support;

use std::fs;

use support::{Folder, GREEN, RED};

#[test]
fn results_are_numbered_and_leave_earlier_ones_alone() {
    let folder = Folder::new();
    folder.street("in/b.png");
    folder.picture("in/a.png", [64, 48], &[]);
    for run in ["", "/peristyle-annotations-001", "/peristyle-annotations-002"] {
        let directory = format!("annotation-results/peristyle-annotations{run}");
        let out = folder.succeed(&["annotate", "--source", "in"]);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines.len(), 4, "{out}");
        assert_eq!(lines[0], format!("Results will be saved to {directory}"));
        assert!(lines[1].contains("in/a.png: 128x128 (no detections), "), "{out}");
        assert!(lines[2].contains("in/b.png: 128x128 1 person, 1 bus, 1 tie, "), "{out}");
        assert_eq!(lines[3], format!("Results saved to {directory}"));
        let size = |name: &str| image::image_dimensions(folder.join(&directory).join(name)).unwrap();
        assert_eq!((size("result-0.jpg"), size("result-1.jpg")), ((64, 48), (128, 128)));
    }
    assert_eq!(folder.files("annotation-results").len(), 6);
    let copy = image::open(folder.join("annotation-results/peristyle-annotations/result-1.jpg")).unwrap().into_rgb8();
    assert_ne!(copy.get_pixel(109, 60).0, GREEN, "the right line of the bus");
}

#[test]
fn both_spellings_of_every_option_are_taken() {
    for dash in ["-", "_"] {
        let folder = Folder::new();
        folder.street("s.png");
        let option = |name: &str| format!("--{}", name.replace('-', dash));
        let args = [
            "annotate",
            "--source",
            "s.png",
            &option("model-filepath"),
            "zoo:cv/detection",
            "--engine",
            "deepsparse",
            &option("model-input-image-shape"),
            "128",
            "128",
            &option("num-cores"),
            "1",
            &option("save-dir"),
            "saved",
            "--name",
            "mine",
            &option("target-fps"),
            "10",
            &option("conf-thres"),
            "0.75",
        ];
        let ended = folder.run(&args);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let notes: Vec<_> = ended.err.lines().map(|line| line.split(" is ignored: ").next().unwrap()).collect();
        assert_eq!(notes, ["note: --model-filepath", "note: --engine", "note: --target-fps"]);
        assert!(ended.out.contains("128x128 1 person, 1 bus, ") && !ended.out.contains("tie"), "{}", ended.out);
        assert_eq!(folder.files("saved"), ["mine/result-0.jpg"]);

        let out = folder.succeed(&["annotate", "--source", "s.png", &option("no-save")]);
        assert!(!out.contains("Results") && out.contains("1 person, 1 bus, 1 tie"), "{out}");
        assert!(!folder.join("annotation-results").exists());
    }
}

#[test]
fn the_engine_names_the_folder() {
    let folder = Folder::new();
    folder.street("s.png");
    let ended = folder.run(&["annotate", "--source", "s.png", "--engine", "onnxruntime"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(folder.files("annotation-results"), ["onnxruntime-annotations/result-0.jpg"]);
    for bad in [&["--engine", "cuda"][..], &["--model-input-image-shape", "640", "640"], &["--num-cores", "0"]] {
        let ended = folder.run(&[&["annotate", "--source", "s.png"], bad].concat());
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{bad:?}");
    }
}

#[test]
fn thresholds_are_those_of_detect_or_of_deepsparse() {
    let folder = Folder::new();
    folder.picture("s.png", [128, 128], &[(RED, [10, 10, 50, 60])]);
    let found = |extra: &[&str]| {
        let out = folder.succeed(&[&["annotate", "--source", "s.png", "--no-save"], extra].concat());
        out.split("128x128 ").nth(1).unwrap().split(", ").next().unwrap().to_owned()
    };
    // The worse copy overlaps by eight ninths.
    assert_eq!(found(&["--iou-thres", "0.9"]), "2 persons");
    assert_eq!(found(&[]), "1 person");
    assert_eq!(found(&["--compat", "deepsparse", "--iou-thres", "0.9", "--conf-thres", "0.7"]), "1 person");
    assert_eq!(found(&["--hide-labels", "--hide-conf", "--line-thickness", "2"]), "1 person");
}

#[test]
fn numbers_of_results_are_those_of_the_sources() {
    let folder = Folder::new();
    folder.street("in/a.png");
    fs::write(folder.join("in/b.jpg"), "not a picture").unwrap();
    folder.street("in/c.png");
    let ended = folder.run(&["annotate", "--source", "in", "--name", "n"]);
    assert_eq!((ended.code, ended.err.lines().count()), (Some(1), 1));
    assert!(ended.err.starts_with("error: in/b.jpg: not an image"), "{}", ended.err);
    assert_eq!(folder.files("annotation-results/n"), ["result-0.jpg", "result-2.jpg"]);
    assert!(ended.out.ends_with("Results saved to annotation-results/n\n"), "{}", ended.out);
}
